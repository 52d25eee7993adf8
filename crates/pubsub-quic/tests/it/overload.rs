//! A peer that reads slowly costs itself only, and is told what it lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use matryoshka_pubsub_quic::pubsub::cluster::MemberEvent;
use matryoshka_pubsub_quic::pubsub::{Delivery, Message, Sink};

use crate::cluster::{DEADLINE, chain};

/// Holds every delivery until it is opened; then remembers the numbers delivered.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    seen: Mutex<Vec<u32>>,
    entered: AtomicUsize,
    count: AtomicUsize,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Sink for Gate {
    fn deliver(&self, message: &Message) -> Delivery {
        self.entered.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        let number = message.payload()[..4].try_into().unwrap();
        self.seen.lock().unwrap().push(u32::from_be_bytes(number));
        self.count.fetch_add(1, Ordering::SeqCst);
        Delivery::Delivered
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_that_stops_reading_loses_and_is_told_while_others_get_all() {
    const MESSAGES: u32 = 600;
    let mut nodes = chain(3).await;
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
    let peer = |node: usize, other: &str| {
        let peers = nodes[node].adapter.peers().into_iter();
        peers.into_iter().find(|peer| peer.name == other).unwrap()
    };
    assert_eq!(peer(0, "n1").dropped, dropped as u64);
    assert_eq!(peer(0, "n2").dropped, 0);
    assert_eq!(peer(1, "n0").lost, dropped as u64);
    assert_eq!(peer(1, "n0").links, 1, "the link lived through it");
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
