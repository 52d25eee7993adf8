//! A thousand sockets that never read, among a thousand that do: what the readers' deliveries cost, and what the others take.

use futures::future::try_join_all;

use crate::bar::Bar;
use crate::sockets::client::Client;
use crate::sockets::deliver::Crowd;
use crate::sockets::server::Server;
use crate::sockets::{SAMPLES, each_us, median, on_one_thread};

const READERS: usize = 1_000;
const STUCK: usize = 1_000;
/// What a socket that does not read has room for on its side.
const ROOM_BYTES: u32 = 4 * 1024;
/// Messages that fill what the system holds for a socket, so that from then on the server does.
const FILLING: usize = 8_000;
const IN_FLIGHT: usize = 4;
const ROUNDS: usize = 100;
/// What may wait for one socket: its outbox, and as much again for what holds it.
const BOUND_BYTES: f64 = 2.0 * 1024.0 * 1024.0;

pub(crate) fn run() {
    on_one_thread(measure());
}

async fn measure() {
    let alone = {
        let server = Server::lab();
        let mut crowd = Crowd::gather(&server, "lab:slow", READERS).await;
        crowd.rounds(ROUNDS).await;
        samples(&server, &mut crowd).await
    };
    let server = Server::lab();
    let mut crowd = Crowd::gather(&server, "lab:slow", READERS).await;
    let stuck = (0..STUCK).map(|_| stuck(&server));
    let stuck = try_join_all(stuck).await.expect("all are let in");
    let before = server.processes.resident_bytes();
    for _ in 0..FILLING / IN_FLIGHT {
        crowd.say(IN_FLIGHT).await;
    }
    let beside = samples(&server, &mut crowd).await;
    let grown = server.processes.resident_bytes().saturating_sub(before) as f64 / STUCK as f64;
    println!(
        "sockets: a delivery to {READERS} readers: {alone:.2} us of CPU, {beside:.2} beside {STUCK} that never read, ratio {:.2} ({}); \
         {grown:.0} bytes held for each of those ({})",
        beside / alone,
        Bar::AtMost(1.1).judge(beside / alone),
        Bar::AtMost(BOUND_BYTES).judge(grown)
    );
    drop(stuck);
}

async fn stuck(server: &Server) -> std::io::Result<Client> {
    let mut client = Client::connect_with_room(server.http, "stuck", ROOM_BYTES).await?;
    client.join("lab:slow").await?;
    Ok(client)
}

async fn samples(server: &Server, crowd: &mut Crowd) -> f64 {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let before = server.processes.cpu();
        crowd.rounds(ROUNDS).await;
        let cpu = server.processes.cpu() - before;
        samples.push(each_us(cpu, ROUNDS * IN_FLIGHT * READERS));
    }
    median(samples)
}
