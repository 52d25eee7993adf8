//! Requests that are answered: CPU for each, one in flight on every socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::future::join_all;

use crate::sockets::client::Client;
use crate::sockets::deliver::joined;
use crate::sockets::server::Server;
use crate::sockets::{Costs, SAMPLES, each_us, median, on_one_thread};

/// Numbers of sockets, with the requests of a sample, and the most that one may cost in microseconds of CPU.
const SOCKETS: [(usize, usize, f64); 3] = [
    (1, 20_000, 40.0),
    (100, 100_000, 10.0),
    (1_000, 100_000, 11.0),
];

const REQUEST: &str =
    r#"["1","2","lab:echo","echo",{"text":"0123456789012345678901234567890123456789"}]"#;

pub(crate) fn run() {
    for (sockets, requests, bar) in SOCKETS {
        let costs = Costs {
            lab: on_one_thread(sample(Server::lab(), sockets, requests)),
            bare: on_one_thread(sample(Server::bare(), sockets, requests)),
            floor: on_one_thread(sample(Server::floor(), sockets, requests)),
        };
        costs.print(&format!("sockets: an echo, {sockets} at a time"), bar);
    }
}

async fn sample(server: Server, sockets: usize, requests: usize) -> f64 {
    let joining = (0..sockets).map(|_| joined(&server, "lab:echo"));
    let clients = join_all(joining).await.into_iter();
    let mut clients: Vec<Client> = clients
        .map(|client| client.expect("all are let in"))
        .collect();
    ask(&mut clients, requests / 10).await;
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let before = server.processes.cpu();
        ask(&mut clients, requests).await;
        samples.push(each_us(server.processes.cpu() - before, requests));
    }
    median(samples)
}

/// Has so many requests answered, each client asking as soon as it has its answer.
async fn ask(clients: &mut [Client], requests: usize) {
    let left = Arc::new(AtomicUsize::new(requests));
    let asking = clients.iter_mut().map(|client| {
        let left = Arc::clone(&left);
        async move {
            while left
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok()
            {
                client
                    .speaker
                    .send(REQUEST)
                    .await
                    .expect("a living connection");
                client.listener.some().await.expect("an answer");
            }
        }
    });
    join_all(asking).await;
}
