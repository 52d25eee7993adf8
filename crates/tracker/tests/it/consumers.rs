//! Those who follow changes.

use futures::FutureExt;
use matryoshka_tracker::pubsub::memory::MemoryMesh;
use matryoshka_tracker::{DiffEvent, TopicEvent, TrackerConfig};

use crate::support::{Node, SOON, pass};

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_the_list_and_then_exact_diffs() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let _ann = a.track("ann").await;
    pass(SOON).await;
    let (list, mut diffs) = b.tracker.subscribe("room");
    assert_eq!(
        list.iter().map(|entry| &*entry.key).collect::<Vec<_>>(),
        ["ann"]
    );
    let bob = a.track("bob").await;
    let Some(TopicEvent::Diff(diff)) = diffs.next().await else {
        panic!("no diff");
    };
    assert_eq!(
        (&*diff.joins[0].key, diff.joins.len(), diff.leaves.len()),
        ("bob", 1, 0)
    );
    assert_eq!(b.keys(), "ann bob", "the list is not older than the diff");
    let joined = diff.joins[0].reference;
    drop(bob);
    let Some(TopicEvent::Diff(diff)) = diffs.next().await else {
        panic!("no diff");
    };
    assert_eq!((diff.joins.len(), diff.leaves[0].reference), (0, joined));
}

#[tokio::test(start_paused = true)]
async fn a_lagging_consumer_gets_one_resync_and_holds_up_nobody() {
    let mesh = MemoryMesh::new();
    let config = TrackerConfig::default().with_consumer_diffs(3);
    let (a, b) = (
        Node::with(&mesh, "a", config.clone()),
        Node::with(&mesh, "b", config),
    );
    let mut slow = b.tracker.diffs();
    let (_, mut slow_topic) = b.tracker.subscribe("room");
    let mut guards = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        guards.push(a.track(name).await);
        pass(SOON).await;
    }
    assert_eq!(b.keys(), "a b c d e");
    let Some(DiffEvent::Resync(lists)) = slow.next().await else {
        panic!("no resync");
    };
    assert_eq!(lists.entries("room").len(), 5);
    let Some(TopicEvent::Resync(list)) = slow_topic.next().await else {
        panic!("no resync");
    };
    assert_eq!(list.len(), 5);
    assert!(slow.next().now_or_never().is_none() && slow_topic.next().now_or_never().is_none());
    guards.pop();
    for event in [
        slow.next().await.map(|_| ()),
        slow_topic.next().await.map(|_| ()),
    ] {
        assert!(event.is_some(), "the next change is a diff again");
    }
}

#[tokio::test(start_paused = true)]
async fn t13_a_consumer_that_panics_costs_itself_and_nobody_else() {
    let mesh = MemoryMesh::new();
    let a = Node::start(&mesh, "a");
    let (mut bad, mut good) = (a.tracker.diffs(), a.tracker.diffs());
    let task = tokio::spawn(async move { assert!(bad.next().await.is_none(), "rubbish") });
    let _ann = a.track("ann").await;
    assert!(task.await.unwrap_err().is_panic());
    let _bob = a.track("bob").await;
    assert_eq!(a.keys(), "ann bob");
    for key in ["ann", "bob"] {
        let Some(DiffEvent::Diff(diff)) = good.next().await else {
            panic!("no diff");
        };
        assert_eq!((&*diff.joins[0].key, diff.joins.len()), (key, 1));
    }
}
