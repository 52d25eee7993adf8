//! One subscriber among 1,000 that never reads: what the others pay for it, and what it holds.
//!
//! Target: the others' cost of a delivery within 5 % (median of five); what waits for the slow one within its bound.

use matryoshka_pubsub::mailbox::{Bound, Overflow, Policy};
use matryoshka_pubsub::{Message, PubSub, Subscription, TopicName};

use crate::bar::Bar;
use crate::harness::{Comparison, Work};

const TOPIC: &str = "room:lobby";
const PAYLOAD: &[u8] = &[b'x'; 64];
const CROWD: u32 = 1_000;
const BOUND: usize = 1_024;
const ROUNDS: usize = 5;

/// Prints the comparison for each policy.
pub(crate) fn run() {
    println!("\none of {CROWD} subscribers never reads, against {CROWD} that all do");
    println!("{:>14}  {:>12} {:>10}", "policy", "ratio", "it holds");
    for (name, policy) in policies() {
        let mut ratios = Vec::new();
        let mut held = 0;
        for _ in 0..ROUNDS {
            let mut with_slow = Crowd::new(Some(policy.clone()));
            let result = Comparison::of(&mut Crowd::new(None), &mut with_slow, 4);
            ratios.push(result.ratio());
            held = with_slow.held();
        }
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ROUNDS / 2];
        let verdict = Bar::AtMost(1.05).judge(ratio);
        let holds = Bar::AtMost(BOUND as f64).judge(held as f64);
        println!("{name:>14}  {ratio:>11.3}x {held:>10}  ratio {verdict}, held {holds}");
    }
}

/// The four policies of the slow one. Every message has the same key, so that the next makes the one before it stale.
fn policies() -> [(&'static str, Policy<Message>); 4] {
    let bound = Bound::messages(BOUND);
    [
        (
            "drop oldest",
            bound.with_overflow(Overflow::DropOldest).into(),
        ),
        (
            "drop newest",
            bound.with_overflow(Overflow::DropNewest).into(),
        ),
        (
            "keep latest",
            bound.keep_latest_by(|message: &Message| message.kind().0),
        ),
        ("close", bound.with_overflow(Overflow::Close).into()),
    ]
}

struct Crowd {
    pubsub: PubSub,
    topic: TopicName,
    readers: Vec<Subscription>,
    slow: Option<Subscription>,
}

impl Crowd {
    fn new(slow: Option<Policy<Message>>) -> Self {
        let pubsub = PubSub::local();
        let slow = slow.map(|policy| {
            let slow = pubsub.subscribe_bounded(TOPIC, policy);
            slow.expect("a short name")
        });
        let subscribe = |_| pubsub.subscribe(TOPIC).expect("a short name");
        let crowd = Self {
            readers: (u32::from(slow.is_some())..CROWD).map(subscribe).collect(),
            slow,
            topic: TOPIC.into(),
            pubsub,
        };
        crowd.fill_the_slow_one();
        crowd
    }

    fn fill_the_slow_one(&self) {
        if self.slow.is_some() {
            for _ in 0..BOUND {
                assert!(self.pubsub.broadcast(&self.topic, PAYLOAD).is_ok());
            }
        }
    }

    fn held(&mut self) -> usize {
        let slow = self.slow.iter_mut();
        slow.map(|slow| {
            std::iter::from_fn(|| slow.try_next())
                .filter(Result::is_ok)
                .count()
        })
        .sum()
    }
}

impl Work for Crowd {
    fn run(&mut self) {
        assert!(self.pubsub.broadcast(&self.topic, PAYLOAD).is_ok());
        for reader in &mut self.readers {
            while reader.try_next().is_some() {}
        }
    }

    fn reset(&mut self) {}
}
