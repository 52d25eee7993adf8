//! What a subscriber may rely on whatever the links do: Q1, Q2, Q3, Q5, Q6 and Q7 over random histories of faults.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use matryoshka_pubsub::cluster::{MemberEvent, MemberState};
use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{
    Delivery, Incarnation, LinkId, MemberWatch, Message, NodeName, PubSub, Publisher, Sent, Sink,
    SinkSubscription,
};
use proptest::prelude::*;

use crate::held;

const NAMES: [&str; 3] = ["a", "b", "c"];
const TOPICS: [&str; 2] = ["s", "t"];
const PUBLISHERS: usize = 2;

/// What one life of a node saw, in order.
#[derive(Clone, Debug)]
enum Seen {
    /// A message of one of its own publishers or of another node: by whom, which, on what topic.
    Message {
        publisher: String,
        number: u64,
        topic: String,
        from: Option<(LinkId, Incarnation)>,
        node: NodeName,
    },
    Up(NodeName, Incarnation),
    Gap(LinkId, u64),
}

struct Recorder {
    node: NodeName,
    seen: Mutex<Vec<Seen>>,
}

impl Recorder {
    fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }
}

impl Sink for Recorder {
    fn deliver(&self, message: &Message) -> Delivery {
        let text = str::from_utf8(message.payload()).unwrap();
        let (publisher, number) = text.split_once(' ').unwrap();
        let origin = message.origin();
        self.note(Seen::Message {
            publisher: publisher.to_owned(),
            number: number.parse().unwrap(),
            topic: message.topic().to_string(),
            from: origin.map(|origin| (origin.link, origin.incarnation)),
            node: origin.map_or_else(|| self.node.clone(), |origin| origin.node.clone()),
        });
        Delivery::Delivered
    }
}

/// What is ready without waiting.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it is ready")
}

/// One life of a node.
struct Life {
    pubsub: PubSub,
    publishers: Vec<Publisher>,
    recorder: Arc<Recorder>,
    _subscriptions: Vec<SinkSubscription>,
    _watch: MemberWatch,
}

impl Life {
    fn start(mesh: &MemoryMesh, name: &str) -> Self {
        let pubsub = PubSub::with(mesh.node(name));
        let recorder = Arc::new(Recorder {
            node: pubsub.node(),
            seen: Mutex::default(),
        });
        let subscribe = |topic| pubsub.subscribe_sink(topic, recorder.clone()).unwrap();
        let watcher = recorder.clone();
        let watch = pubsub.watch_members(Arc::new(move |event: &MemberEvent| match event {
            MemberEvent::Up(member) => {
                watcher.note(Seen::Up(member.node.clone(), member.incarnation))
            }
            MemberEvent::Gap { link, lost, .. } => watcher.note(Seen::Gap(*link, *lost)),
            _ => {}
        }));
        Self {
            publishers: (0..PUBLISHERS).map(|_| pubsub.publisher()).collect(),
            _subscriptions: TOPICS.map(subscribe).into(),
            _watch: watch,
            recorder,
            pubsub,
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.recorder.seen.lock().unwrap().clone()
    }

    /// The links on which it hears others now, by the other's name.
    fn links(&self) -> HashMap<NodeName, LinkId> {
        let members = self.pubsub.members().now();
        let up = members
            .into_iter()
            .filter(|member| member.state == MemberState::Up);
        up.map(|member| (member.node, member.link)).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        node: usize,
        publisher: usize,
        topic: usize,
        times: usize,
    },
    Direct {
        node: usize,
        to: usize,
        topic: usize,
    },
    Hold(usize, usize),
    Release(usize, usize),
    Carry(usize, usize, usize),
    Lose(usize, usize, usize),
    Duplicate(usize, usize, usize),
    Cut(usize, usize),
    Heal(usize, usize),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0_usize..3;
    let link = || (0_usize..3, 0_usize..3);
    let frame = || (0_usize..3, 0_usize..3, 0_usize..6);
    prop_oneof![
        12 => (node.clone(), 0..PUBLISHERS, 0_usize..2, 1_usize..5)
            .prop_map(|(node, publisher, topic, times)| Step::Publish { node, publisher, topic, times }),
        3 => (0_usize..3, 0_usize..3, 0_usize..2)
            .prop_map(|(node, to, topic)| Step::Direct { node, to, topic }),
        4 => link().prop_map(|(a, b)| Step::Hold(a, b)),
        2 => link().prop_map(|(a, b)| Step::Release(a, b)),
        6 => frame().prop_map(|(a, b, n)| Step::Carry(a, b, n)),
        3 => frame().prop_map(|(a, b, n)| Step::Lose(a, b, n)),
        3 => frame().prop_map(|(a, b, n)| Step::Duplicate(a, b, n)),
        1 => link().prop_map(|(a, b)| Step::Cut(a, b)),
        2 => link().prop_map(|(a, b)| Step::Heal(a, b)),
        1 => node.prop_map(Step::Restart),
    ]
}

struct World {
    mesh: MemoryMesh,
    lives: Vec<Life>,
    /// How many messages went over each link towards each node.
    owed: HashMap<(LinkId, NodeName), u64>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let mesh = MemoryMesh::new();
        let lives = NAMES.iter().map(|name| Life::start(&mesh, name)).collect();
        Self {
            mesh,
            lives,
            owed: HashMap::new(),
            next: 0,
        }
    }

    fn text(&mut self, node: usize, publisher: usize) -> String {
        self.next += 1;
        format!(
            "{} {}",
            self.lives[node].publishers[publisher].id(),
            self.next
        )
    }

    /// A message of that node went to all it is linked with, or to one of them.
    fn owe(&mut self, node: usize, only: Option<usize>) -> usize {
        let from = self.lives[node].pubsub.node();
        let mut peers = 0;
        for (n, life) in self.lives.iter().enumerate() {
            if n != node
                && only.is_none_or(|only| only == n)
                && let Some(&link) = life.links().get(&from)
            {
                *self.owed.entry((link, life.pubsub.node())).or_default() += 1;
                peers += 1;
            }
        }
        peers
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish {
                node,
                publisher,
                topic,
                times,
            } => {
                for _ in 0..times {
                    let text = self.text(node, publisher);
                    let peers = self.owe(node, None);
                    let sent =
                        self.lives[node].publishers[publisher].broadcast(TOPICS[topic], text);
                    let Sent {
                        local,
                        peers: taken,
                        dropped,
                    } = sent.unwrap();
                    assert_eq!((local, taken + dropped.len()), (1, peers));
                }
            }
            Step::Direct { node, to, topic } if node != to => {
                let text = self.text(node, 0);
                let linked = self.owe(node, Some(to)) == 1;
                let target = self.lives[to].pubsub.node();
                let sent =
                    self.lives[node].publishers[0].direct_broadcast(&target, TOPICS[topic], text);
                assert_eq!(sent.is_ok(), linked);
            }
            Step::Direct { .. } => {}
            Step::Hold(a, b) => self.mesh.hold(NAMES[a], NAMES[b]),
            Step::Release(a, b) => self.mesh.release(NAMES[a], NAMES[b]),
            Step::Carry(a, b, n) => self.mesh.carry(NAMES[a], NAMES[b], n),
            Step::Lose(a, b, n) => self.mesh.lose(NAMES[a], NAMES[b], n),
            Step::Duplicate(a, b, n) => self.mesh.duplicate(NAMES[a], NAMES[b], n),
            Step::Cut(a, b) if a != b => self.mesh.cut(NAMES[a], NAMES[b]),
            Step::Heal(a, b) if a != b => self.mesh.heal(NAMES[a], NAMES[b]),
            Step::Cut(..) | Step::Heal(..) => {}
            Step::Restart(n) => {
                self.mesh.kill(NAMES[n]);
                self.lives[n] = Life::start(&self.mesh, NAMES[n]);
            }
        }
    }

    /// Lets every link catch up.
    fn settle(&self) {
        for (from, to) in NAMES.iter().flat_map(|from| NAMES.map(|to| (from, to))) {
            self.mesh.release(from, to);
        }
    }
}

/// Q1 and Q2: what one publisher sent on one topic comes in order, and nothing comes twice.
fn assert_order(seen: &[Seen]) {
    let mut last: HashMap<(&str, &str), u64> = HashMap::new();
    let mut all = HashSet::new();
    for seen in seen {
        let Seen::Message {
            publisher,
            number,
            topic,
            ..
        } = seen
        else {
            continue;
        };
        let last = last.entry((publisher, topic)).or_default();
        assert!(
            number > last,
            "{number} of {publisher} on {topic} after {last}"
        );
        *last = *number;
        assert!(all.insert(number));
    }
}

/// Q3: over a link that lives, each message came or is in a gap.
fn assert_complete(world: &World) {
    for life in &world.lives {
        let seen = life.seen();
        for link in life.links().into_values() {
            let got = |seen: &Seen| match seen {
                Seen::Message {
                    from: Some((from, _)),
                    ..
                } => u64::from(*from == link),
                Seen::Gap(from, lost) if *from == link => *lost,
                _ => 0,
            };
            let owed = world.owed.get(&(link, life.pubsub.node()));
            assert_eq!(
                seen.iter().map(got).sum::<u64>(),
                owed.copied().unwrap_or(0)
            );
        }
    }
}

/// Q7: after the `Up` of a life of a node nothing of an older one comes.
fn assert_lives(seen: &[Seen]) {
    let mut newest: HashMap<&NodeName, Incarnation> = HashMap::new();
    for seen in seen {
        match seen {
            Seen::Up(node, incarnation) => {
                let before = newest.insert(node, *incarnation);
                assert!(before.is_none_or(|before| before <= *incarnation));
            }
            Seen::Message {
                from: Some((_, incarnation)),
                node,
                ..
            } => {
                assert_eq!(
                    newest.get(node),
                    Some(incarnation),
                    "it came before its Up, or after a newer one"
                );
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn q1_q2_q3_q7_hold_whatever_the_links_do(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        let mut ended = Vec::new();
        for step in steps {
            if let Step::Restart(n) = step {
                ended.push(world.lives[n].seen());
            }
            world.take(step);
        }
        world.settle();
        assert_complete(&world);
        ended.extend(world.lives.iter().map(Life::seen));
        for seen in &ended {
            assert_order(seen);
            assert_lives(seen);
        }
    }

    #[test]
    fn q5_broadcast_from_reaches_everyone_but_the_sender(
        subscribers in prop::collection::vec((0_usize..3, 0_usize..4), 0..20),
        sender in 0_usize..3,
        local in any::<bool>(),
        yielding in any::<bool>(),
    ) {
        let mesh = MemoryMesh::new();
        let nodes = NAMES.map(|name| PubSub::with(mesh.node(name)));
        let mut publishers: Vec<Vec<Publisher>> =
            nodes.iter().map(|node| (0..4).map(|_| node.publisher()).collect()).collect();
        let mut all: Vec<_> = subscribers
            .iter()
            .map(|&(node, who)| ((node, who), publishers[node][who].subscribe("t").unwrap()))
            .collect();
        let publisher = &mut publishers[sender][0];
        let sent = match (local, yielding) {
            (true, _) => publisher.local_broadcast_from("t", "hi"),
            (false, false) => publisher.broadcast_from("t", "hi"),
            (false, true) => at_once(publisher.broadcast_from_yielding("t", "hi")),
        };
        let here = subscribers.iter().filter(|&&(node, who)| node == sender && who != 0);
        prop_assert_eq!(sent.unwrap().local, here.count());
        for ((node, who), subscription) in &mut all {
            let heard = held(subscription);
            let expected = (*node, *who) != (sender, 0) && (!local || *node == sender);
            prop_assert_eq!(heard, vec!["hi"; usize::from(expected)]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn q6_a_peer_that_never_reads_costs_itself_only(
        messages in 0_u64..3_000,
        held_from in 0_u64..100,
    ) {
        let mesh = MemoryMesh::new();
        let lives = NAMES.map(|name| Life::start(&mesh, name));
        let mut dropped = 0;
        for n in 0..messages {
            if n == held_from {
                mesh.hold("a", "c");
            }
            let publisher = &lives[0].publishers[0];
            let sent = publisher.broadcast("t", format!("p {}", n + 1)).unwrap();
            dropped += sent.dropped.len();
            prop_assert_eq!(sent.peers + sent.dropped.len(), 2);
            prop_assert!(sent.dropped.iter().all(|name| *name == "c"));
            prop_assert!(mesh.in_flight("a", "c") <= 1_024, "its memory is bounded");
        }
        let count = |life: &Life| {
            let seen = life.seen();
            let messages = seen.iter().filter(|seen| matches!(seen, Seen::Message { .. })).count();
            let lost = seen.iter().map(|seen| match seen {
                Seen::Gap(_, lost) => usize::try_from(*lost).unwrap(),
                _ => 0,
            });
            (messages, lost.sum::<usize>())
        };
        let messages = usize::try_from(messages).unwrap();
        prop_assert_eq!(count(&lives[1]), (messages, 0));
        prop_assert_eq!(lives[0].pubsub.stats().dropped_for_peers, dropped as u64);
        mesh.release("a", "c");
        prop_assert_eq!(count(&lives[2]), (messages - dropped, dropped));
    }
}

#[test]
fn faults_show_as_they_should() {
    let mesh = MemoryMesh::new();
    let (a, b) = (PubSub::with(mesh.node("a")), PubSub::with(mesh.node("b")));
    let mut there = b.subscribe("t").unwrap();
    let mut events = b.members();
    assert!(matches!(at_once(events.next()), MemberEvent::Up(_)));
    mesh.hold("a", "b");
    let publisher = a.publisher();
    for text in ["1", "2", "3", "4"] {
        assert_eq!(publisher.broadcast("t", text).unwrap().peers, 1);
    }
    assert_eq!((held(&mut there), mesh.in_flight("a", "b")), (vec![], 4));
    mesh.carry("a", "b", 1);
    assert_eq!(held(&mut there), [""; 0], "2 waits for 1");
    mesh.duplicate("a", "b", 0);
    mesh.carry("a", "b", 0);
    assert_eq!(held(&mut there), ["1", "2"]);
    mesh.lose("a", "b", 0);
    mesh.release("a", "b");
    assert_eq!(held(&mut there), ["4"], "and 1 not once more");
    let gap = at_once(events.next());
    assert!(matches!(gap, MemberEvent::Gap { lost: 1, .. }), "{gap:?}");
    publisher.broadcast("t", "5").unwrap();
    assert_eq!(held(&mut there), ["5"]);
}

#[test]
fn a_partition_parts_two_sides_and_leaves_each_whole() {
    let mesh = MemoryMesh::new();
    let nodes = NAMES.map(|name| PubSub::with(mesh.node(name)));
    let mut all = nodes.each_ref().map(|node| node.subscribe("t").unwrap());
    mesh.partition(&["a"], &["b", "c"]);
    assert_eq!(nodes[0].broadcast("t", "1").unwrap().peers, 0);
    assert_eq!(nodes[1].broadcast("t", "2").unwrap().peers, 1);
    let heard = all.each_mut().map(held);
    assert_eq!(heard, [vec!["1"], vec!["2"], vec!["2"]]);
}
