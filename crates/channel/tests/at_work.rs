//! What a request and its answer allocate. An allocator counts it, so it is a process of its own, with one test.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod unix;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::{
    Channel, LeaveHook, RawEvent, Refused, Reply, Socket, Sockets, SocketsConfig,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use unix::{Client, Server};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The frame that came, what its parts share, the session's effects, the callback's future, the frame that goes.
const ALLOCATIONS: usize = 5;

const ECHOES: usize = 100;

struct Echo;

struct NoHook;

impl LeaveHook for NoHook {
    fn left<'a>(&'a self, _: &'a Socket) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

impl Channel<()> for Echo {
    type Params = ();
    type Event = RawEvent;

    async fn join(_: &(), socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        // With it a socket keeps what else there is of what was put off.
        socket.add_leave_hook(Arc::new(NoHook));
        Ok(Self)
    }

    async fn handle_in(&mut self, socket: &mut Socket, said: RawEvent) -> Reply {
        if said.name == "hold" {
            socket.hold_until_after_join("too late");
        }
        Reply::payload("ok", said.payload)
    }
}

const ECHO: &str =
    r#"["1","2","lab:echo","echo",{"text":"0123456789012345678901234567890123456789"}]"#;

const HOLD: &str = r#"["1","2","lab:echo","hold",{}]"#;

async fn ask(client: &mut Client, message: &str) {
    for _ in 0..ECHOES {
        client.say(message);
        client.hear_ok().await;
    }
}

#[tokio::test]
async fn an_echo_allocates_little() {
    let mut config = SocketsConfig::default();
    // Without the watch's thread, whose start would be counted too.
    config.blocking_warning = Duration::MAX;
    let sockets = Sockets::new(&PubSub::local(), ())
        .channel::<Echo>("lab:*")
        .config(config);
    let server = Server::start(sockets.clone(), sockets.connections());
    let mut client = server.joined("lab:echo").await;
    // The first ones make the buffers that are kept.
    ask(&mut client, ECHO).await;
    let region = Region::new(ALLOCATOR);
    ask(&mut client, ECHO).await;
    let change = region.change();
    let count = change.allocations + change.reallocations;
    println!("{count} allocations for {ECHOES} echoes");
    assert_eq!(count, ALLOCATIONS * ECHOES);
    // What comes too late to do anything leaves nothing behind.
    let region = Region::new(ALLOCATOR);
    ask(&mut client, HOLD).await;
    let change = region.change();
    assert_eq!(change.allocations, change.deallocations);
}
