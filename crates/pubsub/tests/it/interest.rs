//! Q4: interest routing through the whole seam, from `subscribe` to the sinks of another node, gives what flooding gives.

use std::time::Duration;

use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::testing::contract;
use matryoshka_pubsub::{Message, PubSub, Publisher, Subscription, mailbox::Bound};
use proptest::prelude::*;
use tokio::time::timeout;

use crate::routed_mesh::RoutedMesh;

const NAMES: [&str; 3] = ["a", "b", "c"];
const TOPICS: [&str; 4] = ["q", "r", "s", "t"];

#[tokio::test(start_paused = true)]
async fn an_adapter_that_routes_by_interest_keeps_the_contract() {
    let cluster = async |count| {
        let mesh = RoutedMesh::new();
        let node = |n| PubSub::with(mesh.node(&format!("n{n}")));
        (0..count).map(node).collect()
    };
    let suite = timeout(Duration::from_secs(10), contract::all(cluster));
    suite.await.expect("the suite ends");
}

#[test]
fn a_node_without_subscribers_gets_nothing() {
    let mesh = RoutedMesh::new();
    let nodes = NAMES.map(|name| PubSub::with(mesh.node(name)));
    let before = mesh.counters(0);
    let _wants = nodes[1].subscribe("t").unwrap();
    for topic in ["t", "u", "t"] {
        nodes[0].broadcast(topic, "hello").unwrap();
    }
    let after = mesh.counters(0);
    assert_eq!(
        (after.sent - before.sent, after.flooded()),
        (2, before.flooded())
    );
    assert_eq!(
        after.held - before.held,
        4,
        "two for c of what b wants, and two of what nobody wants"
    );
    assert_eq!(nodes[1].stats().received, 2);
    assert_eq!(nodes[2].stats().received, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe {
        node: usize,
        topic: usize,
    },
    Unsubscribe(prop::sample::Index),
    Publish {
        node: usize,
        publisher: usize,
        topic: usize,
    },
    Direct {
        node: usize,
        to: usize,
        topic: usize,
    },
    Write(usize),
    CarryControl(usize, usize),
    CarryMessages(usize, usize, usize),
    Pass(u64),
    Break(usize, usize),
    Connect(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (node, topic) = (0_usize..3, 0..TOPICS.len());
    let pair = || (0_usize..3, 0_usize..3);
    prop_oneof![
        6 => (node.clone(), topic.clone()).prop_map(|(node, topic)| Step::Subscribe { node, topic }),
        3 => any::<prop::sample::Index>().prop_map(Step::Unsubscribe),
        14 => (node.clone(), 0_usize..2, topic.clone())
            .prop_map(|(node, publisher, topic)| Step::Publish { node, publisher, topic }),
        3 => (node.clone(), 0_usize..3, topic).prop_map(|(node, to, topic)| Step::Direct { node, to, topic }),
        8 => node.prop_map(Step::Write),
        12 => pair().prop_map(|(a, b)| Step::CarryControl(a, b)),
        10 => (0_usize..3, 0_usize..3, 0_usize..3).prop_map(|(a, b, n)| Step::CarryMessages(a, b, n)),
        2 => (0_u64..1_200).prop_map(Step::Pass),
        1 => pair().prop_map(|(a, b)| Step::Break(a, b)),
        2 => pair().prop_map(|(a, b)| Step::Connect(a, b)),
    ]
}

/// A subscription to the same topic of the same node in both worlds.
struct Twin {
    routed: Subscription,
    flooded: Subscription,
    node: usize,
    /// The number of the first message published after it was made.
    since: u64,
    /// By the links that broke while it was there: their other ends.
    broken: Vec<usize>,
    ended: bool,
}

/// A mesh that routes by interest, whose frames travel by hand, beside one that floods, where they are there at once.
struct Worlds {
    mesh: RoutedMesh,
    flood: MemoryMesh,
    routed: [PubSub; 3],
    flooded: [PubSub; 3],
    publishers: Vec<[Publisher; 2]>,
    next: u64,
    twins: Vec<Twin>,
}

impl Worlds {
    fn new() -> Self {
        let (mesh, flood) = (RoutedMesh::new(), MemoryMesh::new());
        let routed = NAMES.map(|name| PubSub::with(mesh.node(name)));
        let flooded = NAMES.map(|name| PubSub::with(flood.node(name)));
        mesh.by_hand();
        let nodes = routed.iter().zip(&flooded);
        let publishers = nodes.flat_map(|(routed, flooded)| {
            (0..2).map(|_| [routed.publisher(), flooded.publisher()])
        });
        Self {
            publishers: publishers.collect(),
            mesh,
            flood,
            routed,
            flooded,
            next: 0,
            twins: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Subscribe { node, topic } => {
                let everything = Bound::messages(usize::MAX).with_bytes(usize::MAX);
                let subscribe =
                    |pubsub: &PubSub| pubsub.subscribe_bounded(TOPICS[topic], everything);
                self.twins.push(Twin {
                    routed: subscribe(&self.routed[node]).unwrap(),
                    flooded: subscribe(&self.flooded[node]).unwrap(),
                    node,
                    since: self.next,
                    broken: Vec::new(),
                    ended: false,
                });
            }
            Step::Unsubscribe(at) if !self.twins.is_empty() => {
                let at = at.index(self.twins.len());
                let mut twin = self.twins.swap_remove(at);
                twin.ended = true;
                twin.check();
            }
            Step::Unsubscribe(_) => {}
            Step::Publish {
                node,
                publisher,
                topic,
            } => {
                let who = node * 2 + publisher;
                let text = self.text(who);
                for publisher in &self.publishers[who] {
                    publisher.broadcast(TOPICS[topic], text.clone()).unwrap();
                }
            }
            Step::Direct { node, to, topic } if node != to => {
                let text = self.text(node * 2);
                let sent = self.publishers[node * 2].each_ref().map(|publisher| {
                    let name = self.routed[to].node();
                    publisher
                        .direct_broadcast(&name, TOPICS[topic], text.clone())
                        .is_ok()
                });
                assert_eq!(sent[0], sent[1]);
            }
            Step::Direct { .. } => {}
            Step::Write(node) => drop(self.mesh.write(node)),
            Step::CarryControl(from, to) => drop(self.mesh.carry_control(from, to)),
            Step::CarryMessages(from, to, lane) => {
                for _ in 0..3 {
                    self.mesh.carry_message(from, to, lane as u16);
                }
            }
            Step::Pass(ms) => self.mesh.pass(Duration::from_millis(ms), ms > 600),
            Step::Break(a, b) if a != b => {
                self.mesh.break_link(a, b);
                self.flood.cut(NAMES[a], NAMES[b]);
                for twin in &mut self.twins {
                    let other = [(a, b), (b, a)]
                        .into_iter()
                        .find(|ends| ends.0 == twin.node);
                    twin.broken.extend(other.map(|ends| ends.1));
                }
            }
            Step::Connect(a, b) if a != b => {
                self.mesh.connect(a, b);
                self.flood.heal(NAMES[a], NAMES[b]);
            }
            Step::Break(..) | Step::Connect(..) => {}
        }
    }

    fn text(&mut self, publisher: usize) -> String {
        self.next += 1;
        format!("{publisher} {}", self.next)
    }
}

/// What a subscription got: by whom, and which.
fn heard(subscription: &mut Subscription) -> Vec<(usize, u64)> {
    let all = std::iter::from_fn(|| subscription.try_next());
    let read = |message: Message| {
        let text = String::from_utf8(message.payload().to_vec()).unwrap();
        let (publisher, number) = text.split_once(' ').unwrap();
        (publisher.parse().unwrap(), number.parse().unwrap())
    };
    all.map(|next| read(next.unwrap())).collect()
}

impl Twin {
    /// Of what was published after `subscribe` returned: exactly what flooding gave. Over a link that broke, or up to an end,
    /// a beginning of it. Earlier messages may have come before, in order too.
    fn check(&mut self) {
        let (routed, flooded) = (heard(&mut self.routed), heard(&mut self.flooded));
        for publisher in 0..NAMES.len() * 2 {
            let of = |all: &[(usize, u64)]| -> Vec<u64> {
                let own = all.iter().filter(|(by, _)| *by == publisher);
                own.map(|(_, number)| *number).collect()
            };
            let (got, owed) = (of(&routed), of(&flooded));
            assert!(
                got.is_sorted_by(|a, b| a < b),
                "in order, and once: {got:?}"
            );
            let got: Vec<u64> = got.into_iter().filter(|n| *n > self.since).collect();
            let has_broken = self.broken.contains(&(publisher / 2));
            match (has_broken, self.ended) {
                (false, false) => assert_eq!(got, owed, "of {publisher}"),
                (false, true) => assert!(owed.starts_with(&got), "{got:?} of {owed:?}"),
                (true, _) => assert!(got.iter().all(|n| owed.contains(n)), "{got:?} of {owed:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn q4_interest_routing_delivers_what_flooding_does(steps in prop::collection::vec(step(), 1..200)) {
        let mut worlds = Worlds::new();
        steps.iter().for_each(|step| worlds.take(step));
        worlds.mesh.settle();
        worlds.twins.iter_mut().for_each(Twin::check);
    }
}
