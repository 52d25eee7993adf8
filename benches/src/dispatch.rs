//! One message to 1, 100 and 10,000 subscribers of this process, against a plain loop over mailboxes of the same kind.
//!
//! Targets: at most 1.3 times the loop for 100 and 10,000; at most 100 ns above it for 1.

use matryoshka_pubsub::mailbox::{Bound, MailboxReceiver, MailboxSender, mailbox};
use matryoshka_pubsub::registry::{DuplicateRegistry, Owner, Registration};
use matryoshka_pubsub::{Message, PubSub, Subscription, TopicName};

use crate::bar::Bar;
use crate::harness::{Comparison, Work};

const TOPIC: &str = "room:lobby";
const PAYLOAD: &[u8] = &[b'x'; 64];

/// Bars: times the loop for many, nanoseconds above it for one.
const RATIO: f64 = 1.3;
const ABOVE_NS: f64 = 100.0;

/// Deliveries per sample, about: enough for the clock, few enough for the caches.
const DELIVERIES: u32 = 4_000;

/// Prints the comparison for each number of subscribers.
pub(crate) fn run() {
    println!("\ndispatch of 64 bytes to n mailboxes");
    println!(
        "{:>8}  {:<20} {:>12} {:>12} {:>8} {:>12}",
        "n", "subject", "loop", "subject", "ratio", "above"
    );
    for count in [1, 100, 10_000] {
        compare(count, "registry dispatch", &mut ThroughRegistry::new(count));
        compare(count, "pubsub broadcast", &mut ThroughPubSub::new(count));
    }
}

fn compare(count: u32, name: &str, subject: &mut dyn Work) {
    let runs = (DELIVERIES / count).clamp(1, 1_000);
    let result = Comparison::of(&mut PlainLoop::new(count), subject, runs);
    let (baseline, time) = (result.baseline, result.subject);
    let (ratio, above) = (result.ratio(), result.above_ns());
    let verdict = match count {
        1 => Bar::AtMost(ABOVE_NS).judge(above),
        _ => Bar::AtMost(RATIO).judge(ratio),
    };
    println!(
        "{count:>8}  {name:<20} {baseline:>12.1?} {time:>12.1?} {ratio:>7.2}x {above:>9.0} ns  {verdict}"
    );
}

/// Mailboxes with nobody waiting, which is what a busy subscriber's is like.
struct Mailboxes {
    senders: Vec<MailboxSender<Message>>,
    receivers: Vec<MailboxReceiver<Message>>,
}

impl Mailboxes {
    fn new(count: u32) -> Self {
        let (senders, receivers) = (0..count).map(|_| mailbox(Bound::default())).unzip();
        Self { senders, receivers }
    }

    fn empty(&mut self) {
        for receiver in &mut self.receivers {
            while receiver.try_recv().is_some() {}
        }
    }
}

/// A message as a subscriber gets it, made by the only one who can.
fn message() -> Message {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe(TOPIC).expect("a short name");
    pubsub.broadcast(TOPIC, PAYLOAD).expect("a small payload");
    let message = subscription.try_next().expect("it is there");
    message.expect("and nothing was lost")
}

struct PlainLoop {
    mailboxes: Mailboxes,
    message: Message,
}

impl PlainLoop {
    fn new(count: u32) -> Self {
        Self {
            mailboxes: Mailboxes::new(count),
            message: message(),
        }
    }
}

impl Work for PlainLoop {
    fn run(&mut self) {
        for sender in &self.mailboxes.senders {
            sender.push(self.message.clone(), self.message.payload().len());
        }
    }

    fn reset(&mut self) {
        self.mailboxes.empty();
    }
}

struct ThroughRegistry {
    registry: DuplicateRegistry<&'static str, MailboxSender<Message>>,
    mailboxes: Mailboxes,
    message: Message,
    _owner: Owner,
    _guards: Vec<Registration>,
}

impl ThroughRegistry {
    fn new(count: u32) -> Self {
        let (registry, owner) = (DuplicateRegistry::new(), Owner::new());
        let mailboxes = Mailboxes::new(count);
        let senders = mailboxes.senders.iter().cloned();
        let guards = senders.map(|sender| registry.register(&owner, TOPIC, sender));
        Self {
            _guards: guards.collect(),
            _owner: owner,
            message: message(),
            registry,
            mailboxes,
        }
    }
}

impl Work for ThroughRegistry {
    fn run(&mut self) {
        self.registry.dispatch(TOPIC, |entries| {
            for entry in entries {
                let sender = entry.value();
                sender.push(self.message.clone(), self.message.payload().len());
            }
        });
    }

    fn reset(&mut self) {
        self.mailboxes.empty();
    }
}

struct ThroughPubSub {
    pubsub: PubSub,
    topic: TopicName,
    subscriptions: Vec<Subscription>,
}

impl ThroughPubSub {
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

impl Work for ThroughPubSub {
    fn run(&mut self) {
        let sent = self.pubsub.broadcast(&self.topic, PAYLOAD);
        assert_eq!(sent.map_or(0, |sent| sent.local), self.subscriptions.len());
    }

    fn reset(&mut self) {
        for subscription in &mut self.subscriptions {
            while subscription.try_next().is_some() {}
        }
    }
}
