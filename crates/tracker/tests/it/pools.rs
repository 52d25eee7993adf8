//! Pools of shards: topics are divided among them, and nobody notices.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt;
use matryoshka_tracker::pubsub::PubSub;
use matryoshka_tracker::pubsub::memory::MemoryMesh;
use matryoshka_tracker::pubsub::registry::Owner;
use matryoshka_tracker::{DiffEvent, Diffs, PresenceRef, Tracker, TrackerConfig};
use tokio::runtime::Handle;

use crate::support::{SOON, pass};

const TOPICS: u32 = 100;

fn topic(number: u32) -> String {
    format!("t{number}")
}

/// Two nodes whose trackers have as many shards as each other.
struct Pair {
    near: (PubSub, Tracker),
    far: (PubSub, Tracker),
    config: TrackerConfig,
}

impl Pair {
    fn start(pool_size: usize) -> Self {
        let config = TrackerConfig::default()
            .with_pool_size(pool_size)
            .with_consumer_diffs(10 * TOPICS as usize);
        let mesh = MemoryMesh::new();
        let start = |name: &str| {
            let pubsub = PubSub::with(mesh.node(name));
            let before = tasks();
            let tracker = Tracker::new(&pubsub, config.clone()).expect("a valid configuration");
            assert_eq!(tasks(), before + pool_size, "a task for each shard");
            (pubsub, tracker)
        };
        Self {
            near: start("near"),
            far: start("far"),
            config,
        }
    }

    async fn track_all(&self, owner: &Owner) -> Vec<PresenceRef> {
        let mut references = Vec::new();
        for number in 0..TOPICS {
            let here = self.near.1.track(owner, &topic(number), "k", &number).await;
            let here = here.expect("the two agree in time");
            references.push(here.reference());
            here.leave_to_owner();
        }
        references
    }

    /// Both list exactly these topics, each with its one value.
    fn assert_listed(&self, numbers: impl Iterator<Item = u32> + Clone, plus: u32) {
        for tracker in [&self.near.1, &self.far.1] {
            for number in numbers.clone() {
                let listed = tracker.list::<u32>(&topic(number));
                let values: Vec<u32> = listed.iter().map(|here| here.meta).collect();
                assert_eq!(values, [number + plus], "on {}", tracker.node());
            }
            let there = tracker.snapshot().topics().count();
            assert_eq!(there, numbers.clone().count(), "on {}", tracker.node());
        }
    }
}

/// What has been told and not been read, topic by topic: joins and leaves.
fn unread(diffs: &mut Diffs) -> Vec<(String, usize, usize)> {
    let mut told = Vec::new();
    while let Some(Some(event)) = diffs.next().now_or_never() {
        let DiffEvent::Diff(diff) = event else {
            panic!("too much for the queue");
        };
        told.push((diff.topic.to_string(), diff.joins.len(), diff.leaves.len()));
    }
    told
}

/// Each topic has been told of once, and so.
fn assert_each_once(told: &[(String, usize, usize)], joins: usize, leaves: usize) {
    assert!(
        told.iter().all(|(_, j, l)| (*j, *l) == (joins, leaves)),
        "{told:?}"
    );
    let topics: BTreeSet<&str> = told.iter().map(|(topic, _, _)| topic.as_str()).collect();
    assert_eq!(
        (told.len(), topics.len()),
        (TOPICS as usize, TOPICS as usize)
    );
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn story(pool_size: usize) {
    let pair = Pair::start(pool_size);
    let (near, far) = (&pair.near.1, &pair.far.1);
    let owner = Owner::new();
    let mut diffs = far.diffs();
    pair.track_all(&owner).await;
    pass(SOON).await;
    pair.assert_listed(0..TOPICS, 0);
    assert_each_once(&unread(&mut diffs), 1, 0);

    // One by one, and each once.
    for number in 0..TOPICS / 2 {
        let untrack = || near.untrack(owner.id(), "elsewhere", "k");
        assert_eq!(untrack().await.ok(), Some(false), "nothing there");
        let untrack = || async {
            near.untrack(owner.id(), &topic(number), "k")
                .await
                .expect("it is tracked")
        };
        assert!(untrack().await);
        assert_eq!(near.count(&topic(number)), 0);
        assert_eq!(
            near.snapshot().topics().count(),
            (TOPICS - number - 1) as usize
        );
        assert!(!untrack().await, "it is gone");
    }
    pass(SOON).await;
    pair.assert_listed(TOPICS / 2..TOPICS, 0);
    // The rest at once, whatever shards it is in.
    let rest = (TOPICS - TOPICS / 2) as usize;
    assert_eq!(near.untrack_owner(owner.id()).await, Ok(rest));
    assert_eq!(near.snapshot().topics().count(), 0);
    assert_eq!(near.untrack_owner(owner.id()).await, Ok(0));
    pass(SOON).await;
    pair.assert_listed(0..0, 0);
    assert_each_once(&unread(&mut diffs), 0, 1);

    // Updated by function, then by value: each names what it replaced, on both nodes.
    let first = pair.track_all(&owner).await;
    pass(SOON).await;
    unread(&mut diffs);
    for (number, first) in (0..TOPICS).zip(first) {
        let (id, topic) = (owner.id(), topic(number));
        let previous = |tracker: &Tracker| {
            tracker
                .entries(&topic)
                .iter()
                .next()
                .expect("it is listed")
                .previous
        };
        let add = |value: &mut u32| *value += 1;
        let second = near
            .update(id, &topic, "k", add)
            .await
            .expect("it is tracked");
        assert_eq!(previous(near), Some(first));
        pass(Duration::from_millis(60)).await;
        assert_eq!(previous(far), Some(first));
        let value = number + 7;
        near.replace(id, &topic, "k", &value)
            .await
            .expect("it is tracked");
        assert_eq!(previous(near), Some(second));
        pass(Duration::from_millis(60)).await;
        assert_eq!(previous(far), Some(second));
        assert_eq!(unread(&mut diffs), [(topic.clone(), 1, 1), (topic, 1, 1)]);
    }
    pair.assert_listed(0..TOPICS, 7);

    pair.goodbye(diffs, owner).await;
}

impl Pair {
    /// Goodbye ends all shards, here and on the other node at once; a tracker that is started after it has nothing.
    async fn goodbye(self, mut diffs: Diffs, owner: Owner) {
        let (pubsub, near) = &self.near;
        let (before, started) = (tasks(), tokio::time::Instant::now());
        near.close().await;
        assert_eq!(tasks(), before - self.config.pool_size, "each has ended");
        assert_eq!(near.snapshot().topics().count(), 0);
        assert!(near.track(&owner, "t0", "k", &0).await.is_err());
        pass(Duration::from_millis(1)).await;
        assert_eq!(
            started.elapsed(),
            Duration::from_millis(1),
            "nothing was waited for"
        );
        assert_each_once(&unread(&mut diffs), 0, 1);
        let pubsub = pubsub.clone();
        let again = Pair {
            far: self.far,
            near: {
                drop(self.near);
                let tracker =
                    Tracker::new(&pubsub, self.config.clone()).expect("a valid configuration");
                (pubsub, tracker)
            },
            config: self.config,
        };
        pass(SOON).await;
        again.assert_listed(0..0, 0);
        again.track_all(&owner).await;
        pass(SOON).await;
        again.assert_listed(0..TOPICS, 0);
        assert_each_once(&unread(&mut diffs), 1, 0);
    }
}

/// One, a few, and far more than anybody needs.
#[tokio::test(start_paused = true)]
async fn t14_pools_of_1_2_and_8_shards_keep_what_a_tracker_promises() {
    for pool_size in [1, 2, 8] {
        story(pool_size).await;
    }
}

#[tokio::test(start_paused = true)]
async fn t14_a_pool_of_512_shards_keeps_it_too() {
    story(512).await;
}
