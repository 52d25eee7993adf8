//! Publishing on one node.

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{
    BroadcastError, DirectError, InvalidLimit, Limits, Payload, PubSub, Sent, SubscribeError,
    TopicName,
};

use crate::held;

#[test]
fn b6_b7_subscribers_of_the_topic_get_it_and_others_do_not() {
    let pubsub = PubSub::local();
    let mut own = pubsub.subscribe("a").unwrap();
    let mut twice = [
        pubsub.subscribe("a").unwrap(),
        pubsub.subscribe("a").unwrap(),
    ];
    let mut other = pubsub.subscribe("b").unwrap();
    assert_eq!(pubsub.broadcast("a", "hello").unwrap().local, 3);
    assert_eq!(held(&mut own), ["hello"]);
    assert!(
        twice
            .iter_mut()
            .all(|subscription| held(subscription) == ["hello"])
    );
    assert_eq!(held(&mut other), [""; 0]);
}

#[test]
fn a_broadcast_to_nobody_reaches_nobody() {
    let pubsub = PubSub::local();
    assert_eq!(pubsub.broadcast("a", "hello").unwrap(), Sent::default());
}

#[test]
fn b8_broadcast_from_skips_the_publishers_own() {
    let pubsub = PubSub::local();
    let (anna, ben) = (pubsub.publisher(), pubsub.publisher());
    let mut hers = [anna.subscribe("a").unwrap(), anna.subscribe("a").unwrap()];
    let mut his = ben.subscribe("a").unwrap();
    assert_eq!(anna.broadcast_from("a", "from").unwrap().local, 1);
    assert_eq!(anna.local_broadcast_from("a", "local").unwrap().local, 1);
    assert_eq!(anna.broadcast("a", "all").unwrap().local, 3);
    assert!(
        hers.iter_mut()
            .all(|subscription| held(subscription) == ["all"])
    );
    assert_eq!(held(&mut his), ["from", "local", "all"]);
}

#[test]
fn b11_the_local_forms_reach_this_node_alone() {
    let mesh = MemoryMesh::new();
    let nodes = ["here", "there"].map(|name| PubSub::with(mesh.node(name)));
    let [mut here, mut there] = nodes.each_ref().map(|node| node.subscribe("a").unwrap());
    let publisher = nodes[0].publisher();
    let mut own = publisher.subscribe("a").unwrap();
    let sent = |local| Sent {
        local,
        ..Sent::default()
    };
    let local = publisher.local_broadcast("a", "all").unwrap();
    assert_eq!(local, sent(2));
    let local = publisher.local_broadcast_from("a", "others").unwrap();
    assert_eq!(local, sent(1));
    assert_eq!(held(&mut here), ["all", "others"]);
    assert_eq!(held(&mut own), ["all"]);
    assert_eq!(held(&mut there), [""; 0]);
}

#[test]
fn b9_b10_a_direct_broadcast_goes_to_the_own_node_or_to_nobody() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a").unwrap();
    pubsub
        .direct_broadcast(&pubsub.node(), "a", "hello")
        .unwrap();
    let other = "elsewhere".parse().unwrap();
    let missing = pubsub.direct_broadcast(&other, "a", "hello").unwrap_err();
    assert!(matches!(missing, DirectError::NoSuchNode(name) if name == other));
    assert_eq!(held(&mut subscription), ["hello"]);
}

#[test]
fn topics_have_a_longest_name() {
    let pubsub = PubSub::local();
    let (longest, longer) = ("x".repeat(255), "x".repeat(256));
    let (bytes, max) = (256, 255);
    let mut subscription = pubsub.subscribe(&longest).unwrap();
    pubsub.broadcast(&longest, "hello").unwrap();
    assert_eq!(held(&mut subscription), ["hello"]);
    assert_eq!(
        pubsub.subscribe(&longer).unwrap_err(),
        SubscribeError::TopicTooLong { bytes, max }
    );
    let refused = pubsub.broadcast(&longer, "hello").unwrap_err();
    assert!(matches!(refused, BroadcastError::TopicTooLong { .. }));
    let refused = pubsub
        .direct_broadcast(&pubsub.node(), &longer, "hello")
        .unwrap_err();
    assert!(matches!(
        refused,
        DirectError::TopicTooLong {
            bytes: 256,
            max: 255
        }
    ));
}

#[test]
fn the_longest_name_is_configured() {
    let limits = Limits::default().with_topic_bytes(3).unwrap();
    let pubsub = PubSub::local_with_limits(limits);
    assert!(pubsub.subscribe("abc").is_ok());
    let refused = pubsub.subscribe("abcd").unwrap_err();
    let (bytes, max) = (4, 3);
    assert_eq!(refused, SubscribeError::TopicTooLong { bytes, max });
    assert!(
        Limits::default()
            .with_topic_bytes(TopicName::MAX_BYTES)
            .is_ok()
    );
    for asked in [0, TopicName::MAX_BYTES + 1] {
        let refused = Limits::default().with_topic_bytes(asked);
        assert_eq!(refused, Err(InvalidLimit { asked }));
    }
}

#[test]
fn b4_b5_a_publisher_unsubscribes_its_own() {
    let pubsub = PubSub::local();
    let (anna, ben) = (pubsub.publisher(), pubsub.publisher());
    assert_eq!(anna.unsubscribe("a"), 0, "nothing to end is no error");
    let mut hers = [anna.subscribe("a").unwrap(), anna.subscribe("a").unwrap()];
    let mut other = anna.subscribe("b").unwrap();
    let mut his = ben.subscribe("a").unwrap();
    pubsub.broadcast("a", "before").unwrap();
    assert_eq!(anna.unsubscribe("a"), 2);
    assert_eq!(pubsub.subscriptions("a"), 1);
    pubsub.broadcast("a", "after").unwrap();
    pubsub.broadcast("b", "there").unwrap();
    for subscription in &mut hers {
        assert_eq!(held(subscription), ["before"], "what waits can be read");
    }
    drop(hers);
    assert_eq!(held(&mut his), ["before", "after"]);
    assert_eq!(held(&mut other), ["there"]);
    his.unsubscribe();
    assert_eq!(pubsub.subscriptions("a"), 0);
}

#[test]
fn a_publisher_unsubscribes_by_metadata() {
    let pubsub = PubSub::local();
    let anna = pubsub.publisher();
    let bound = Bound::default();
    let mut low = anna.subscribe_with("a", bound, 1_u8).unwrap();
    let mut high = anna.subscribe_with("a", bound, 9_u8).unwrap();
    let mut text = anna.subscribe_with("a", bound, "nine").unwrap();
    let mut plain = anna.subscribe("a").unwrap();
    let mut other = pubsub.subscribe_with("a", bound, 9_u8).unwrap();
    assert_eq!(anna.unsubscribe_match("a", |&level: &u8| level > 5), 1);
    assert_eq!(anna.unsubscribe_match("a", |&level: &u8| level > 5), 0);
    assert_eq!(anna.unsubscribe_match("a", |_: &u64| true), 0);
    pubsub.broadcast("a", "hello").unwrap();
    assert_eq!(held(&mut high), [""; 0]);
    for subscription in [&mut low, &mut text, &mut plain, &mut other] {
        assert_eq!(held(subscription), ["hello"]);
    }
}

#[test]
fn payloads_have_a_largest_size() {
    let pubsub = PubSub::local();
    assert!(pubsub.broadcast("a", vec![0; Payload::MAX_BYTES]).is_ok());
    let refused = pubsub
        .local_broadcast("a", vec![0; Payload::MAX_BYTES + 1])
        .unwrap_err();
    assert!(matches!(refused, BroadcastError::PayloadTooLarge { .. }));
}

#[test]
fn topics_are_matched_whole() {
    let pubsub = PubSub::local();
    let mut star = pubsub.subscribe("room:*").unwrap();
    let mut empty = pubsub.subscribe("").unwrap();
    pubsub.broadcast("room:1", "one").unwrap();
    pubsub.broadcast("room:*", "star").unwrap();
    pubsub.broadcast("", "empty").unwrap();
    assert_eq!(held(&mut star), ["star"]);
    assert_eq!(held(&mut empty), ["empty"]);
}

#[test]
fn what_happens_is_counted() {
    let pubsub = PubSub::local();
    let _subscriptions = [
        pubsub.subscribe("a").unwrap(),
        pubsub.subscribe("a").unwrap(),
        pubsub.subscribe("b").unwrap(),
    ];
    pubsub.broadcast("a", "1").unwrap();
    pubsub.local_broadcast("b", "2").unwrap();
    pubsub.broadcast("c", "3").unwrap();
    let stats = pubsub.stats();
    assert_eq!((stats.topics, stats.subscriptions), (2, 3));
    assert_eq!(
        (stats.published, stats.delivered, stats.received),
        (3, 3, 0)
    );
    assert_eq!((stats.dropped, stats.unknown_kind, stats.panics), (0, 0, 0));
    assert_eq!(pubsub.subscriptions("a"), 2);
}

#[test]
fn a_claimed_name_is_free_again_when_its_guard_goes() {
    let pubsub = PubSub::local();
    let claim = pubsub.claim("tracker").unwrap();
    assert_eq!(claim.name(), "tracker");
    assert_eq!(pubsub.claim("tracker").unwrap_err().name, "tracker");
    let _other = pubsub.claim("other").unwrap();
    assert!(
        PubSub::local().claim("tracker").is_ok(),
        "names are those of one pubsub"
    );
    drop(claim);
    assert!(pubsub.claim("tracker").is_ok());
    assert_eq!(pubsub.stats().subscriptions, 0);
}
