//! Topics of values.

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::{BroadcastError, Kind, Lagged, PubSub, Topic, TypedError};
use serde::{Deserialize, Serialize, Serializer};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Progress {
    step: u32,
    of: u32,
}

/// What a later version of the program publishes.
#[derive(Serialize)]
struct NewProgress {
    note: &'static str,
    of: u32,
    step: u32,
}

#[tokio::test(start_paused = true)]
async fn values_arrive_as_they_are_and_fields_may_be_added() {
    let pubsub = PubSub::local();
    let topic: Topic<Progress> = pubsub.topic("job:42");
    let mut updates = topic.subscribe().unwrap();
    assert_eq!(
        topic
            .broadcast(&Progress { step: 3, of: 10 })
            .unwrap()
            .local,
        1
    );
    let note = "more";
    pubsub
        .topic("job:42")
        .local_broadcast(&NewProgress {
            note,
            of: 10,
            step: 4,
        })
        .unwrap();
    assert_eq!(
        updates.next().await.unwrap().unwrap(),
        Progress { step: 3, of: 10 }
    );
    assert_eq!(
        updates.next().await.unwrap().unwrap(),
        Progress { step: 4, of: 10 }
    );
}

#[tokio::test(start_paused = true)]
async fn other_things_on_the_topic_are_errors_and_it_goes_on() {
    let pubsub = PubSub::local();
    let topic: Topic<Progress> = pubsub.topic("job:42");
    let mut updates = topic.subscribe_bounded(Bound::messages(3)).unwrap();
    topic.broadcast(&Progress { step: 0, of: 10 }).unwrap();
    pubsub.broadcast("job:42", "raw").unwrap();
    pubsub.topic("job:42").broadcast(&"text").unwrap();
    topic
        .clone()
        .broadcast(&Progress { step: 1, of: 10 })
        .unwrap();
    assert!(matches!(
        updates.next().await,
        Some(Err(TypedError::Lagged(Lagged(1))))
    ));
    assert!(matches!(
        updates.next().await,
        Some(Err(TypedError::NotTyped(Kind::RAW)))
    ));
    assert!(matches!(
        updates.next().await,
        Some(Err(TypedError::Decode(_)))
    ));
    assert_eq!(updates.next().await.unwrap().unwrap().step, 1);
}

#[test]
fn the_latest_value_of_each_key_is_kept() {
    let pubsub = PubSub::local();
    let topic: Topic<(String, u32)> = pubsub.topic("jobs");
    let bound = Bound::messages(2).keep_latest_by(|(job, _): &(String, u32)| job.clone());
    let mut slow = topic.subscribe_bounded(bound).unwrap();
    for (job, step) in [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)] {
        topic.broadcast(&(job.to_owned(), step)).unwrap();
    }
    let lagged = slow.try_next().unwrap().unwrap_err();
    assert!(matches!(lagged, TypedError::Lagged(Lagged(3))));
    assert_eq!(slow.try_next().unwrap().unwrap(), ("a".to_owned(), 3));
    assert_eq!(slow.try_next().unwrap().unwrap(), ("b".to_owned(), 2));
    assert!(slow.try_next().is_none());
}

struct Unwilling;

impl Serialize for Unwilling {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

#[test]
fn a_value_that_cannot_be_encoded_is_an_error() {
    let pubsub = PubSub::local();
    let refused = pubsub.topic("a").broadcast(&Unwilling).unwrap_err();
    assert!(matches!(refused, BroadcastError::Encode(_)));
    assert_eq!(pubsub.stats().published, 0);
}
