//! A peer that reads slowly costs itself only, and is told what it lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use matryoshka_pubsub_quic::Builder;
use matryoshka_pubsub_quic::pubsub::cluster::MemberEvent;
use matryoshka_pubsub_quic::pubsub::{Delivery, Message, Payload, Publisher, Sink, TrafficClass};

use crate::cluster::{DEADLINE, chain, cluster, until};

/// Holds every delivery until it is opened; then remembers the numbers delivered.
#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    seen: Mutex<Vec<u32>>,
    entered: AtomicUsize,
    count: AtomicUsize,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Sink for Gate {
    fn deliver(&self, message: &Message) -> Delivery {
        self.entered.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        if let Some(number) = message.payload().first_chunk() {
            self.seen.lock().unwrap().push(u32::from_be_bytes(*number));
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        Delivery::Delivered
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_that_stops_reading_loses_and_is_told_while_others_get_all() {
    one_stops_reading(|builder| builder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_does_a_peer_of_the_release_before() {
    one_stops_reading(|builder| builder.protocol(1)).await;
}

async fn one_stops_reading(slow: fn(Builder) -> Builder) {
    const MESSAGES: u32 = 600;
    let mut nodes = cluster([|builder| builder, slow, |builder| builder]).await;
    let slow = Arc::new(Gate::default());
    let quick = Arc::new(Gate::default());
    quick.open();
    let _slow = nodes[1]
        .pubsub
        .subscribe_sink("flood", slow.clone())
        .unwrap();
    let _quick = nodes[2]
        .pubsub
        .subscribe_sink("flood", quick.clone())
        .unwrap();
    let publisher = nodes[0].pubsub.publisher();
    let (mut dropped, mut longest) = (0, Duration::ZERO);
    for number in 0..MESSAGES {
        let mut payload = vec![0; 64 * 1024];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        let before = Instant::now();
        let sent = publisher.broadcast("flood", payload).unwrap();
        longest = longest.max(before.elapsed());
        dropped += sent.dropped.iter().filter(|node| **node == "n1").count();
        // The quick one is given the time it needs; the slow one has none to give.
        let caught_up = async {
            let mut look = tokio::time::interval(Duration::from_millis(1));
            while quick.count.load(Ordering::SeqCst) <= number as usize {
                look.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, caught_up).await.unwrap();
    }
    assert!(dropped > 100, "only {dropped} were dropped");
    assert!(
        longest < Duration::from_secs(1),
        "a publisher waited {longest:?}"
    );
    assert_eq!(
        *quick.seen.lock().unwrap(),
        (0..MESSAGES).collect::<Vec<_>>()
    );

    slow.open();
    let mut told = 0;
    while told < dropped as u64 {
        let gap = |event: &MemberEvent| matches!(event, MemberEvent::Gap { .. });
        match nodes[1].event(gap).await {
            MemberEvent::Gap { node, lost, .. } => {
                assert_eq!(node, "n0");
                told += lost;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(told, dropped as u64);
    let seen = slow.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), MESSAGES as usize - dropped);
    assert!(seen.is_sorted(), "out of order");
    let slow = nodes[0].peer("n1");
    assert_eq!(
        (slow.dropped, slow.links),
        (dropped as u64, 1),
        "the link lives"
    );
    assert!(slow.gaps > 0);
    assert_eq!(nodes[0].peer("n2").dropped, 0);
    assert_eq!(nodes[1].peer("n0").lost, dropped as u64);
}

/// When all lanes of users and the bulk lane are full and nobody reads them, the cluster's own words still get through.
#[tokio::test(flavor = "multi_thread", worker_threads = 14)]
async fn control_and_tracker_go_on_when_all_other_lanes_are_full() {
    let mut nodes = cluster([|builder| builder, |builder| builder]).await;
    let held = Arc::new(Gate::default());
    let _held = nodes[1]
        .pubsub
        .subscribe_sink("held", held.clone())
        .unwrap();
    let mut tracker = nodes[1].pubsub.subscribe("tracker").unwrap();
    // One publisher for each of the eight lanes of users; the ninth one's messages are bulk.
    let mut full: Vec<(Publisher, bool)> = Vec::new();
    for lane in 0..9 {
        let mut publisher = nodes[0].pubsub.publisher();
        while publisher.id().get() % 8 != lane % 8 {
            publisher = nodes[0].pubsub.publisher();
        }
        full.push((publisher, false));
    }
    let payload = Bytes::from(vec![0; 512 * 1024]);
    while full.iter().any(|(_, full)| !full) {
        for (lane, (publisher, full)) in full.iter_mut().enumerate() {
            let class = if lane == 8 {
                TrafficClass::Bulk
            } else {
                TrafficClass::User
            };
            let payload = Payload::from(payload.clone()).with_class(class);
            let sent = publisher.broadcast("held", payload).unwrap();
            *full |= !sent.dropped.is_empty();
        }
        tokio::task::yield_now().await;
    }
    until("every lane is held up", || {
        held.entered.load(Ordering::SeqCst) == 9
    })
    .await;
    let urgent = Payload::from("still here").with_class(TrafficClass::Tracker);
    nodes[0].pubsub.broadcast("tracker", urgent).unwrap();
    let message = tokio::time::timeout(DEADLINE, tracker.next()).await;
    let arrived = message.is_ok();
    // Longer than a node without heartbeats lives.
    let down = tokio::time::timeout(Duration::from_secs(3), nodes[1].down("n0")).await;
    let queued = nodes[0].peer("n1").link.map(|link| link.queued);
    held.open();
    assert!(arrived, "a tracker's message waits behind users'");
    assert!(down.is_err(), "heartbeats wait behind users' messages");
    let queued = queued.expect("a link");
    assert!(queued.user <= 8 * 8 * 1024 * 1024 && queued.bulk <= 32 * 1024 * 1024);
    assert!(queued.user > 7 * 7 * 1024 * 1024, "{queued:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn down_is_told_only_when_nothing_is_being_delivered_any_more() {
    let mut nodes = chain(2).await;
    let gate = Arc::new(Gate::default());
    let _held = nodes[1]
        .pubsub
        .subscribe_sink("held", gate.clone())
        .unwrap();
    nodes[0].pubsub.broadcast("held", vec![0; 4]).unwrap();
    let delivering = async {
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while gate.entered.load(Ordering::SeqCst) == 0 {
            look.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, delivering).await.unwrap();
    let sender = nodes.remove(0);
    drop(sender);
    let early = tokio::time::timeout(Duration::from_millis(500), nodes[0].down("n0"));
    let early = early.await.is_ok();
    // Before any assertion, or a failing test would wait for its own runtime.
    gate.open();
    assert!(!early, "down while a message is being delivered");
    nodes[0].down("n0").await;
    assert_eq!(gate.count.load(Ordering::SeqCst), 1);
}
