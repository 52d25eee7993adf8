//! A join between whose subscription and answer more comes than is held, or than leaves room for the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use matryoshka_channel::local_broadcast;
use matryoshka_channel::pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Inbound, Incarnation, NodeName, PubSub, Reached,
};
use matryoshka_channel::testing::advance;
use matryoshka_channel::transport::memory::MemoryService;
use matryoshka_channel::transport::{ConnectInfo, Params};
use serde_json::json;

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

/// What is held for a join's answer.
const HELD: usize = matryoshka_channel::MAX_HELD_FRAMES;

/// A node alone, where `lab:a` is flooded at the moment when a topic gets its first subscriber.
#[derive(Clone)]
struct Alone(Arc<Flooding>);

#[derive(Default)]
struct Flooding {
    inbound: OnceLock<Inbound>,
    pubsub: OnceLock<PubSub>,
    /// The topic.
    at: &'static str,
    /// How many come, and how many bytes each has.
    flood: (usize, usize),
    /// It comes once.
    has_come: AtomicBool,
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
        if begun.any(|edge| edge.topic.as_str() == self.0.at)
            && !self.0.has_come.swap(true, Ordering::Relaxed)
        {
            let (count, bytes) = self.0.flood;
            for n in 0..count {
                let payload = json!({ "n": n, "filling": "x".repeat(bytes) });
                local_broadcast(pubsub, "lab:a", "said", &payload).unwrap();
            }
        }
    }
}

fn alone(at: &'static str, flood: (usize, usize)) -> PubSub {
    let alone = Alone(Arc::new(Flooding {
        at,
        flood,
        ..Flooding::default()
    }));
    let pubsub = PubSub::with(alone.clone());
    assert!(alone.0.pubsub.set(pubsub.clone()).is_ok());
    pubsub
}

/// How many of a flood arrive after the join's answer, how many are counted as dropped, and how often that is told.
async fn flooded(flood: (usize, usize)) -> (usize, usize, usize) {
    let lab = Lab::on(alone("lab:a", flood));
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

/// It waits without a subscription: what is broadcast before its answer would have to be held, for as long as the client does not read.
#[tokio::test(start_paused = true)]
async fn a_join_whose_room_is_taken_at_the_last_moment_waits_and_is_subscribed_anew() {
    const FLOOD: usize = 9_000;
    let pubsub = alone("lab:b", (FLOOD, 0));
    let sockets = Lab::on(pubsub.clone()).sockets();
    let service = MemoryService::new(sockets).with_capacity(0);
    let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
    let mut client = service.connect(info).await.unwrap();
    client
        .send_text(r#"["1","1","lab:a","phx_join",{}]"#)
        .await
        .unwrap();
    client.recv_frame().await.unwrap();
    client
        .send_text(r#"["2","2","lab:b","phx_join",{}]"#)
        .await
        .unwrap();
    advance(Duration::from_secs(1)).await;
    assert_eq!(pubsub.subscriptions("lab:b"), 0);
    for n in 0..FLOOD {
        let said = client.recv_frame().await.unwrap();
        let said = said.as_text().unwrap();
        assert!(
            said.starts_with(r#"[null,null,"lab:a","said""#),
            "{n}: {said}"
        );
    }
    let answer = client.recv_frame().await.unwrap();
    assert!(
        answer
            .as_text()
            .unwrap()
            .starts_with(r#"["2","2","lab:b","phx_reply""#)
    );
    assert_eq!(pubsub.subscriptions("lab:b"), 1);
}
