//! A peer that reads slowly costs itself only, and is told what it lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use matryoshka_pubsub_quic::Builder;
use matryoshka_pubsub_quic::pubsub::cluster::MemberEvent;
use matryoshka_pubsub_quic::pubsub::{
    Delivery, Message, Payload, PubSub, Publisher, Sink, TrafficClass,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{DEADLINE, Node, chain, cluster, until, until_within};

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

    /// How many deliveries began.
    pub(crate) fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }

    /// The numbers delivered so far.
    pub(crate) fn seen(&self) -> Vec<u32> {
        self.seen.lock().unwrap().clone()
    }
}

/// Opens its gate when it is dropped: a test that fails would otherwise wait for what it holds.
pub(crate) struct Held(Arc<Gate>);

impl Held {
    pub(crate) fn new(gate: &Arc<Gate>) -> Self {
        Self(gate.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Sink for Gate {
    fn deliver(&self, message: &Message) -> Delivery {
        self.entered.fetch_add(1, Ordering::SeqCst);
        // A worker that stood still would keep what it has just woken, such as the connection, to itself.
        tokio::task::block_in_place(|| {
            let open = self.open.lock().unwrap();
            drop(self.opened.wait_while(open, |open| !*open).unwrap());
        });
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
    let _opened = Held(slow.clone());
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
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn control_and_tracker_go_on_when_all_other_lanes_are_full() {
    let mut nodes = cluster([|builder| builder, |builder| builder]).await;
    let held = Arc::new(Gate::default());
    let _opened = Held(held.clone());
    let _held = nodes[1]
        .pubsub
        .subscribe_sink("held", held.clone())
        .unwrap();
    let mut tracker = nodes[1].pubsub.subscribe("tracker").unwrap();
    let flood = Flood::start(&nodes[0].pubsub);
    until_within(FULL_WITHIN, "every lane is held up and full", || {
        held.entered.load(Ordering::SeqCst) == 9 && is_full(&nodes[0])
    })
    .await;
    let urgent = Payload::from("still here").with_class(TrafficClass::Tracker);
    nodes[0].pubsub.broadcast("tracker", urgent).unwrap();
    let message = tokio::time::timeout(DEADLINE, tracker.next()).await;
    let arrived = message.is_ok();
    // Longer than a node without heartbeats lives.
    let down = tokio::time::timeout(Duration::from_secs(3), nodes[1].down("n0")).await;
    until("every lane is full again", || is_full(&nodes[0])).await;
    let delivered = held.count.load(Ordering::SeqCst);
    flood.stop().await;
    assert!(arrived, "a tracker's message waits behind users'");
    assert!(down.is_err(), "heartbeats wait behind users' messages");
    assert_eq!(delivered, 0, "somebody read the lanes");
    assert_eq!(nodes[0].peer("n1").links, 1, "the link lives");
}

/// What is sent in one piece to fill a lane.
const PIECE_BYTES: usize = 512 * 1024;
const USER_LANE_BYTES: usize = 16 * 1024 * 1024;
const BULK_LANE_BYTES: usize = 32 * 1024 * 1024;
/// QUIC's windows take 72 MiB before, which is seconds of CPU: a machine that is very busy takes long for it.
const FULL_WITHIN: Duration = Duration::from_secs(100);

/// Whether the lanes of users together, and the bulk lane, have as good as no room for another piece and its head.
fn is_full(node: &Node) -> bool {
    let queued = node.peer("n1").link.expect("a link").queued;
    let room = PIECE_BYTES + PIECE_BYTES / 8;
    assert!(queued.user <= 8 * USER_LANE_BYTES && queued.bulk <= BULK_LANE_BYTES);
    queued.user > 8 * (USER_LANE_BYTES - room) && queued.bulk > BULK_LANE_BYTES - room
}

/// Publishes on all lanes of users and the bulk lane until it is stopped. That a lane has dropped something does not keep it full:
/// QUIC's windows may still take all that waits.
struct Flood {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Flood {
    fn start(pubsub: &PubSub) -> Self {
        // One publisher for each of the eight lanes of users; the ninth one's messages are bulk.
        let lanes: Vec<Publisher> = (0..9).map(|lane| on_lane(pubsub, lane % 8)).collect();
        let payload = Bytes::from(vec![0; PIECE_BYTES]);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            while !*stopped.borrow() {
                for (lane, publisher) in lanes.iter().enumerate() {
                    let class = match lane {
                        8 => TrafficClass::Bulk,
                        _ => TrafficClass::User,
                    };
                    let payload = Payload::from(payload.clone()).with_class(class);
                    publisher.broadcast("held", payload).unwrap();
                }
                pace.tick().await;
            }
        });
        Self { task, stop }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

/// A publisher whose messages go on that lane of users.
pub(crate) fn on_lane(pubsub: &PubSub, lane: u64) -> Publisher {
    loop {
        let publisher = pubsub.publisher();
        if publisher.id().get() % 8 == lane {
            return publisher;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn down_is_told_only_when_nothing_is_being_delivered_any_more() {
    let mut nodes = chain(2).await;
    let gate = Arc::new(Gate::default());
    let _opened = Held(gate.clone());
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
    gate.open();
    assert!(!early, "down while a message is being delivered");
    nodes[0].down("n0").await;
    assert_eq!(gate.count.load(Ordering::SeqCst), 1);
}
