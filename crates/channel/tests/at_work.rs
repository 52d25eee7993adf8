//! What a request and its answer allocate. An allocator counts it, so it is a process of its own, with one test.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod unix;

use std::alloc::System;
use std::time::Duration;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::{Channel, RawEvent, Refused, Reply, Socket, Sockets, SocketsConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use unix::{Client, Server};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The frame that came, what its parts share, the session's effects, the callback's future, the frame that goes.
const ALLOCATIONS: usize = 5;

const ECHOES: usize = 100;

struct Echo;

impl Channel<()> for Echo {
    type Params = ();
    type Event = RawEvent;

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, said: RawEvent) -> Reply {
        Reply::payload("ok", said.payload)
    }
}

async fn ask(client: &mut Client) {
    for _ in 0..ECHOES {
        client.say(
            r#"["1","2","lab:echo","echo",{"text":"0123456789012345678901234567890123456789"}]"#,
        );
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
    ask(&mut client).await;
    let region = Region::new(ALLOCATOR);
    ask(&mut client).await;
    let change = region.change();
    let count = change.allocations + change.reallocations;
    println!("{count} allocations for {ECHOES} echoes");
    assert_eq!(count, ALLOCATIONS * ECHOES);
}
