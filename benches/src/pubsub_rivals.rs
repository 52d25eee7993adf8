//! One message of 64 bytes to n subscribers and read by all of them: this pubsub, tokio's broadcast channel, and what one
//! would write by hand, a locked map of topics to lists of tokio's bounded senders.
//!
//! All three share one message by pointer. Target: ahead of both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use matryoshka_pubsub::{PubSub, Subscription, TopicName};
use tokio::sync::{broadcast, mpsc};

use crate::bar::Bar;
use crate::harness::{Comparison, Work};

const TOPIC: &str = "room:lobby";
const PAYLOAD: &[u8] = &[b'x'; 64];

/// What each of them holds for a reader who does not come.
const BOUND: usize = 1_024;

/// Deliveries per sample, about.
const DELIVERIES: u32 = 4_000;

/// Prints the comparison with each rival for each number of subscribers.
pub(crate) fn run() {
    println!("\n64 bytes to n subscribers, published and read");
    println!(
        "{:>8}  {:<22} {:>12} {:>12} {:>8}",
        "n", "rival", "rival", "pubsub", "ratio"
    );
    for count in [1, 100, 10_000] {
        compare(count, "tokio broadcast", &mut TokioBroadcast::new(count));
        compare(count, "locked map of senders", &mut LockedMap::new(count));
    }
}

fn compare(count: u32, name: &str, rival: &mut dyn Work) {
    let runs = (DELIVERIES / count).clamp(1, 1_000);
    let result = Comparison::of(rival, &mut Ours::new(count), runs);
    let (theirs, ours, ratio) = (result.baseline, result.subject, result.ratio());
    let verdict = Bar::AtMost(1.0).judge(ratio);
    println!("{count:>8}  {name:<22} {theirs:>12.1?} {ours:>12.1?} {ratio:>7.2}x  {verdict}");
}

struct Ours {
    pubsub: PubSub,
    topic: TopicName,
    subscriptions: Vec<Subscription>,
}

impl Ours {
    fn new(count: u32) -> Self {
        let pubsub = PubSub::local();
        let subscribe = |_| pubsub.subscribe(TOPIC).expect("a short name");
        Self {
            subscriptions: (0..count).map(subscribe).collect(),
            topic: TOPIC.into(),
            pubsub,
        }
    }
}

impl Work for Ours {
    fn run(&mut self) {
        let sent = self.pubsub.broadcast(&self.topic, PAYLOAD);
        assert!(sent.is_ok());
        for subscription in &mut self.subscriptions {
            assert!(subscription.try_next().is_some());
        }
    }

    fn reset(&mut self) {}
}

struct TokioBroadcast {
    sender: broadcast::Sender<Arc<[u8]>>,
    receivers: Vec<broadcast::Receiver<Arc<[u8]>>>,
}

impl TokioBroadcast {
    fn new(count: u32) -> Self {
        let (sender, _) = broadcast::channel(BOUND);
        let receivers = (0..count).map(|_| sender.subscribe()).collect();
        Self { sender, receivers }
    }
}

impl Work for TokioBroadcast {
    fn run(&mut self) {
        assert!(self.sender.send(PAYLOAD.into()).is_ok());
        for receiver in &mut self.receivers {
            assert!(receiver.try_recv().is_ok());
        }
    }

    fn reset(&mut self) {}
}

type Senders = Vec<mpsc::Sender<Arc<[u8]>>>;

struct LockedMap {
    topics: Mutex<HashMap<String, Senders>>,
    receivers: Vec<mpsc::Receiver<Arc<[u8]>>>,
}

impl LockedMap {
    fn new(count: u32) -> Self {
        let (senders, receivers) = (0..count).map(|_| mpsc::channel(BOUND)).unzip();
        Self {
            topics: Mutex::new(HashMap::from([(TOPIC.to_owned(), senders)])),
            receivers,
        }
    }
}

impl Work for LockedMap {
    fn run(&mut self) {
        let message: Arc<[u8]> = PAYLOAD.into();
        let topics = self.topics.lock().expect("nobody panics");
        for sender in topics.get(TOPIC).into_iter().flatten() {
            assert!(sender.try_send(Arc::clone(&message)).is_ok());
        }
        drop(topics);
        for receiver in &mut self.receivers {
            assert!(receiver.try_recv().is_ok());
        }
    }

    fn reset(&mut self) {}
}
