//! One node alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use matryoshka_tracker::pubsub::registry::Owner;
use matryoshka_tracker::pubsub::{PubSub, TopicName};
use matryoshka_tracker::{
    ConfigError, Entry, TopicEvent, TrackError, Tracker, TrackerConfig, TrackerError, UpdateError,
};
use serde::{Deserialize, Serialize};

use crate::support::keys;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Load {
    jobs: u32,
}

fn alone() -> (Tracker, Owner) {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default());
    (tracker.expect("a tracker starts"), Owner::new())
}

#[tokio::test(start_paused = true)]
async fn i28_what_was_tracked_is_listed_until_it_leaves() {
    let (tracker, owner) = alone();
    let here = tracker
        .track(&owner, "workers", "w1", &Load { jobs: 2 })
        .await
        .unwrap();
    let listed = tracker.list::<Load>("workers");
    assert_eq!(
        (listed.len(), listed[0].meta.jobs, listed[0].entry.reference),
        (1, 2, here.reference())
    );
    assert!(tracker.contains("workers", "w1") && !tracker.contains("workers", "w2"));
    assert_eq!((tracker.count("workers"), tracker.count("others")), (1, 0));
    assert_eq!(tracker.get_by_key::<Load>("workers", "w1").len(), 1);
    here.untrack().await.unwrap();
    assert_eq!(tracker.count("workers"), 0);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Worker {
    jobs: u32,
    zone: String,
}

/// A function changes what it changes and leaves the rest; a value replaces all. Each is one leave and one join that names it.
#[tokio::test(start_paused = true)]
async fn t9_update_by_function_and_by_value_name_what_they_replace() {
    let (tracker, owner) = alone();
    let worker = |jobs, zone: &str| Worker {
        jobs,
        zone: zone.to_owned(),
    };
    let (before, mut diffs) = tracker.subscribe("workers");
    assert!(before.is_empty());
    let here = tracker
        .track(&owner, "workers", "w1", &worker(2, "north"))
        .await
        .unwrap();
    let first = here.reference();
    let second = here
        .update(|load: &mut Worker| load.jobs += 1)
        .await
        .unwrap();
    assert_eq!(
        (here.reference(), here.entry().previous),
        (second, Some(first))
    );
    assert_eq!(here.entry().decode::<Worker>().unwrap(), worker(3, "north"));
    let third = here.replace(&worker(9, "south")).await.unwrap();
    assert_eq!(here.entry().previous, Some(second));
    let add = |load: &mut Worker| load.jobs += 1;
    let fourth = tracker
        .update(owner.id(), "workers", "w1", add)
        .await
        .unwrap();
    let listed = tracker.list::<Worker>("workers");
    assert_eq!((listed.len(), &listed[0].meta), (1, &worker(10, "south")));
    assert_eq!(listed[0].entry.previous, Some(third));
    assert_eq!(second.to_string().len(), 16);

    let mut told = Vec::new();
    while let Some(Some(TopicEvent::Diff(diff))) = diffs.next().now_or_never() {
        let references = |entries: &[Arc<Entry>]| -> Vec<_> {
            entries.iter().map(|entry| entry.reference).collect()
        };
        told.push((references(&diff.joins), references(&diff.leaves)));
    }
    let changes = [
        (first, None),
        (second, Some(first)),
        (third, Some(second)),
        (fourth, Some(third)),
    ];
    let expected = changes.map(|(new, old)| (vec![new], Vec::from_iter(old)));
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn updates_from_many_tasks_are_all_made() {
    let (tracker, owner) = alone();
    let _here = tracker
        .track(&owner, "workers", "w1", &Load { jobs: 0 })
        .await
        .unwrap();
    let id = owner.id();
    let updates = (0..50).map(|_| {
        let tracker = tracker.clone();
        tokio::spawn(async move {
            let add = |load: &mut Load| load.jobs += 1;
            tracker.update(id, "workers", "w1", add).await.unwrap();
        })
    });
    for update in updates.collect::<Vec<_>>() {
        update.await.unwrap();
    }
    assert_eq!(tracker.list::<Load>("workers")[0].meta.jobs, 50);
}

#[tokio::test(start_paused = true)]
async fn i27_twice_is_refused_and_updating_nothing_too() {
    let (tracker, owner) = alone();
    let here = tracker.track(&owner, "room", "ann", "one").await.unwrap();
    match tracker.track(&owner, "room", "ann", "two").await {
        Err(TrackError::AlreadyTracked { reference }) => assert_eq!(reference, here.reference()),
        other => panic!("{other:?}"),
    }
    let other = Owner::new();
    let _second_device = tracker.track(&other, "room", "ann", "three").await.unwrap();
    assert_eq!(keys(&tracker), "ann ann");
    drop(here);
    let again = tracker.track(&owner, "room", "ann", "four").await.unwrap();
    let update = tracker.replace(owner.id(), "room", "bob", "x").await;
    assert!(matches!(update, Err(UpdateError::NoPresence)), "{update:?}");
    let update = tracker
        .update_bytes(owner.id(), "room", "bob", Bytes::clone)
        .await;
    assert!(matches!(update, Err(UpdateError::NoPresence)), "{update:?}");
    again.untrack().await.unwrap();
    let update = tracker.replace(owner.id(), "room", "ann", "x").await;
    assert!(matches!(update, Err(UpdateError::NoPresence)), "{update:?}");
    assert!(!tracker.untrack(owner.id(), "room", "ann").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn too_much_is_refused_and_nothing_is_tracked() {
    let (tracker, owner) = alone();
    let long = |bytes: usize| "x".repeat(bytes);
    let topic = tracker
        .track(&owner, &long(TopicName::MAX_BYTES + 1), "k", "")
        .await;
    assert!(matches!(topic, Err(TrackError::TopicTooLong { .. })));
    let key = tracker
        .track(&owner, "room", &long(Tracker::MAX_KEY_BYTES + 1), "")
        .await;
    assert!(matches!(key, Err(TrackError::KeyTooLong { .. })));
    let meta = tracker
        .track(&owner, "room", "k", &long(Tracker::MAX_META_BYTES))
        .await;
    assert!(
        matches!(meta, Err(TrackError::Meta(_))),
        "the length itself takes bytes"
    );
    assert_eq!(tracker.stats().own_entries, 0);
    let largest = vec![7u8; Tracker::MAX_META_BYTES];
    let key = long(Tracker::MAX_KEY_BYTES);
    let here = tracker
        .track_bytes(&owner, "room", &key, largest)
        .await
        .unwrap();
    let update = here.replace(&long(Tracker::MAX_META_BYTES)).await;
    assert!(matches!(update, Err(UpdateError::Meta(_))));
    assert_eq!(here.entry().meta.len(), Tracker::MAX_META_BYTES);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_given_back_and_left_out_of_typed_lists() {
    let (tracker, owner) = alone();
    let _json = tracker
        .track_bytes(&owner, "room", "ann", "{\"a\":1}")
        .await
        .unwrap();
    let _typed = tracker
        .track(&owner, "room", "bob", &Load { jobs: 1 })
        .await
        .unwrap();
    assert_eq!(tracker.list::<Load>("room").len(), 1);
    assert_eq!(tracker.stats().undecodable, 1);
    assert_eq!(
        tracker.own_entry(owner.id(), "room", "ann").unwrap().meta,
        "{\"a\":1}"
    );
}

#[tokio::test(start_paused = true)]
async fn closing_ends_everything_and_frees_the_name() {
    let pubsub = PubSub::local();
    let tracker = Tracker::new(&pubsub, TrackerConfig::default()).unwrap();
    assert!(matches!(
        Tracker::new(&pubsub, TrackerConfig::default()),
        Err(TrackerError::AlreadyRunning(_))
    ));
    let owner = Owner::new();
    let here = tracker.track(&owner, "room", "ann", "").await.unwrap();
    let mut diffs = tracker.diffs();
    tracker.close().await;
    tracker.close().await;
    assert_eq!(keys(&tracker), "");
    assert!(diffs.next().await.is_some(), "the leave");
    assert!(diffs.next().await.is_none());
    let late = tracker.track(&owner, "room", "bob", "").await;
    assert!(matches!(late, Err(TrackError::Closed(_))));
    assert!(matches!(
        here.replace("x").await,
        Err(UpdateError::Closed(_))
    ));
    drop((here, tracker, diffs));
    let again = Tracker::new(&pubsub, TrackerConfig::default()).unwrap();
    assert_eq!(again.name(), "tracker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_close_returns_there_is_nothing_left_to_end() {
    for _ in 0..500 {
        let (tracker, _owner) = alone();
        tracker.close().await;
        let end = tracker.diffs().next().now_or_never();
        assert!(matches!(end, Some(None)), "{end:?}");
    }
}

/// One owner counts up two entries of a topic, one after the other, so the list is never older than what a reader has seen, has both,
/// and the first is never behind the second, nor ahead by more than one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i16_i28_readers_on_threads_see_whole_lists_and_never_older_ones() {
    let (tracker, owner) = alone();
    let first = tracker.track(&owner, "room", "a", &0u32).await.unwrap();
    let second = tracker.track(&owner, "room", "b", &0u32).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers = [(); 2].map(|()| {
        let (tracker, done) = (tracker.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            // Looked at before the list, so the last list is read when all is written.
            let mut last = false;
            while !last {
                last = done.load(Ordering::Acquire);
                let now: Vec<u32> = tracker.list("room").iter().map(|here| here.meta).collect();
                assert_eq!(now.len(), 2, "I16: none or two of one entry: {now:?}");
                assert!(now[0] == now[1] || now[0] == now[1] + 1, "{now:?}");
                assert!(now >= seen, "older than {seen:?}: {now:?}");
                assert_eq!(tracker.count("room"), 2);
                assert_eq!(tracker.get_by_key::<u32>("room", "b").len(), 1);
                seen = now;
            }
            seen
        })
    });
    for round in 1..=ROUNDS {
        for (guard, key) in [(&first, "a"), (&second, "b")] {
            guard.replace(&round).await.unwrap();
            let own = tracker.get_by_key::<u32>("room", key);
            assert_eq!((own.len(), own[0].meta), (1, round), "I28");
        }
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        let seen = reader.join().expect("what it read was whole");
        assert_eq!(seen, [ROUNDS, ROUNDS]);
    }
}

/// How often two entries are counted up while threads read.
const ROUNDS: u32 = 5_000;

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_are_refused() {
    let config = TrackerConfig::default().with_pool_size(0);
    let refused = Tracker::new(&PubSub::local(), config);
    assert!(matches!(
        refused,
        Err(TrackerError::Config(ConfigError::PoolSize(0)))
    ));
}

#[test]
fn without_a_runtime_it_says_so() {
    let refused = Tracker::new(&PubSub::local(), TrackerConfig::default());
    assert!(matches!(refused, Err(TrackerError::NoRuntime)));
}
