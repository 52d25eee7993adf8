//! How long a delivery takes at a steady rate that is no load: ten messages a second to a thousand sockets.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::bar::Bar;
use crate::sockets::client::Listener;
use crate::sockets::deliver::joined;
use crate::sockets::server::Server;
use crate::sockets::{SAMPLES, median, on_one_thread};

const SOCKETS: usize = 1_000;
const MESSAGES: usize = 100;
const EVERY: Duration = Duration::from_millis(100);
const BAR_MS: f64 = 18.0;
/// What has not come so long after the last message was due will not come.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run() {
    let (mut lab, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        lab.push(on_one_thread(measure(Server::lab())));
        bare.push(on_one_thread(measure(Server::bare())));
    }
    print(&lab, &bare);
}

/// Half of all deliveries, and 99 of 100 of them, came within so many milliseconds.
#[derive(Clone, Copy)]
struct Within {
    half: f64,
    most: f64,
}

async fn measure(server: Server) -> Within {
    let joining = (0..SOCKETS).map(|_| joined(&server, "lab:latency"));
    let clients = try_join_all(joining).await.expect("all are let in");
    let (mut speakers, mut listeners) = (Vec::new(), Vec::new());
    for client in clients {
        speakers.push(client.speaker);
        listeners.push(client.listener);
    }
    let first = Instant::now() + EVERY;
    let hearing: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(delays(listener, first)))
        .collect();
    for message in 0..MESSAGES {
        sleep_until(due(first, message)).await;
        let said = speakers[0]
            .send(r#"["1","2","lab:latency","shout",{"n":1}]"#)
            .await;
        said.expect("a living connection");
    }
    let mut took = Vec::with_capacity(SOCKETS * MESSAGES);
    for heard in join_all(hearing).await {
        took.extend(heard.expect("a listener does not panic"));
    }
    within(took)
}

/// When a message is due. What is sent late counts as if it had been sent then, or a server that holds up the sender would look fast.
fn due(first: Instant, message: usize) -> Instant {
    first + EVERY * message as u32
}

/// How long after it was due each message came to one socket, in milliseconds. They come in order, so the first is of the first.
async fn delays(mut listener: Listener, first: Instant) -> Vec<f64> {
    let end = due(first, MESSAGES) + PATIENCE;
    let mut delays = Vec::with_capacity(MESSAGES);
    while delays.len() < MESSAGES
        && let Ok(Ok(count)) = timeout_at(end, listener.some()).await
    {
        let now = Instant::now();
        for _ in 0..count {
            let since = now.saturating_duration_since(due(first, delays.len()));
            delays.push(since.as_secs_f64() * 1e3);
        }
    }
    delays
}

fn within(mut took: Vec<f64>) -> Within {
    let all = SOCKETS * MESSAGES;
    assert_eq!(took.len(), all, "some deliveries never came");
    took.sort_unstable_by(f64::total_cmp);
    Within {
        half: took[all / 2],
        most: took[all * 99 / 100],
    }
}

fn print(lab: &[Within], bare: &[Within]) {
    let half = |all: &[Within]| median(all.iter().map(|within| within.half).collect());
    let most = |all: &[Within]| median(all.iter().map(|within| within.most).collect());
    let all = |all: &[Within]| {
        let each = all.iter().map(|within| format!("{:.1}", within.most));
        each.collect::<Vec<_>>().join(" ")
    };
    println!(
        "sockets: 10,000 deliveries a second: half within {:.2} ms, 99 of 100 within {:.2} ms ({}); of the bare loop {:.2} and {:.2}; \
         99 of 100 in each run, in turn: {}; bare loop {}",
        half(lab),
        most(lab),
        Bar::AtMost(BAR_MS).judge(most(lab)),
        half(bare),
        most(bare),
        all(lab),
        all(bare),
    );
}
