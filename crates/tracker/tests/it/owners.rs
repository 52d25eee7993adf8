//! What ends with its guard and with its owner.

use futures::FutureExt;
use matryoshka_tracker::pubsub::PubSub;
use matryoshka_tracker::pubsub::memory::MemoryMesh;
use matryoshka_tracker::pubsub::registry::Owner;
use matryoshka_tracker::{DiffEvent, TrackError, Tracker, TrackerConfig, UpdateError};
use tokio::task::unconstrained;

use crate::support::{Node, SOON, keys, pass};

#[tokio::test(start_paused = true)]
async fn i26_what_a_dead_owner_tracked_leaves_every_list() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let guard = a.track("ann").await;
    a.track("bob").await.leave_to_owner();
    pass(SOON).await;
    assert_eq!(b.keys(), "ann bob");
    let Node {
        tracker,
        owner,
        pubsub: _pubsub,
    } = a;
    drop(owner);
    pass(SOON).await;
    assert_eq!((keys(&tracker), b.keys()), (String::new(), String::new()));
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_guard_untracks_and_a_given_up_one_does_not() {
    let (tracker, owner) = (
        Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap(),
        Owner::new(),
    );
    let ann = tracker.track(&owner, "room", "ann", "").await.unwrap();
    let bob = tracker.track(&owner, "room", "bob", "").await.unwrap();
    ann.replace("busy").await.unwrap();
    drop(ann);
    bob.leave_to_owner();
    pass(SOON).await;
    assert_eq!(keys(&tracker), "bob");
    assert!(tracker.untrack(owner.id(), "room", "bob").await.unwrap());
    assert_eq!(keys(&tracker), "");
}

#[tokio::test(start_paused = true)]
async fn the_guard_of_what_was_untracked_does_not_end_what_was_tracked_after_it() {
    let (tracker, owner) = (
        Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap(),
        Owner::new(),
    );
    let first = tracker.track(&owner, "room", "ann", "1").await.unwrap();
    tracker.untrack(owner.id(), "room", "ann").await.unwrap();
    let _second = tracker.track(&owner, "room", "ann", "2").await.unwrap();
    drop(first);
    pass(SOON).await;
    assert_eq!(keys(&tracker), "ann");
}

#[tokio::test(start_paused = true)]
async fn a_stale_guard_changes_nothing_that_was_tracked_after_it() {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap();
    let owner = Owner::new();
    let stale = tracker.track(&owner, "room", "ann", "1").await.unwrap();
    let last = stale.replace("1b").await.unwrap();
    assert_eq!(stale.reference(), last);
    assert!(tracker.untrack(owner.id(), "room", "ann").await.unwrap());
    let later = tracker.track(&owner, "room", "ann", "2").await.unwrap();
    later.replace("3").await.unwrap();

    assert_eq!(stale.entry().previous, None, "its own first value");
    assert_ne!(stale.reference(), later.reference());
    let refusals = [
        stale.update(|text: &mut String| text.push('x')).await,
        stale.replace("x").await,
        stale.replace_bytes("x").await,
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Err(UpdateError::NoPresence)),
            "{refusal:?}"
        );
    }
    assert_eq!(stale.untrack().await, Ok(false));
    assert_eq!(later.entry().decode::<String>().unwrap(), "3");
    assert_eq!(tracker.list::<String>("room")[0].meta, "3");
    assert_eq!(later.untrack().await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_guard_keeps_what_others_update_in_its_slot() {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap();
    let owner = Owner::new();
    let guard = tracker.track(&owner, "room", "ann", "1").await.unwrap();
    let push = |text: &mut String| text.push('x');
    tracker
        .update(owner.id(), "room", "ann", push)
        .await
        .unwrap();
    guard.update(push).await.unwrap();
    tracker
        .replace(owner.id(), "room", "ann", "2")
        .await
        .unwrap();
    guard.update(push).await.unwrap();
    assert_eq!(guard.entry().decode::<String>().unwrap(), "2x");
    guard.replace("3").await.unwrap();
    assert_eq!(guard.untrack().await, Ok(true));
    assert_eq!(keys(&tracker), "");
}

/// Whether the death comes before, while or after the shard takes the command.
#[tokio::test(start_paused = true)]
async fn i26_an_owner_that_dies_while_it_tracks_leaves_nothing() {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap();
    for yields in 0..6 {
        let owner = Owner::new();
        let mut track = Box::pin(tracker.track(&owner, "room", "ann", ""));
        let mut answer = None;
        for _ in 0..yields {
            answer = answer.or(track.as_mut().now_or_never());
            tokio::task::yield_now().await;
            if answer.is_some() {
                break;
            }
        }
        drop(track);
        if let Some(tracked) = answer {
            tracked.unwrap().leave_to_owner();
        }
        drop(owner);
        pass(SOON).await;
        assert_eq!(keys(&tracker), "", "after {yields} turns");
    }
    assert_eq!(tracker.stats().own_entries, 0);
}

/// So much waits for the shard that it knows of the death before it takes the command.
#[tokio::test(start_paused = true)]
async fn i26_what_is_tracked_after_its_owner_died_is_never_told() {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap();
    let (owner, dying) = (Owner::new(), Owner::new());
    let mut diffs = tracker.diffs();
    let names: Vec<String> = (0..600).map(|name| format!("k{name}")).collect();
    let tracks = names
        .iter()
        .map(|name| tracker.track(&owner, "room", name, ""));
    let mut tracks: Vec<_> = tracks.map(unconstrained).map(Box::pin).collect();
    for track in &mut tracks {
        assert!(track.as_mut().now_or_never().is_none());
    }
    let mut late = Box::pin(unconstrained(tracker.track(&dying, "room", "late", "")));
    assert!(late.as_mut().now_or_never().is_none());
    drop(late);
    drop(dying);
    let _guards = futures::future::try_join_all(tracks).await.unwrap();
    pass(SOON).await;
    let mut joined = 0;
    while let Some(Some(DiffEvent::Diff(diff))) = diffs.next().now_or_never() {
        joined += diff.joins.len();
        assert!(diff.joins.iter().all(|entry| &*entry.key != "late"));
    }
    assert_eq!(joined, 600);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_track_leaves_nothing_though_its_owner_lives_on() {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap();
    let owner = Owner::new();
    let mut diffs = tracker.diffs();
    {
        let mut track = Box::pin(tracker.track(&owner, "room", "ann", ""));
        assert!(track.as_mut().now_or_never().is_none());
        assert!(
            matches!(diffs.next().await, Some(DiffEvent::Diff(_))),
            "it was tracked"
        );
    }
    pass(SOON).await;
    assert_eq!(keys(&tracker), "");
}

#[tokio::test(start_paused = true)]
async fn more_callers_than_the_queue_holds_wait_and_all_get_through() {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap();
    let owner = Owner::new();
    let names: Vec<String> = (0..3_000).map(|name| format!("k{name}")).collect();
    let tracks = names
        .iter()
        .map(|name| tracker.track(&owner, "room", name, ""));
    let guards = futures::future::try_join_all(tracks).await.unwrap();
    assert_eq!((guards.len(), tracker.count("room")), (3_000, 3_000));
    drop(guards);
    pass(SOON).await;
    assert_eq!(tracker.count("room"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_and_the_last_guard_end_the_tracker() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let guard = a.track("ann").await;
    a.track("bob").await.leave_to_owner();
    let Node {
        tracker,
        owner: _owner,
        pubsub: _pubsub,
    } = a;
    drop(tracker);
    pass(SOON).await;
    assert_eq!(b.keys(), "ann bob", "the guard keeps it running");
    drop(guard);
    pass(SOON).await;
    assert_eq!(b.keys(), "", "it said goodbye");
}

#[tokio::test(start_paused = true)]
async fn i26_whoever_tracks_for_a_dead_owner_is_told_that_it_is_dead() {
    let tracker = Tracker::new(&PubSub::local(), TrackerConfig::default()).unwrap();
    let owner = Owner::new();
    owner.end();
    let late = tracker.track(&owner, "room", "ann", "").await;
    match late {
        Err(TrackError::OwnerDead(dead)) => assert_eq!(dead.owner, owner.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(keys(&tracker), "");
    let alive = tracker.track(&Owner::new(), "room", "bob", "").await;
    assert!(alive.is_ok());
}
