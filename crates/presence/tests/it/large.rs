//! News that are too large for one broadcast.

use std::collections::BTreeSet;
use std::time::Duration;

use matryoshka_presence::channel::Broadcast;
use matryoshka_presence::channel::pubsub::mailbox::Bound;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::channel::pubsub::{Payload, PubSub};
use matryoshka_presence::tracker::Tracker;
use matryoshka_presence::{Presence, PresenceConfig};
use serde_json::{Value, json};
use tokio::time::timeout;

const TOPIC: &str = "topic";

#[tokio::test(start_paused = true)]
async fn everybody_of_a_node_that_dies_is_told_to_leave_however_large_their_metas() {
    let pubsub = PubSub::local();
    let presence = Presence::new(&pubsub);
    let many = Owner::new();
    let meta = json!({ "a": "x".repeat(Tracker::MAX_META_BYTES - r#"{"a":""}"#.len()) });
    let members = Payload::MAX_BYTES / Tracker::MAX_META_BYTES + 4;
    for n in 0..members {
        let key = format!("user-{n:03}");
        let tracked = presence.track_for(&many, TOPIC, &key, &meta);
        tracked.await.unwrap();
    }
    // By then all of them have been told, if to nobody.
    // tidy: sleep because the clock is paused and only moved on by it
    tokio::time::sleep(PresenceConfig::DEFAULT_PERIOD * 2).await;
    let roomy = Bound::DEFAULT.with_bytes(4 * Payload::MAX_BYTES);
    let mut told = pubsub.subscribe_bounded(TOPIC, roomy).unwrap();
    drop(many);
    let mut parts = 0;
    let mut listed = BTreeSet::new();
    while listed.len() < members {
        let message = timeout(Duration::from_secs(5), told.next()).await;
        let message = message.expect("a further diff").unwrap().unwrap();
        parts += 1;
        assert!(
            told.try_next().is_none(),
            "others have their turn before the next part is written"
        );
        let diff = Broadcast::from_message(&message).unwrap().unwrap();
        let diff: Value = diff.to().unwrap();
        let leaves = diff["leaves"].as_object().unwrap();
        for key in leaves.keys() {
            assert!(listed.insert(key.clone()), "{key} twice");
        }
    }
    assert!(parts > 1);
    assert!(presence.list(TOPIC).is_empty());
}
