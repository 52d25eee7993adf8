//! One message to 1, 100 and 10,000 subscribers of this process, against a plain loop over the same mailboxes.
//!
//! Targets: at most 1.3 times the loop for 100 and 10,000; at most 100 ns above it for 1.

use std::cell::RefCell;
use std::rc::Rc;

use matryoshka_pubsub::mailbox::{Bound, MailboxReceiver, MailboxSender, mailbox};
use matryoshka_pubsub::registry::{DuplicateRegistry, Owner, Registration};
use matryoshka_pubsub::{Message, PubSub, Subscriber, Subscription, TopicName};

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
        compare(
            count,
            "registry dispatch",
            ThroughRegistry::beside_its_loop(count),
        );
        compare(
            count,
            "pubsub broadcast",
            ThroughPubSub::beside_its_loop(count),
        );
    }
}

fn compare(count: u32, name: &str, (mut plain, mut subject): (PlainLoop, impl Work)) {
    let runs = (DELIVERIES / count).clamp(1, 1_000);
    let result = Comparison::of(&mut plain, &mut subject, runs);
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

/// Reads all that waits. The subject and its baseline fill the same mailboxes, with nobody waiting, which is what a busy
/// subscriber's is like.
type Empty = Rc<dyn Fn()>;

/// A message as a subscriber gets it, made by the only one who can.
fn message() -> Message {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe(TOPIC).expect("a short name");
    pubsub.broadcast(TOPIC, PAYLOAD).expect("a small payload");
    let message = subscription.try_next().expect("it is there");
    message.expect("and nothing was lost")
}

struct PlainLoop {
    senders: Vec<MailboxSender<Message>>,
    message: Message,
    empty: Empty,
}

impl Work for PlainLoop {
    fn run(&mut self) {
        for sender in &self.senders {
            sender.push(self.message.clone(), self.message.payload().len());
        }
    }

    fn reset(&mut self) {
        (self.empty)();
    }
}

struct ThroughRegistry {
    registry: DuplicateRegistry<&'static str, MailboxSender<Message>>,
    message: Message,
    empty: Empty,
    _owner: Owner,
    _guards: Vec<Registration>,
}

impl ThroughRegistry {
    fn beside_its_loop(count: u32) -> (PlainLoop, Self) {
        let (registry, owner) = (DuplicateRegistry::new(), Owner::new());
        let mailboxes = (0..count).map(|_| mailbox(Bound::default()));
        let (senders, receivers): (Vec<_>, Vec<MailboxReceiver<Message>>) = mailboxes.unzip();
        let register = |sender: &MailboxSender<Message>| {
            let sender = sender.clone();
            registry
                .register(&owner, TOPIC, sender)
                .expect("its owner lives")
        };
        let guards = senders.iter().map(register).collect();
        let receivers = RefCell::new(receivers);
        let empty: Empty = Rc::new(move || {
            for receiver in &mut *receivers.borrow_mut() {
                while receiver.try_recv().is_some() {}
            }
        });
        let subject = Self {
            _guards: guards,
            _owner: owner,
            message: message(),
            empty: Rc::clone(&empty),
            registry,
        };
        let plain = PlainLoop {
            senders,
            message: message(),
            empty,
        };
        (plain, subject)
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
        (self.empty)();
    }
}

struct ThroughPubSub {
    pubsub: PubSub,
    topic: TopicName,
    count: usize,
    empty: Empty,
}

impl ThroughPubSub {
    fn beside_its_loop(count: u32) -> (PlainLoop, Self) {
        let pubsub = PubSub::local();
        let subscribe = |_| pubsub.subscribe(TOPIC).expect("a short name");
        let subscriptions: Vec<Subscription> = (0..count).map(subscribe).collect();
        let senders = pubsub.visit(TOPIC, |subscribers| {
            let mailbox = |subscriber: Subscriber<'_>| subscriber.sink_as().cloned();
            let senders = subscribers.iter().map(mailbox);
            senders.collect::<Option<Vec<_>>>().expect("mailboxes")
        });
        let subscriptions = RefCell::new(subscriptions);
        let empty: Empty = Rc::new(move || {
            for subscription in &mut *subscriptions.borrow_mut() {
                while subscription.try_next().is_some() {}
            }
        });
        let subject = Self {
            topic: TOPIC.into(),
            count: count as usize,
            empty: Rc::clone(&empty),
            pubsub,
        };
        let plain = PlainLoop {
            senders: senders.expect("subscribers"),
            message: message(),
            empty,
        };
        (plain, subject)
    }
}

impl Work for ThroughPubSub {
    fn run(&mut self) {
        let sent = self.pubsub.broadcast(&self.topic, PAYLOAD);
        assert_eq!(sent.map_or(0, |sent| sent.local), self.count);
    }

    fn reset(&mut self) {
        (self.empty)();
    }
}
