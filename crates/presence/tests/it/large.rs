//! News that are too large for one broadcast.

use std::collections::BTreeSet;
use std::time::Duration;

use matryoshka_presence::channel::Broadcast;
use matryoshka_presence::channel::pubsub::mailbox::Bound;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::channel::pubsub::{Message, Payload, PubSub, Subscription};
use matryoshka_presence::tracker::Tracker;
use matryoshka_presence::{Presence, PresenceConfig};
use serde_json::{Value, json};
use tokio::time::timeout;

const TOPIC: &str = "topic";

/// What has more entries is written apart.
const LARGE: usize = 256;

/// So many that some go together, however many turns their end takes.
const MANY: usize = 1_000;

#[tokio::test(start_paused = true)]
async fn everybody_of_a_node_that_dies_is_told_to_leave_however_large_their_metas() {
    let pubsub = PubSub::local();
    let presence = Presence::new(&pubsub);
    let many = Owner::new();
    let meta = json!({ "a": "x".repeat(Tracker::MAX_META_BYTES - r#"{"a":""}"#.len()) });
    let members = Payload::MAX_BYTES / Tracker::MAX_META_BYTES + 4;
    for n in 0..members {
        let key = format!("user-{n:03}");
        let tracked = presence.of(&many).track(TOPIC, &key, &meta);
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

/// The only thread for writing apart is taken, so it is not done before that is over.
#[test]
fn a_large_difference_that_is_being_written_keeps_no_other_topic_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build();
    runtime.unwrap().block_on(async {
        let pubsub = PubSub::local();
        let presence = Presence::new(&pubsub);
        let mut told = pubsub.subscribe(TOPIC).unwrap();
        let many = Owner::new();
        for n in 0..MANY {
            let key = n.to_string();
            let tracked = presence.of(&many).track(TOPIC, &key, &());
            tracked.await.unwrap();
        }
        until_told(&mut told, "joins", MANY).await;
        let mut other = pubsub.subscribe("other").unwrap();
        let (release, taken) = std::sync::mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || taken.recv());
        drop(many);
        let one = Owner::new();
        // Each is a diff of its own, so the period of the large topic is over before the last of them.
        for n in 0..5 {
            let key = n.to_string();
            let tracked = presence.of(&one).track("other", &key, &());
            tracked.await.unwrap();
            let message = timeout(Duration::from_secs(5), other.next()).await;
            message.expect("the other topic is told").unwrap().unwrap();
        }
        let mut left = 0;
        while let Some(message) = told.try_next() {
            let part = named(&message.unwrap(), "leaves");
            assert!(part <= LARGE, "{part} at once cannot be written yet");
            left += part;
        }
        release.send(()).unwrap();
        taken.await.unwrap().unwrap();
        until_told(&mut told, "leaves", MANY - left).await;
    });
}

/// Takes diffs until so many keys are named on that side.
async fn until_told(told: &mut Subscription, side: &str, count: usize) {
    let mut all = 0;
    while all < count {
        let message = timeout(Duration::from_secs(5), told.next()).await;
        all += named(&message.expect("a further diff").unwrap().unwrap(), side);
    }
}

fn named(message: &Message, side: &str) -> usize {
    let diff = Broadcast::from_message(message).unwrap().unwrap();
    let diff: Value = diff.to().unwrap();
    diff[side].as_object().unwrap().len()
}
