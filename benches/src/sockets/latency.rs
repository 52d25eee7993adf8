//! How long a delivery takes at a steady rate that is no load: ten messages a second to a thousand sockets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::time::{MissedTickBehavior, interval};

use crate::bar::Bar;
use crate::sockets::deliver::joined;
use crate::sockets::on_one_thread;
use crate::sockets::server::Server;

const SOCKETS: usize = 1_000;
const MESSAGES: usize = 100;
const EVERY: Duration = Duration::from_millis(100);
const BAR_MS: f64 = 18.0;

pub(crate) fn run() {
    on_one_thread(measure());
}

async fn measure() {
    let server = Server::lab();
    let joining = (0..SOCKETS).map(|_| joined(&server, "lab:latency"));
    let clients = try_join_all(joining).await.expect("all are let in");
    // One message is on its way at a time, so when it was sent is one value.
    let sent = Arc::new(Mutex::new(Instant::now()));
    let took = Arc::new(Mutex::new(Vec::with_capacity(SOCKETS * MESSAGES)));
    let mut speakers = Vec::new();
    for client in clients {
        let (sent, took) = (Arc::clone(&sent), Arc::clone(&took));
        let mut listener = client.listener;
        speakers.push(client.speaker);
        tokio::spawn(async move {
            while listener.some().await.is_ok() {
                let since = locked(&sent).elapsed();
                locked(&took).push(since.as_secs_f64() * 1e3);
            }
        });
    }
    let mut due = interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..MESSAGES {
        due.tick().await;
        *locked(&sent) = Instant::now();
        let said = speakers[0]
            .send(r#"["1","2","lab:latency","shout",{"n":1}]"#)
            .await;
        said.expect("a living connection");
    }
    due.tick().await;
    let mut took = std::mem::take(&mut *locked(&took));
    took.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| {
        took.get(took.len() * percent / 100)
            .copied()
            .unwrap_or(f64::NAN)
    };
    println!(
        "sockets: {} of {} deliveries at 10,000 a second: half within {:.2} ms, 99 of 100 within {:.2} ms ({})",
        took.len(),
        SOCKETS * MESSAGES,
        at(50),
        at(99),
        Bar::AtMost(BAR_MS).judge(at(99))
    );
}

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
