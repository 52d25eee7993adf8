//! Requests that are answered: CPU for each, one in flight on every socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::future::join_all;

use crate::sockets::client::Client;
use crate::sockets::deliver::joined;
use crate::sockets::server::Server;
use crate::sockets::{Costs, Load, each_us, on_one_thread};

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
        let costs = on_one_thread(async {
            let lab = Asking::begin(Server::lab(), sockets, requests).await;
            let bare = Asking::begin(Server::bare(), sockets, requests).await;
            let floor = Asking::begin(Server::floor(), sockets, requests).await;
            Costs::in_turn(lab, bare, floor).await
        });
        costs.print(&format!("sockets: an echo, {sockets} at a time"), bar);
    }
}

/// Clients that ask one server.
struct Asking {
    server: Server,
    clients: Vec<Client>,
    /// In a sample.
    requests: usize,
}

impl Asking {
    async fn begin(server: Server, sockets: usize, requests: usize) -> Self {
        let joining = (0..sockets).map(|_| joined(&server, "lab:echo"));
        let clients = join_all(joining).await.into_iter();
        let mut clients: Vec<Client> = clients
            .map(|client| client.expect("all are let in"))
            .collect();
        ask(&mut clients, requests / 10).await;
        Self {
            server,
            clients,
            requests,
        }
    }
}

impl Load for Asking {
    async fn sample(&mut self) -> f64 {
        let before = self.server.processes.cpu();
        ask(&mut self.clients, self.requests).await;
        each_us(self.server.processes.cpu() - before, self.requests)
    }
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
