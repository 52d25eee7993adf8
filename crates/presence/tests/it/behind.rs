//! A node that falls behind its tracker: diffs are lost, and clients are right all the same.

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::tracker::TrackerConfig;
use matryoshka_presence::{Presence, PresenceConfig};
use serde_json::{Value, json};

use crate::js_client::{held, sorted};
use crate::room::Node;

const ROOM: &str = "room:1";

/// A node on which a second diff that has to wait is one too many.
fn node() -> Node {
    let pubsub = PubSub::local();
    let mut tracker = TrackerConfig::named("presence");
    tracker.consumer_diffs = 1;
    let config = PresenceConfig::default().with_tracker(tracker);
    let presence = Presence::start(&pubsub, config).unwrap();
    Node::with(&pubsub, presence)
}

/// Owners listed in the room and in as many topics beside it.
async fn crowd(node: &Node, size: usize) -> Vec<Owner> {
    let owners: Vec<Owner> = (0..size).map(|_| Owner::new()).collect();
    for (n, owner) in owners.iter().enumerate() {
        let (key, beside) = (format!("user-{n}"), format!("beside:{n}"));
        node.presence
            .of(owner)
            .track(ROOM, &key, &())
            .await
            .unwrap();
        node.presence
            .of(owner)
            .track(&beside, &key, &())
            .await
            .unwrap();
    }
    owners
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_the_whole_list_of_what_changed_meanwhile() {
    let node = node();
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    let mut other = node.join("room:2", "other", Value::Null).await;
    let crowd = crowd(&node, 10).await;
    assert_eq!(anna.held().await.len(), 11);
    other.settle().await;
    anna.settle().await;

    drop(crowd); // many topics change at once
    let held = anna.held().await;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["anna"]);
    assert!(node.presence.stats().resyncs > 0);
    assert_eq!(other.settle().await, [], "nothing changed there");
}

#[tokio::test(start_paused = true)]
async fn who_joined_meanwhile_keeps_no_ghost() {
    let node = node();
    for round in 0..20 {
        let crowd = crowd(&node, 5).await;
        let mut anna = node.join(ROOM, "anna", json!({ "round": round })).await;
        drop(crowd);
        let list: Value = node.presence.list(ROOM).to_json().to().unwrap();
        let held_by_anna = anna.held().await;
        assert_eq!(held_by_anna.keys().collect::<Vec<_>>(), ["anna"], "{list}");
        let list = node.presence.list(ROOM).to_json().to().unwrap();
        assert_eq!(held_by_anna, sorted(held(&list)));
    }
    assert!(node.presence.stats().resyncs > 0);
}
