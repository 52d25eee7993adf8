//! A join between whose subscription and answer more comes than is held.

use std::sync::{Arc, OnceLock};

use matryoshka_channel::local_broadcast;
use matryoshka_channel::pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Inbound, Incarnation, NodeName, PubSub, Reached,
};
use serde_json::json;

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

/// What is held for a join's answer.
const HELD: usize = matryoshka_channel::MAX_HELD_FRAMES;

/// A node alone, where `lab:a` is flooded at the moment when it gets its first subscriber.
#[derive(Clone)]
struct Alone(Arc<Flooding>);

#[derive(Default)]
struct Flooding {
    inbound: OnceLock<Inbound>,
    pubsub: OnceLock<PubSub>,
    /// How many come, and how many bytes each has.
    flood: (usize, usize),
}

impl Adapter for Alone {
    fn node(&self) -> NodeName {
        NodeName::new("alone").unwrap()
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(1)
    }

    fn attach(&self, inbound: Inbound) {
        assert!(self.0.inbound.set(inbound).is_ok());
    }

    fn broadcast(&self, _: &Envelope) -> Result<Reached, AdapterError> {
        Ok(Reached::default())
    }

    fn send(&self, to: &NodeName, _: &Envelope) -> Result<(), DirectError> {
        Err(DirectError::QueueFull(to.clone()))
    }

    fn routes_by_interest(&self) -> bool {
        true
    }

    fn interest_changed(&self) {
        let edges = self.0.inbound.get().unwrap().take_edges();
        let mut begun = edges.iter().filter(|edge| edge.interested);
        let Some(pubsub) = self.0.pubsub.get() else {
            return;
        };
        if begun.any(|edge| edge.topic.as_str() == "lab:a") {
            let (count, bytes) = self.0.flood;
            for n in 0..count {
                let payload = json!({ "n": n, "filling": "x".repeat(bytes) });
                local_broadcast(pubsub, "lab:a", "said", &payload).unwrap();
            }
        }
    }
}

/// How many of a flood arrive after the join's answer, how many are counted as dropped, and how often that is told.
async fn flooded(flood: (usize, usize)) -> (usize, usize, usize) {
    let alone = Alone(Arc::new(Flooding {
        flood,
        ..Flooding::default()
    }));
    let pubsub = PubSub::with(alone.clone());
    assert!(alone.0.pubsub.set(pubsub.clone()).is_ok());
    let lab = Lab::on(pubsub);
    let sockets = lab.sockets();
    let lines = Lines::collect();
    let mut client = Client::connect(&sockets, Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","lab:a","phx_join",{}]
            < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","lab:a","echo",{}]
            "#,
        )
        .await;
    let mut arrived = 0_u64;
    loop {
        let frame = crate::holding::next(&mut client).await;
        if frame.0 == "phx_reply" {
            break;
        }
        assert_eq!(frame.1, Some(arrived), "the first ones, in order");
        arrived += 1;
    }
    let dropped = usize::try_from(sockets.stats().inbox_dropped).unwrap();
    let told = lines
        .take()
        .iter()
        .filter(|line| line.contains("lab:a"))
        .count();
    (usize::try_from(arrived).unwrap(), dropped, told)
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_before_an_answer_is_counted_and_told_once() {
    assert_eq!(flooded((HELD, 0)).await, (HELD, 0, 0));
    assert_eq!(flooded((HELD + 6, 0)).await, (HELD, 6, 1));
    let (arrived, dropped, told) = flooded((40, 10_000)).await;
    assert_eq!((arrived + dropped, told), (40, 1));
    assert!(
        (26..=27).contains(&arrived),
        "256 KiB of 10 kB each: {arrived}"
    );
}
