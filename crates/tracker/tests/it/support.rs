//! Nodes for tests.

use std::time::Duration;

use matryoshka_tracker::pubsub::PubSub;
use matryoshka_tracker::pubsub::memory::MemoryMesh;
use matryoshka_tracker::pubsub::registry::Owner;
use matryoshka_tracker::{Tracked, Tracker, TrackerConfig};

/// Longer than a change needs from node to node.
pub(crate) const SOON: Duration = Duration::from_millis(200);

pub(crate) struct Node {
    pub(crate) pubsub: PubSub,
    pub(crate) tracker: Tracker,
    pub(crate) owner: Owner,
}

impl Node {
    pub(crate) fn start(mesh: &MemoryMesh, name: &str) -> Self {
        Self::with(mesh, name, TrackerConfig::default())
    }

    pub(crate) fn with(mesh: &MemoryMesh, name: &str, config: TrackerConfig) -> Self {
        let pubsub = PubSub::with(mesh.node(name));
        let tracker = Tracker::new(&pubsub, config).expect("a tracker starts");
        Self {
            pubsub,
            tracker,
            owner: Owner::new(),
        }
    }

    pub(crate) async fn track(&self, key: &str) -> Tracked {
        let tracked = self.tracker.track(&self.owner, "room", key, key).await;
        tracked.expect("nothing is tracked there yet")
    }

    pub(crate) fn keys(&self) -> String {
        keys(&self.tracker)
    }
}

pub(crate) fn keys(tracker: &Tracker) -> String {
    let entries = tracker.entries("room");
    entries
        .iter()
        .map(|entry| &*entry.key)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Lets the paused clock jump from timer to timer, up to that time. Nothing really waits.
pub(crate) async fn pass(time: Duration) {
    let never = std::future::pending::<()>();
    assert!(tokio::time::timeout(time, never).await.is_err());
}
