//! The suite that every adapter must pass.
//!
//! Each check takes the pubsubs of one cluster, whose nodes are all up for each other, and panics when a promise is broken.
//! They may run one after another on the same cluster; [`all`] does so. Nothing here waits for time: what must not arrive is
//! told from what does by a last message that is sent after it. So run the suite under a deadline of your own.
//!
//! ```
//! use matryoshka_pubsub::{PubSub, memory::MemoryMesh, testing::contract};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! contract::all(async |count| {
//!     let mesh = MemoryMesh::new();
//!     (0..count).map(|n| PubSub::with(mesh.node(&format!("n{n}")))).collect()
//! })
//! .await;
//! # });
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::{Member, MemberEvent, MemberState};
use crate::mailbox::Bound;
use crate::{
    DirectError, Dispatcher, Kind, Message, NodeName, Payload, PubSub, Publisher, Sent,
    Subscribers, Subscription, TrafficClass,
};

mod faults;

pub use faults::{
    Rig, a_dead_peer_costs_itself_only, a_restarted_peer_is_a_new_life,
    a_slow_peer_costs_itself_only, with_faults,
};

/// A kind that no check registers a dispatcher for.
const UNKNOWN: Kind = Kind(60_000);

/// A kind whose dispatcher adds to what it delivers.
const ECHOED: Kind = Kind(60_001);

/// Says that nothing more of a publisher comes.
const LAST: &str = "last";

/// Runs every check: on one cluster of three nodes, and on one of one. `cluster` makes a cluster of so many nodes, and
/// returns when each of them has said `Up` of all others.
pub async fn all(cluster: impl AsyncFn(usize) -> Vec<PubSub>) {
    for count in [3, 1] {
        let nodes = cluster(count).await;
        assert_eq!(
            nodes.len(),
            count,
            "the factory makes as many nodes as asked for"
        );
        every_check(&nodes).await;
    }
}

/// Runs every check on that cluster, one after another.
pub async fn every_check(nodes: &[PubSub]) {
    names_and_members(nodes).await;
    broadcast_reaches_every_subscriber(nodes).await;
    broadcast_from_skips_its_own_only(nodes).await;
    local_broadcast_stays(nodes).await;
    direct_broadcast_reaches_its_node_only(nodes).await;
    unknown_nodes_are_errors(nodes).await;
    one_publisher_stays_in_order(nodes).await;
    unknown_kinds_are_counted_and_delivered(nodes).await;
    dispatchers_of_each_node_are_used(nodes).await;
    payloads_arrive_as_they_are(nodes).await;
    all_classes_arrive(nodes).await;
    ended_subscriptions_hear_nothing(nodes).await;
    a_publisher_unsubscribes(nodes).await;
    subscribe_then_tell_then_broadcast(nodes).await;
    huge_topics_are_served_in_parts(nodes).await;
    values_arrive_as_they_are(nodes).await;
}

/// Nodes have different names; each knows all others as they call themselves, and a newcomer is told of them.
pub async fn names_and_members(nodes: &[PubSub]) {
    let names: BTreeSet<NodeName> = nodes.iter().map(PubSub::node).collect();
    assert_eq!(names.len(), nodes.len(), "every node has a name of its own");
    for node in nodes {
        let mut members = node.members();
        let mut now = members.now();
        now.sort_by(|a, b| a.node.cmp(&b.node));
        let mut others: Vec<_> = nodes
            .iter()
            .filter(|other| other.node() != node.node())
            .collect();
        others.sort_by_key(|other| other.node());
        assert_eq!(now.len(), others.len());
        for (member, other) in now.iter().zip(&others) {
            assert_eq!(member.node, other.node());
            assert_eq!(member.incarnation, other.incarnation());
            assert_eq!(member.state, MemberState::Up);
        }
        let mut told = Vec::new();
        for _ in &others {
            told.push(up(members.next().await));
        }
        told.sort_by(|a, b| a.node.cmp(&b.node));
        assert_eq!(told, now, "the stream starts with who is up");
    }
}

fn up(event: MemberEvent) -> Member {
    match event {
        MemberEvent::Up(member) => member,
        other => panic!("expected an Up, got {other:?}"),
    }
}

/// Each subscription of each node gets a broadcast once, with its origin.
pub async fn broadcast_reaches_every_subscriber(nodes: &[PubSub]) {
    let topic = "contract:broadcast";
    let mut subscribed: Vec<(usize, Subscription)> = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        subscribed.push((n, subscribe(node, topic)));
        subscribed.push((n, subscribe(node, topic)));
        subscribed.push((n, subscribe(node, "contract:broadcast:other")));
    }
    for (from, node) in nodes.iter().enumerate() {
        let publisher = node.publisher();
        let sent = publisher.broadcast(topic, "hello").expect("a broadcast");
        assert_eq!(sent, sent_to(2, nodes));
        finish(&publisher, &[topic, "contract:broadcast:other"]);
        for (at, subscription) in &mut subscribed {
            let heard = until_last(subscription).await;
            let expected: &[&str] = if *subscription.topic() == topic {
                &["hello"]
            } else {
                &[]
            };
            assert_eq!(texts(&heard), expected);
            for message in heard {
                assert_origin(&message, node, from == *at);
            }
        }
    }
}

fn assert_origin(message: &Message, from: &PubSub, here: bool) {
    match message.origin() {
        None => assert!(here, "a message of another node has an origin"),
        Some(origin) => {
            assert!(!here, "a message of this node has none");
            assert_eq!(
                (&origin.node, origin.incarnation),
                (&from.node(), from.incarnation())
            );
        }
    }
}

/// `broadcast_from` reaches everybody but the publisher's own subscriptions.
pub async fn broadcast_from_skips_its_own_only(nodes: &[PubSub]) {
    let topic = "contract:broadcast_from";
    let publisher = nodes[0].publisher();
    let mut own = publisher.subscribe(topic).expect("a subscription");
    let mut others: Vec<_> = nodes.iter().map(|node| subscribe(node, topic)).collect();
    let sent = publisher
        .broadcast_from(topic, "hello")
        .expect("a broadcast");
    assert_eq!(sent, sent_to(1, nodes));
    let sent = publisher
        .local_broadcast_from(topic, "here")
        .expect("a broadcast");
    assert_eq!(sent.local, 1);
    finish(&publisher, &[topic]);
    assert_eq!(texts(&until_last(&mut own).await), [""; 0]);
    for (n, other) in others.iter_mut().enumerate() {
        let expected: &[&str] = if n == 0 {
            &["hello", "here"]
        } else {
            &["hello"]
        };
        assert_eq!(texts(&until_last(other).await), expected);
    }
}

/// `local_broadcast` reaches its own node only.
pub async fn local_broadcast_stays(nodes: &[PubSub]) {
    let topic = "contract:local";
    let publisher = nodes[0].publisher();
    let mut all: Vec<_> = nodes.iter().map(|node| subscribe(node, topic)).collect();
    let sent = publisher
        .local_broadcast(topic, "here")
        .expect("a broadcast");
    assert_eq!((sent.local, sent.peers), (1, 0));
    finish(&publisher, &[topic]);
    for (n, subscription) in all.iter_mut().enumerate() {
        let expected: &[&str] = if n == 0 { &["here"] } else { &[] };
        assert_eq!(texts(&until_last(subscription).await), expected);
    }
}

/// `direct_broadcast` reaches its node only, which may be the sender's.
pub async fn direct_broadcast_reaches_its_node_only(nodes: &[PubSub]) {
    let topic = "contract:direct";
    let publisher = nodes[0].publisher();
    let mut all: Vec<_> = nodes.iter().map(|node| subscribe(node, topic)).collect();
    for node in nodes {
        let name = node.node();
        publisher
            .direct_broadcast(&name, topic, name.as_str())
            .expect("a direct broadcast");
    }
    finish(&publisher, &[topic]);
    for (node, subscription) in nodes.iter().zip(&mut all) {
        assert_eq!(
            texts(&until_last(subscription).await),
            [node.node().as_str()]
        );
    }
}

/// A direct broadcast to a node that nobody knows is an error.
pub async fn unknown_nodes_are_errors(nodes: &[PubSub]) {
    let nobody = NodeName::new("contract-nobody").expect("a valid name");
    let outcome = nodes[0].direct_broadcast(&nobody, "contract:nobody", "hello");
    assert!(matches!(outcome, Err(DirectError::NoSuchNode(name)) if name == nobody));
}

/// What one publisher sends on one topic arrives in order and once, whichever methods it uses.
pub async fn one_publisher_stays_in_order(nodes: &[PubSub]) {
    let topics: Vec<String> = (0..4).map(|n| format!("contract:order:{n}")).collect();
    let publisher = nodes[0].publisher();
    let target = nodes[nodes.len() - 1].node();
    let mut all: Vec<(usize, Subscription)> = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        all.extend(topics.iter().map(|topic| (n, subscribe(node, topic))));
    }
    for n in 0..200 {
        for topic in &topics {
            let text = n.to_string();
            match n % 3 {
                0 => publisher
                    .direct_broadcast(&target, topic, text)
                    .expect("a direct broadcast"),
                1 => drop(publisher.broadcast(topic, text).expect("a broadcast")),
                _ => drop(publisher.broadcast_from(topic, text).expect("a broadcast")),
            }
        }
    }
    finish(
        &publisher,
        &topics.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    for (at, subscription) in &mut all {
        let is_target = *at == nodes.len() - 1;
        let expected = (0..200)
            .filter(|n| is_target || n % 3 != 0)
            .map(|n| n.to_string());
        let expected: Vec<_> = expected.collect();
        assert_eq!(texts(&until_last(subscription).await), expected);
    }
}

/// A kind that has no dispatcher on the receiving node is delivered as it is, and counted there.
pub async fn unknown_kinds_are_counted_and_delivered(nodes: &[PubSub]) {
    let topic = "contract:unknown";
    let publisher = nodes[0].publisher();
    let mut all: Vec<_> = nodes.iter().map(|node| subscribe(node, topic)).collect();
    let before: Vec<u64> = nodes.iter().map(|node| node.stats().unknown_kind).collect();
    publisher
        .broadcast(topic, Payload::new(UNKNOWN, "odd"))
        .expect("a broadcast");
    finish(&publisher, &[topic]);
    for ((node, subscription), before) in nodes.iter().zip(&mut all).zip(before) {
        let heard = until_last(subscription).await;
        assert_eq!(texts(&heard), ["odd"]);
        assert_eq!(heard[0].kind(), UNKNOWN);
        assert_eq!(node.stats().unknown_kind, before + 1);
    }
}

/// Delivers every message twice.
struct Twice;

impl Dispatcher for Twice {
    fn dispatch(&self, subscribers: Subscribers<'_>, message: &Message) -> usize {
        subscribers.deliver(message) + subscribers.deliver(message)
    }
}

/// Each node uses the dispatcher that it registered for a kind, or none if it registered none.
pub async fn dispatchers_of_each_node_are_used(nodes: &[PubSub]) {
    let topic = "contract:dispatcher";
    let publisher = nodes[0].publisher();
    let (last, others) = nodes.split_last().expect("a cluster has nodes");
    last.register(ECHOED, Arc::new(Twice)).expect("a free kind");
    let mut elsewhere: Vec<_> = others.iter().map(|node| subscribe(node, topic)).collect();
    let mut there = subscribe(last, topic);
    publisher
        .broadcast(topic, Payload::new(ECHOED, "ha"))
        .expect("a broadcast");
    finish(&publisher, &[topic]);
    assert_eq!(texts(&until_last(&mut there).await), ["ha", "ha"]);
    for subscription in &mut elsewhere {
        assert_eq!(texts(&until_last(subscription).await), ["ha"]);
    }
}

/// Payloads of any bytes and of many sizes arrive unchanged.
pub async fn payloads_arrive_as_they_are(nodes: &[PubSub]) {
    let topic = "contract:payloads";
    let publisher = nodes[0].publisher();
    let mut all: Vec<_> = nodes.iter().map(|node| subscribe(node, topic)).collect();
    let sizes = [0, 1, 255, 256, 65_535, 65_536, 1_000_000];
    let payloads: Vec<Bytes> = sizes.map(bytes).into();
    for payload in &payloads {
        publisher
            .broadcast(topic, payload.clone())
            .expect("a broadcast");
    }
    finish(&publisher, &[topic]);
    for subscription in &mut all {
        let heard = until_last(subscription).await;
        let heard: Vec<&Bytes> = heard.iter().map(Message::payload).collect();
        assert!(
            heard.iter().copied().eq(&payloads),
            "seven payloads, unchanged"
        );
    }
}

fn bytes(size: usize) -> Bytes {
    (0..size).map(|n| (n * 31 % 251) as u8).collect()
}

/// Messages of every traffic class arrive.
pub async fn all_classes_arrive(nodes: &[PubSub]) {
    use TrafficClass::{Bulk, Control, Tracker, User};
    for class in [Control, Tracker, User, Bulk] {
        let topic = format!("contract:class:{class:?}");
        let publisher = nodes[0].publisher();
        let mut all: Vec<_> = nodes.iter().map(|node| subscribe(node, &topic)).collect();
        let payload = |text: &'static str| Payload::from(text).with_class(class);
        publisher
            .broadcast(&topic, payload("hello"))
            .expect("a broadcast");
        publisher
            .broadcast(&topic, payload(LAST))
            .expect("a broadcast");
        for subscription in &mut all {
            assert_eq!(texts(&until_last(subscription).await), ["hello"]);
        }
    }
}

/// A dropped subscription gets nothing more, and its neighbours do.
pub async fn ended_subscriptions_hear_nothing(nodes: &[PubSub]) {
    let topic = "contract:ended";
    let publisher = nodes[0].publisher();
    for node in nodes {
        let ended = subscribe(node, topic);
        let mut stays = subscribe(node, topic);
        drop(ended);
        assert_eq!(node.subscriptions(topic), 1);
        finish(&publisher, &[topic]);
        assert_eq!(texts(&until_last(&mut stays).await), [""; 0]);
        drop(stays);
        assert_eq!(node.subscriptions(topic), 0);
    }
}

/// Unsubscribing ends all of a publisher's subscriptions to a topic, or those with some metadata; with none it is no error.
pub async fn a_publisher_unsubscribes(nodes: &[PubSub]) {
    let publisher = nodes[0].publisher();
    for (n, node) in nodes.iter().enumerate() {
        // One for each node: the last word of another round may be on its way still.
        let topic = &*format!("contract:unsubscribed:{n}");
        let subscriber = node.publisher();
        assert_eq!(subscriber.unsubscribe(topic), 0);
        let numbered = |n: u8| subscriber.subscribe_with(topic, Bound::default(), n);
        let ended = [1, 2].map(|n| numbered(n).expect("a subscription"));
        let mut stays = subscribe(node, topic);
        assert_eq!(subscriber.unsubscribe_match(topic, |&n: &u8| n == 1), 1);
        assert_eq!(node.subscriptions(topic), 2);
        assert_eq!(subscriber.unsubscribe(topic), 1);
        finish(&publisher, &[topic]);
        assert_eq!(texts(&until_last(&mut stays).await), [""; 0]);
        for mut subscription in ended {
            assert!(subscription.next().await.is_none(), "it ends");
        }
    }
}

/// Whoever subscribes and then tells another node gets what that node publishes on hearing it, however fresh the topic.
pub async fn subscribe_then_tell_then_broadcast(nodes: &[PubSub]) {
    let teller = nodes[nodes.len() - 1].publisher();
    let mut told = subscribe(&nodes[0], "contract:told");
    for round in 0..50 {
        let topic = format!("contract:fresh:{round}");
        let mut fresh = subscribe(&nodes[nodes.len() - 1], &topic);
        teller
            .direct_broadcast(&nodes[0].node(), "contract:told", topic.as_str())
            .expect("a direct broadcast");
        let heard = told.next().await.expect("a subscription does not end");
        assert_eq!(heard.expect("nothing was lost").payload(), topic.as_str());
        nodes[0].broadcast(&topic, "welcome").expect("a broadcast");
        let answer = fresh.next().await.expect("a subscription does not end");
        assert_eq!(answer.expect("nothing was lost").payload(), "welcome");
    }
}

/// A broadcast in parts reaches all, and is not overtaken by the next.
pub async fn huge_topics_are_served_in_parts(nodes: &[PubSub]) {
    let topic = "contract:huge";
    let mut publisher = nodes[0].publisher();
    let mut all: Vec<_> = nodes
        .iter()
        .flat_map(|node| (0..1_500).map(|_| subscribe(node, topic)))
        .collect();
    let sent = publisher.broadcast_yielding(topic, "first").await;
    assert_eq!(sent.expect("a broadcast"), sent_to(1_500, nodes));
    let second = publisher.broadcast(topic, "second");
    assert_eq!(second.expect("a broadcast").local, 1_500);
    finish(&publisher, &[topic]);
    for subscription in &mut all {
        assert_eq!(texts(&until_last(subscription).await), ["first", "second"]);
    }
}

/// Values of a typed topic arrive on every node.
pub async fn values_arrive_as_they_are(nodes: &[PubSub]) {
    type Value = (String, Option<u64>);
    let value: Value = ("contract".to_owned(), Some(u64::MAX));
    let subscribe = |node: &PubSub| node.topic::<Value>("contract:typed").subscribe();
    let subscriptions = nodes.iter().map(subscribe);
    let all: Vec<_> = subscriptions
        .map(|made| made.expect("a subscription"))
        .collect();
    let topic = nodes[0].topic::<Value>("contract:typed");
    topic.broadcast(&value).expect("a broadcast");
    for mut subscription in all {
        let got = subscription
            .next()
            .await
            .expect("a subscription does not end");
        assert_eq!(got.expect("a value"), value);
    }
}

fn subscribe(node: &PubSub, topic: &str) -> Subscription {
    node.subscribe(topic).expect("a subscription")
}

fn sent_to(local: usize, nodes: &[PubSub]) -> Sent {
    Sent {
        local,
        peers: nodes.len() - 1,
        dropped: Vec::new(),
    }
}

/// Says on each topic that nothing more of this publisher comes.
fn finish(publisher: &Publisher, topics: &[&str]) {
    for &topic in topics {
        publisher.broadcast(topic, LAST).expect("a broadcast");
    }
}

/// All that came before the publisher's last word.
async fn until_last(subscription: &mut Subscription) -> Vec<Message> {
    let mut heard = Vec::new();
    loop {
        let next = subscription
            .next()
            .await
            .expect("a subscription does not end");
        let message = next.expect("nothing was lost");
        if message.payload() == LAST {
            return heard;
        }
        heard.push(message);
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    let text = |message| str::from_utf8(Message::payload(message)).expect("text");
    messages.iter().map(text).collect()
}
