//! What a joined socket takes while nothing happens. An allocator counts it, so it is a process of its own, with one test.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod unix;

use std::alloc::System;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::{Channel, Connected, Refused, Reply, Socket, Sockets};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::task::yield_now;

use unix::{Client, Server};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a joined socket may keep after a heartbeat, in bytes as they are asked for: its share of every table included, and what the
/// HTTP server keeps of its connection not.
const BYTES: usize = 4_360;
/// In how many pieces, of which the system's allocator adds some bytes to each.
const PIECES: usize = 28;

const SOCKETS: usize = 500;

struct Quiet;

impl Channel<()> for Quiet {
    type Params = ();
    type Event = ();

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, (): ()) -> Reply {
        Reply::none()
    }
}

/// What an application hands to its channels.
struct User(#[allow(dead_code, reason = "only its bytes count")] String);

/// Lets in so many clients, a hundred on a topic, each with a heartbeat after its join.
async fn gather(server: &Server, clients: &mut Vec<Client>) {
    let first = clients.len();
    for n in first..first + SOCKETS {
        clients.push(server.joined(&format!("lab:idle-{}", n / 100)).await);
    }
    for client in &mut clients[first..] {
        client.say(r#"[null,"2","phoenix","heartbeat",{}]"#);
        client.hear_ok().await;
    }
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_joined_socket_that_does_nothing_takes_little() {
    let pubsub = PubSub::local();
    let sockets = Sockets::new(&pubsub, ())
        .on_connect(async |_, info| {
            let user = info.params.get("user").unwrap_or_default();
            let id = format!("user_socket:{user}");
            Ok(Connected::new().id(id).assign(User(user.to_owned())))
        })
        .channel::<Quiet>("lab:*");
    let server = Server::start(sockets.clone(), sockets.connections());
    let mut clients = Vec::with_capacity(2 * SOCKETS);
    // The first ones fill what is there once.
    gather(&server, &mut clients).await;
    let region = Region::new(ALLOCATOR);
    gather(&server, &mut clients).await;
    let change = region.change();
    let bytes = (change.bytes_allocated - change.bytes_deallocated) / SOCKETS;
    let pieces = (change.allocations - change.deallocations) / SOCKETS;
    println!("{bytes} bytes in {pieces} pieces");
    assert!(bytes <= BYTES, "{bytes} bytes");
    assert!(pieces <= PIECES, "{pieces} pieces");
}
