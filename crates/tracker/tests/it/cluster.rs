//! Several nodes.

use std::time::Duration;

use futures::FutureExt;
use matryoshka_tracker::pubsub::memory::MemoryMesh;
use matryoshka_tracker::{DiffEvent, Stats, TrackerConfig, UntrackError, UpdateError};

use crate::support::{Node, SOON, pass};

#[tokio::test(start_paused = true)]
async fn nodes_see_each_others_entries_within_the_period() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let ann = a.track("ann").await;
    let _bob = b.track("bob").await;
    pass(Duration::from_millis(60)).await;
    assert_eq!((a.keys(), b.keys()), ("ann bob".into(), "ann bob".into()));
    let seen = b.tracker.get_by_key::<String>("room", "ann");
    assert_eq!(
        (seen[0].meta.as_str(), seen[0].entry.reference),
        ("ann", ann.reference())
    );
    assert_eq!(seen[0].entry.node, *a.tracker.node());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_late_gets_everything_and_says_when() {
    let mesh = MemoryMesh::new();
    let a = Node::start(&mesh, "a");
    let mut guards = Vec::new();
    for name in 0..100 {
        guards.push(a.track(&format!("k{name:03}")).await);
    }
    assert!(a.tracker.first_snapshot().now_or_never().is_none(), "alone");
    let b = Node::start(&mesh, "b");
    let mut diffs = b.tracker.diffs();
    let first = b.tracker.first_snapshot();
    first.await;
    assert_eq!((b.tracker.count("room"), b.keys()), (100, a.keys()));
    let Some(DiffEvent::Diff(diff)) = diffs.next().await else {
        panic!("no diff");
    };
    assert_eq!(
        (diff.joins.len(), diff.leaves.len()),
        (100, 0),
        "in one diff"
    );
    a.tracker.first_snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_nodes_entries_leave_in_one_diff_and_never_return_when_it_restarts() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let _guards = (a.track("ann").await, a.track("amy").await);
    let _bob = b.track("bob").await;
    pass(SOON).await;
    let mut diffs = b.tracker.diffs();
    mesh.kill("a");
    let Some(DiffEvent::Diff(diff)) = diffs.next().await else {
        panic!("no diff");
    };
    assert_eq!((diff.joins.len(), diff.leaves.len()), (0, 2));
    assert_eq!(b.keys(), "bob");
    let again = Node::start(&mesh, "a");
    let _new = again.track("new").await;
    pass(Duration::from_secs(30)).await;
    assert_eq!(
        (again.keys(), b.keys()),
        ("bob new".into(), "bob new".into())
    );
    let joined = |event| match event {
        Some(Some(DiffEvent::Diff(diff))) => diff.joins.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(joined(diffs.next().now_or_never()), 1);
    assert!(
        diffs.next().now_or_never().is_none(),
        "nothing else ever came"
    );
}

/// No time passes between the hold and the return: what the others know then they know by the hold.
#[tokio::test(start_paused = true)]
async fn i14_who_was_held_before_their_connection_closed_changes_places_in_one_diff() {
    let mesh = MemoryMesh::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(&mesh, name));
    let _ann = a.track("ann").await;
    pass(SOON).await;
    let (mut of_b, mut of_c) = (b.tracker.diffs(), c.tracker.diffs());
    a.tracker.restart(Duration::from_secs(5)).await;
    assert!(a.tracker.hold(&[a.owner.id()]).await);
    let _back = b.track("ann").await;
    a.owner.end();
    pass(SOON).await;
    for diffs in [&mut of_b, &mut of_c] {
        let Some(Some(DiffEvent::Diff(diff))) = diffs.next().now_or_never() else {
            panic!("no diff");
        };
        assert_eq!((diff.joins.len(), diff.leaves.len()), (1, 1));
        assert!(diffs.next().now_or_never().is_none(), "it was the only one");
    }
    assert_eq!(a.tracker.stats().holds_unconfirmed, 0);
}

/// Its user is back elsewhere, so it is listed nowhere, and its connection is still open: it is its owner's until that ends.
#[tokio::test(start_paused = true)]
async fn i16_what_gave_way_before_its_connection_ended_can_be_updated_by_a_function() {
    let mesh = MemoryMesh::new();
    let [a, b] = ["a", "b"].map(|name| Node::start(&mesh, name));
    let ann = a.track("ann").await;
    pass(SOON).await;
    a.tracker.restart(Duration::from_secs(5)).await;
    assert!(a.tracker.hold(&[a.owner.id()]).await);
    let back = b.track("ann").await;
    pass(SOON).await;
    let mut seen = Vec::new();
    let updated = ann
        .update(|meta: &mut String| seen.push(meta.clone()))
        .await;
    assert!(updated.is_ok(), "{updated:?}");
    let owner = a.owner.id();
    let change = |meta: &mut String| seen.push(meta.clone());
    let updated = a.tracker.update(owner, "room", "ann", change).await;
    assert!(updated.is_ok(), "{updated:?}");
    assert_eq!(seen.len(), 2);
    pass(SOON).await;
    for node in [&a, &b] {
        assert_eq!(node.keys(), "ann", "the new place alone");
    }
    a.owner.end();
    let gone = ann.update(|_: &mut String| {}).await;
    assert!(matches!(gone, Err(UpdateError::NoPresence)), "{gone:?}");
    drop(back);
}

#[tokio::test(start_paused = true)]
async fn i17_a_partition_hides_and_heals_with_the_same_references() {
    let mesh = MemoryMesh::new();
    let (a, b, c) = (
        Node::start(&mesh, "a"),
        Node::start(&mesh, "b"),
        Node::start(&mesh, "c"),
    );
    let ann = a.track("ann").await;
    let _bob = b.track("bob").await;
    pass(SOON).await;
    mesh.cut("a", "b");
    let _cem = c.track("cem").await;
    pass(SOON).await;
    assert_eq!((a.keys(), b.keys()), ("ann cem".into(), "bob cem".into()));
    assert_eq!(c.keys(), "ann bob cem");
    let late = a.track("late").await;
    mesh.heal("a", "b");
    pass(SOON).await;
    for node in [&a, &b, &c] {
        assert_eq!(node.keys(), "ann bob cem late");
        let entries = node.tracker.entries("room");
        let reference = entries.by_key("ann").next().unwrap().reference;
        assert_eq!(reference, ann.reference());
    }
    drop(late);
    pass(SOON).await;
    assert_eq!(b.keys(), "ann bob cem");
}

#[tokio::test(start_paused = true)]
async fn i10_what_another_node_tracks_is_changed_only_there() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let _ann = a.track("ann").await;
    pass(SOON).await;
    let untrack = b.tracker.untrack(b.owner.id(), "room", "ann").await;
    assert!(matches!(untrack, Err(UntrackError::NotOwner { node }) if node == *a.tracker.node()));
    let update = b.tracker.replace(b.owner.id(), "room", "ann", "x").await;
    assert!(
        matches!(update, Err(UpdateError::NotOwner { .. })),
        "{update:?}"
    );
    let update = b
        .tracker
        .update(b.owner.id(), "room", "ann", |_: &mut String| ())
        .await;
    assert!(
        matches!(update, Err(UpdateError::NotOwner { .. })),
        "{update:?}"
    );
    pass(SOON).await;
    assert_eq!((a.keys(), b.keys()), ("ann".into(), "ann".into()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_gone_before_its_link_is() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let _ann = a.track("ann").await;
    pass(SOON).await;
    a.pubsub.leave();
    pass(SOON).await;
    assert_eq!((a.keys(), b.keys()), ("ann".into(), String::new()));
    let _late = a.track("late").await;
    pass(Duration::from_secs(5)).await;
    assert_eq!(b.keys(), "");
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_is_closed_and_started_again_in_one_process_is_heard_again() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    a.track("ann").await.leave_to_owner();
    pass(SOON).await;
    assert_eq!(b.keys(), "ann");
    let Node {
        pubsub,
        tracker,
        owner,
    } = a;
    tracker.close().await;
    drop(tracker);
    pass(SOON).await;
    assert_eq!(b.keys(), "");
    let tracker = matryoshka_tracker::Tracker::new(&pubsub, TrackerConfig::default()).unwrap();
    let a = Node {
        pubsub,
        tracker,
        owner,
    };
    let _bob = a.track("bob").await;
    pass(SOON).await;
    assert_eq!((a.keys(), b.keys()), ("bob".into(), "bob".into()));
}

#[tokio::test(start_paused = true)]
async fn trackers_of_different_names_do_not_meet() {
    let mesh = MemoryMesh::new();
    let a = Node::with(&mesh, "a", TrackerConfig::named("one"));
    let b = Node::with(&mesh, "b", TrackerConfig::named("two"));
    let _ann = a.track("ann").await;
    pass(Duration::from_secs(5)).await;
    assert_eq!((a.tracker.name(), b.keys().as_str()), ("one", ""));
}

/// The queue into a shard is too small for so many nodes, and what was lost is made good.
#[tokio::test(start_paused = true)]
async fn a_queue_that_overflows_loses_time_and_nothing_else() {
    let mesh = MemoryMesh::new();
    let config = TrackerConfig::default()
        .with_inbox_messages(3)
        .with_pool_size(2);
    let names = ["a", "b", "c", "d", "e", "f"];
    let nodes: Vec<Node> = names
        .iter()
        .map(|name| Node::with(&mesh, name, config.clone()))
        .collect();
    let mut guards = Vec::new();
    for round in 0..5 {
        for (index, node) in nodes.iter().enumerate() {
            guards.push(node.track(&format!("{index}-{round}")).await);
        }
        pass(SOON).await;
    }
    mesh.cut("a", "b");
    mesh.heal("a", "b");
    pass(Duration::from_secs(30)).await;
    for node in &nodes {
        assert_eq!(
            (node.tracker.count("room"), node.keys()),
            (30, nodes[0].keys())
        );
    }
    let dropped: u64 = nodes
        .iter()
        .map(|node| node.tracker.stats().inbox_dropped)
        .sum();
    let resets: u64 = nodes.iter().map(|node| node.tracker.stats().resets).sum();
    assert!(
        dropped > 0 && resets > 0,
        "{dropped} dropped, {resets} resets"
    );
}

#[tokio::test(start_paused = true)]
async fn i22_a_quiet_cluster_sends_only_vectors() {
    let mesh = MemoryMesh::new();
    let (a, b) = (Node::start(&mesh, "a"), Node::start(&mesh, "b"));
    let _guards = (a.track("ann").await, b.track("bob").await);
    pass(Duration::from_secs(10)).await;
    let before = [a.tracker.stats(), b.tracker.stats()];
    pass(Duration::from_secs(3_600)).await;
    for (before, after) in before.iter().zip([a.tracker.stats(), b.tracker.stats()]) {
        assert_eq!(after.vectors_sent - before.vectors_sent, 1_800);
        let other_sent = |stats: &Stats| {
            let asked = stats.pulls_sent + stats.gaps;
            stats.pushes_sent + stats.ops_served + stats.states_served + asked
        };
        assert_eq!(other_sent(&after), other_sent(before));
    }
}
