//! What a socket keeps of large messages, each way. An allocator counts it, so it is a process of its own, with one test.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod unix;

use std::alloc::System;

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::{Channel, RawEvent, Refused, Reply, Socket, Sockets};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::task::yield_now;

use unix::{Client, Server};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LARGE: usize = 4_000_000;
/// What may be kept, in bytes: tables that grew.
const KEPT: isize = 4_096;

struct Echo;

impl Channel<()> for Echo {
    type Params = ();
    type Event = RawEvent;

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, said: RawEvent) -> Reply {
        match &*said.name {
            "echo" => Reply::payload("ok", said.payload),
            _ => Reply::none(),
        }
    }
}

/// A small message, and its echo.
async fn ask(client: &mut Client) {
    client.say(r#"["1","2","lab:echo","echo",{"text":"small"}]"#);
    client.hear_ok().await;
    settle().await;
}

/// Lets the server come to rest.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

async fn allocations_of_one(client: &mut Client) -> usize {
    let region = Region::new(ALLOCATOR);
    ask(client).await;
    region.change().allocations
}

#[tokio::test]
async fn a_large_message_leaves_nothing_behind() {
    let sockets = Sockets::new(&PubSub::local(), ()).channel::<Echo>("lab:*");
    let server = Server::start(sockets.clone(), sockets.connections());
    let mut client = server.joined("lab:echo").await;
    let large = "x".repeat(LARGE);
    let message = format!(r#"["1","2","lab:echo","echo",{{"text":"{large}"}}]"#);
    let reply = format!(
        r#"["1","2","lab:echo","phx_reply",{{"status":"ok","response":{{"text":"{large}"}}}}]"#
    );
    let reply = reply.len() + 10;
    ask(&mut client).await;
    let usual = allocations_of_one(&mut client).await;
    let quiet = message.replacen("\"echo\"", "\"quiet\"", 1);
    for (message, answer) in [(&message, reply), (&quiet, 0), (&message, reply)] {
        let region = Region::new(ALLOCATOR);
        client.say_large(message, answer).await;
        settle().await;
        let change = region.change();
        let kept = change.bytes_allocated as isize - change.bytes_deallocated as isize;
        println!("{kept} bytes kept");
        assert!(kept <= KEPT, "{kept} bytes");
    }
    // The first one gets new buffers.
    ask(&mut client).await;
    assert_eq!(
        allocations_of_one(&mut client).await,
        usual,
        "it is as it was"
    );
}
