//! A thousand sockets that never read, among a thousand that do: what the readers' deliveries cost, and what the others take.

use std::collections::HashSet;
use std::io;

use futures::future::try_join_all;

use crate::bar::Bar;
use crate::sockets::client::Client;
use crate::sockets::deliver::{Crowd, PAYLOAD_BYTES};
use crate::sockets::process::system_holds;
use crate::sockets::server::Server;
use crate::sockets::{SAMPLES, each_us, median, on_one_thread};

const READERS: usize = 1_000;
const STUCK: usize = 1_000;
/// What a socket that does not read has room for on its side.
const ROOM_BYTES: u32 = 4 * 1024;
/// Payloads that fill what the system holds for a socket, so that from then on the server does. How much that is differs
/// from kernel to kernel, so it is looked at after every step. A step fits into an outbox many times.
const FILLING_BYTES: usize = 4 * 1024;
const FILLING_STEP: usize = 16;
/// The system holds less than this for a socket, or it is not the server's queues that are measured.
const MOST_STEPS: usize = 16 * 1024 * 1024 / (FILLING_BYTES * FILLING_STEP);
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
    let ports = stuck.iter().map(Client::port).collect::<io::Result<_>>();
    fill(&mut crowd, &ports.expect("they are connected")).await;
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

/// Says so much that the system holds all it can for those who do not read.
///
/// # Panics
/// If it takes whatever comes.
async fn fill(crowd: &mut Crowd, stuck: &HashSet<u16>) {
    crowd.payload_bytes(FILLING_BYTES);
    let said = (FILLING_STEP * FILLING_BYTES * STUCK) as u64;
    let mut held = 0;
    for _ in 0..MOST_STEPS {
        crowd.say(FILLING_STEP).await;
        let now = system_holds(stuck);
        if now.saturating_sub(held) < said / 100 {
            return crowd.payload_bytes(PAYLOAD_BYTES);
        }
        held = now;
    }
    panic!(
        "the system took {held} bytes for {STUCK} sockets that do not read, and would take more"
    );
}

async fn stuck(server: &Server) -> io::Result<Client> {
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
