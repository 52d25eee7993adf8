//! A thousand sockets that never read, among a thousand that do: what the readers' deliveries cost, and what the others take.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::time::timeout;

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
/// Messages that are no payload to speak of, so many that an outbox is all but full of them: it takes 16,384, and has some already.
const NEARLY_ALL: usize = 12_000;
const TINY_BYTES: usize = 8;
const AT_ONCE: usize = 50;
/// With those it is full.
const TOO_MANY: usize = 5_000;
/// What may wait for one socket, by the limits' table.
const BOUND_BYTES: f64 = 1024.0 * 1024.0;
/// How long it may take until all who were too slow are gone. They get so long to take their close.
const GONE_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run() {
    on_one_thread(measure());
}

async fn measure() {
    let server = Server::lab();
    let mut crowd = Crowd::gather(&server, "lab:slow", READERS).await;
    crowd.rounds(ROUNDS).await;
    // Of one process before and after: two of them differ by more than what is looked for, and so does one from minute to minute.
    let alone_before = samples(&server, &mut crowd).await;
    let stuck = (0..STUCK).map(|_| stuck(&server));
    let stuck = try_join_all(stuck).await.expect("all are let in");
    let before = server.processes.resident_bytes();
    let ports = stuck.iter().map(Client::port).collect::<io::Result<_>>();
    fill(&mut crowd, &ports.expect("they are connected")).await;
    crowd.heartbeat().await;
    let beside = samples(&server, &mut crowd).await;
    crowd.payload_bytes(TINY_BYTES);
    crowd.say_often(NEARLY_ALL / AT_ONCE, AT_ONCE).await;
    let grown = server.processes.resident_bytes().saturating_sub(before) as f64 / STUCK as f64;
    crowd.heartbeat().await;
    crowd.say_often(TOO_MANY / AT_ONCE, AT_ONCE).await;
    let gone = gone(stuck).await;
    crowd.payload_bytes(PAYLOAD_BYTES);
    let alone_after = samples(&server, &mut crowd).await;
    let alone = f64::midpoint(alone_before, alone_after);
    println!(
        "sockets: a delivery to {READERS} readers: {alone:.2} us of CPU ({alone_before:.2} before, {alone_after:.2} after), {beside:.2} beside \
         {STUCK} that never read, ratio {:.2} ({}); \
         {grown:.0} bytes held for each of those with some 14,000 frames waiting ({}); once they are too many {gone} of {STUCK} are closed, and no reader",
        beside / alone,
        Bar::AtMost(1.1).judge(beside / alone),
        Bar::AtMost(BOUND_BYTES).judge(grown)
    );
}

/// How many of these the server has given up. They read now, and so they find the end behind what the system held for them.
async fn gone(stuck: Vec<Client>) -> usize {
    let ends = stuck.into_iter().map(|mut client| async move {
        let end = async { while client.listener.some().await.is_ok() {} };
        timeout(GONE_WITHIN, end).await.is_ok()
    });
    join_all(ends)
        .await
        .into_iter()
        .filter(|is_gone| *is_gone)
        .count()
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
