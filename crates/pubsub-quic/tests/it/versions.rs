//! Nodes of neighbouring versions, and nodes with different limits, in one cluster.

use matryoshka_pubsub_quic::pubsub::cluster::MemberEvent;
use matryoshka_pubsub_quic::pubsub::{DirectError, Payload, TrafficClass};
use matryoshka_pubsub_quic::{
    Builder, MIN_MESSAGE_BYTES, NEWEST_PROTOCOL, OLDEST_PROTOCOL, QuicAdapter, Secret, StartError,
};
use tokio::time::timeout;

use crate::cluster::{DEADLINE, Node, cluster};

const NEWEST: fn(Builder) -> Builder = |builder| builder;
const HELD_BACK: fn(Builder) -> Builder = |builder| builder.protocol(OLDEST_PROTOCOL);

fn protocol(nodes: &[Node], node: usize, other: &str) -> u16 {
    nodes[node].peer(other).link.unwrap().protocol
}

#[tokio::test]
async fn all_that_goes_between_nodes_goes_across_neighbouring_versions() {
    let nodes = cluster([NEWEST, HELD_BACK, NEWEST]).await;
    assert_eq!(protocol(&nodes, 0, "n2"), NEWEST_PROTOCOL);
    assert_eq!(protocol(&nodes, 0, "n1"), OLDEST_PROTOCOL);
    assert_eq!(protocol(&nodes, 1, "n2"), OLDEST_PROTOCOL);
    let subscribe = |node: &Node| node.pubsub.subscribe("all").unwrap();
    let mut all: Vec<_> = nodes.iter().map(subscribe).collect();
    for from in &nodes {
        for (class, size) in [
            (TrafficClass::User, 10),
            (TrafficClass::User, 1_000_000),
            (TrafficClass::Tracker, 100_000),
            (TrafficClass::Control, 10),
            (TrafficClass::Bulk, 200_000),
        ] {
            let payload = Payload::from(vec![7; size]).with_class(class);
            assert_eq!(from.pubsub.broadcast("all", payload).unwrap().peers, 2);
            for subscription in &mut all {
                let message = timeout(DEADLINE, subscription.next()).await;
                let message = message.expect("it arrives in time").unwrap().unwrap();
                assert_eq!(message.payload(), &vec![7; size]);
            }
        }
        for (to, subscription) in nodes.iter().zip(&mut all) {
            from.pubsub
                .direct_broadcast(&to.pubsub.node(), "all", "to you")
                .unwrap();
            let message = timeout(DEADLINE, subscription.next()).await.unwrap();
            assert_eq!(message.unwrap().unwrap().payload(), "to you");
        }
    }
    // The newer ones say two things in their hello that the older one steps over.
    assert!(nodes[1].adapter.stats().skipped_fields >= 4);
    assert_eq!(nodes[1].adapter.stats().skipped_frames, 0);
    assert_eq!(nodes[0].adapter.stats().skipped_fields, 0);
    assert!(!nodes[0].peer("n1").link.unwrap().interest);
}

#[tokio::test]
async fn a_message_larger_than_a_node_takes_is_dropped_for_it_and_told() {
    let small: fn(Builder) -> Builder = |builder| builder.max_message_bytes(MIN_MESSAGE_BYTES);
    let mut nodes = cluster([NEWEST, small, NEWEST]).await;
    let mut there = nodes[1].pubsub.subscribe("all").unwrap();
    let mut elsewhere = nodes[2].pubsub.subscribe("all").unwrap();
    let large = vec![1; MIN_MESSAGE_BYTES + 1];
    let sent = nodes[0].pubsub.broadcast("all", large.clone()).unwrap();
    // If it is held because the topic is not yet known to be wanted, it is dropped when that becomes known.
    assert!(sent.dropped.is_empty() || sent.dropped == ["n1"]);
    nodes[0]
        .pubsub
        .broadcast("all", vec![2; MIN_MESSAGE_BYTES])
        .unwrap();
    for expected in [large.clone(), vec![2; MIN_MESSAGE_BYTES]] {
        let message = timeout(DEADLINE, elsewhere.next()).await.unwrap();
        assert_eq!(message.unwrap().unwrap().payload(), &expected);
    }
    let message = timeout(DEADLINE, there.next()).await.unwrap();
    let fits = vec![2; MIN_MESSAGE_BYTES];
    assert_eq!(message.unwrap().unwrap().payload(), &fits);
    let gap = |event: &MemberEvent| matches!(event, MemberEvent::Gap { .. });
    match nodes[1].event(gap).await {
        MemberEvent::Gap { node, lost, .. } => assert_eq!((node.as_str(), lost), ("n0", 1)),
        other => panic!("unexpected {other:?}"),
    }
    let peer = nodes[0].peer("n1");
    assert_eq!((peer.dropped, peer.dropped_too_large), (1, 1));
    assert_eq!(nodes[1].peer("n0").lost, 1);
    let n1 = nodes[1].pubsub.node();
    let refused = nodes[0].pubsub.direct_broadcast(&n1, "all", large);
    assert!(
        matches!(refused, Err(DirectError::Adapter(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_version_or_a_limit_that_cannot_be_is_refused_with_what_can() {
    let builder = || QuicAdapter::builder("n1").secret(Secret::generate());
    for protocol in [0, NEWEST_PROTOCOL + 1, u16::MAX] {
        let refused = builder().protocol(protocol).start().await.unwrap_err();
        assert!(matches!(refused, StartError::InvalidProtocol { .. }));
        assert!(refused.to_string().contains("take one of 1 to 2"));
    }
    for bytes in [0, MIN_MESSAGE_BYTES - 1, Payload::MAX_BYTES + 1] {
        let refused = builder().max_message_bytes(bytes).start().await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, StartError::InvalidMessageLimit { .. }));
        assert!(refused.to_string().contains("take 1048576 to 16777216"));
    }
}
