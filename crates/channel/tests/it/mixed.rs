//! One topic whose subscribers stand differently, in any order: a fan-out looks at several before it serves the first, and must take
//! none for another.

use std::sync::Arc;

use matryoshka_channel::broadcast;
use matryoshka_channel::pubsub::{Delivery, Message, Sink, SinkSubscription};
use matryoshka_channel::transport::Limits;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Builder;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

/// How a subscriber stands when the broadcasts come.
#[derive(Clone, Copy, Debug)]
enum Stand {
    /// It takes all.
    Open(Vsn),
    /// Its `diff`s wait for its state.
    Holding(Vsn),
    /// Its connection has just ended, by too much of what is not this topic's, and it is still subscribed.
    Ended,
    /// It is no channel.
    Other,
}

fn stand() -> impl Strategy<Value = Stand> {
    let vsn = || prop_oneof![Just(Vsn::V1), Just(Vsn::V2)];
    prop_oneof![
        4 => vsn().prop_map(Stand::Open),
        2 => vsn().prop_map(Stand::Holding),
        1 => Just(Stand::Ended),
        1 => Just(Stand::Other),
    ]
}

/// Takes what it gets.
struct Other;

impl Sink for Other {
    fn deliver(&self, _: &Message) -> Delivery {
        Delivery::Delivered
    }
}

enum Subscriber {
    Client(Stand, Client),
    Other(#[allow(dead_code, reason = "dropped it would end")] SinkSubscription),
}

const OPEN: &str = r#"
    > ["1","1","lab:a","phx_join",{}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;
const HOLDING: &str = r#"
    > ["1","1","lab:a","phx_join",{"hold":["diff"],"after_sleep":100,"after":"state"}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;
const ENDING: &str = r#"
    > ["2","2","lab:flood","phx_join",{}]
    < ["2","2","lab:flood","phx_reply",{"status":"ok","response":{}}]
    "#;

/// What an ending one's outbox takes.
const ROOM: usize = 4;

async fn subscribe(lab: &Lab, stand: Stand) -> Subscriber {
    let sockets = lab.sockets();
    let (vsn, join) = match stand {
        Stand::Open(vsn) => (vsn, OPEN),
        Stand::Holding(vsn) => (vsn, HOLDING),
        Stand::Ended => (Vsn::V2, OPEN),
        Stand::Other => {
            let other = lab.pubsub.subscribe_sink("lab:a", Arc::new(Other));
            return Subscriber::Other(other.unwrap());
        }
    };
    let limits = match stand {
        Stand::Ended => Limits::default()
            .with_outbox_bytes(1_000)
            .with_outbox_items(ROOM),
        _ => Limits::default(),
    };
    let mut client = Client::with_limits(&sockets, vsn, limits).await;
    client.play(join).await;
    if matches!(stand, Stand::Ended) {
        client.play(ENDING).await;
    }
    Subscriber::Client(stand, client)
}

/// Nothing in here waits, so whose connection has ended stays subscribed until all is told.
fn tell(lab: &Lab, stands: &[Stand]) {
    let ended = |stand: &&Stand| matches!(stand, Stand::Ended);
    let expected = stands.len() - stands.iter().filter(ended).count();
    if expected < stands.len() {
        for _ in 0..=ROOM {
            broadcast(&lab.pubsub, "lab:flood", "much", &()).unwrap();
        }
    }
    for (n, event) in ["said", "diff", "said", "diff"].into_iter().enumerate() {
        let sent = broadcast(&lab.pubsub, "lab:a", event, &json!({ "n": n })).unwrap();
        assert_eq!(sent.local, expected, "of {event} {n}");
    }
}

async fn check(subscriber: &mut Subscriber) {
    let Subscriber::Client(stand, client) = subscriber else {
        return;
    };
    let script = match stand {
        Stand::Open(_) => {
            r#"
            < [null,null,"lab:a","said",{"n":0}]
            < [null,null,"lab:a","diff",{"n":1}]
            < [null,null,"lab:a","said",{"n":2}]
            < [null,null,"lab:a","diff",{"n":3}]
            .
            "#
        }
        Stand::Holding(_) => {
            r#"
            < [null,null,"lab:a","said",{"n":0}]
            < [null,null,"lab:a","said",{"n":2}]
            < ["1",null,"lab:a","state",{}]
            < [null,null,"lab:a","diff",{"n":1}]
            < [null,null,"lab:a","diff",{"n":3}]
            .
            "#
        }
        Stand::Ended | Stand::Other => "< close 1008",
    };
    client.play(script).await;
}

async fn tell_and_check(stands: &[Stand]) {
    let lab = Lab::new();
    let mut subscribers = Vec::new();
    for stand in stands {
        subscribers.push(subscribe(&lab, *stand).await);
    }
    tell(&lab, stands);
    for subscriber in &mut subscribers {
        check(subscriber).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_gets_all_that_is_its_own_once_and_in_order(stands in vec(stand(), 1..50)) {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(tell_and_check(&stands));
    }
}
