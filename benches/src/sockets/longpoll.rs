//! Clients that poll for what they hear: CPU for each delivery, beside a request that no session has part in. Each client is to get every message
//! once and in order.

use std::io;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::sockets::client::Speaker;
use crate::sockets::deliver::joined;
use crate::sockets::http::Http;
use crate::sockets::poller::Poller;
use crate::sockets::server::Server;
use crate::sockets::{SAMPLES, each_us, median, on_one_thread};

const SESSIONS: usize = 1_000;
const TOPIC: &str = "lab:poll";
const EVERY: Duration = Duration::from_secs(1);
/// Messages of a sample: enough for the system's clock ticks to be fine.
const MESSAGES: usize = 10;

/// What every server of the lab answers at once, and how often all connections ask for it: they rest between, as polls do.
const PLAIN: &str = "/health/live";
const PLAIN_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run() {
    let plain = on_one_thread(plain_requests(Server::lab()));
    let (each, faults) = on_one_thread(deliveries(Server::lab()));
    println!(
        "sockets: a delivery to {SESSIONS} long-poll sessions, one broadcast a second: {each:.1} us of CPU each; a plain request {plain:.1}, ratio {:.2}; \
         {} of {SESSIONS} got all {} messages once and in order",
        each / plain,
        SESSIONS - faults.len(),
        MESSAGES * SAMPLES,
    );
    if let Some(first) = faults.first() {
        panic!("{} sessions did not; the first: {first}", faults.len());
    }
}

async fn plain_requests(server: Server) -> f64 {
    let connecting = (0..SESSIONS).map(|_| Http::connect(server.http));
    let mut connections = try_join_all(connecting).await.expect("all are let in");
    let mut due = ticking(PLAIN_EVERY);
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let before = server.processes.cpu();
        for _ in 0..MESSAGES {
            due.tick().await;
            let asking = connections.iter_mut().map(|http| http.get(PLAIN));
            try_join_all(asking).await.expect("all are answered");
        }
        let cpu = server.processes.cpu() - before;
        samples.push(each_us(cpu, MESSAGES * SESSIONS));
    }
    median(samples)
}

/// CPU for each, and what went wrong with those sessions that missed something.
async fn deliveries(server: Server) -> (f64, Vec<io::Error>) {
    let opening = (0..SESSIONS).map(|_| listening(&server));
    let pollers = try_join_all(opening).await.expect("all are let in");
    let hearing: Vec<_> = pollers
        .into_iter()
        .map(|poller| tokio::spawn(hear(poller)))
        .collect();
    let client = joined(&server, TOPIC).await.expect("it is let in");
    let each = speak(&server, client.speaker).await;
    let heard = join_all(hearing).await.into_iter();
    let faults = heard.filter_map(|heard| heard.expect("no client panics").err());
    (each, faults.collect())
}

async fn listening(server: &Server) -> io::Result<Poller> {
    let mut poller = Poller::open(server.http, "load").await?;
    poller.join(TOPIC).await?;
    Ok(poller)
}

async fn speak(server: &Server, mut speaker: Speaker) -> f64 {
    let mut due = ticking(EVERY);
    let mut samples = Vec::new();
    let mut number = 0;
    for _ in 0..SAMPLES {
        let before = server.processes.cpu();
        for _ in 0..MESSAGES {
            due.tick().await;
            number += 1;
            let message = format!(r#"["1","2","{TOPIC}","shout",{{"n":{number}}}]"#);
            speaker.send(&message).await.expect("a living connection");
        }
        // A second later it has arrived, and all of them poll again.
        due.tick().await;
        let cpu = server.processes.cpu() - before;
        samples.push(each_us(cpu, MESSAGES * SESSIONS));
    }
    median(samples)
}

fn ticking(every: Duration) -> Interval {
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due
}

/// Polls until all messages have come, and once more, so that a last one that comes twice is noticed too.
async fn hear(mut poller: Poller) -> io::Result<()> {
    let mut heard = 0;
    while heard < MESSAGES * SAMPLES {
        let messages = poller.poll().await?;
        if messages.is_empty() {
            return Err(unexpected(heard + 1, "nothing in a whole window"));
        }
        for message in messages {
            heard += 1;
            if number(&message) != Some(heard as u64) {
                return Err(unexpected(heard, &message));
            }
        }
    }
    match poller.poll().await?.first() {
        Some(message) => Err(unexpected(heard + 1, message)),
        None => Ok(()),
    }
}

fn number(message: &str) -> Option<u64> {
    let message: Value = serde_json::from_str(message).ok()?;
    message.get(4)?.get("n")?.as_u64()
}

fn unexpected(number: usize, came: &str) -> io::Error {
    io::Error::other(format!("where message {number} is due came: {came}"))
}
