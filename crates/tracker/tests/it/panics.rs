//! A shard that ends by a panic, which no input is known to cause: here the adapter panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use matryoshka_tracker::pubsub::memory::{MemoryMesh, MemoryNode};
use matryoshka_tracker::pubsub::registry::Owner;
use matryoshka_tracker::pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Inbound, Incarnation, NodeName, PubSub, Reached,
    TrafficClass,
};
use matryoshka_tracker::{Tracker, TrackerConfig};

use crate::support::{Node, SOON, pass};

/// Panics at the next message of a tracker, once.
struct Fragile {
    node: MemoryNode,
    armed: Arc<AtomicBool>,
}

impl Adapter for Fragile {
    fn node(&self) -> NodeName {
        self.node.node()
    }

    fn incarnation(&self) -> Incarnation {
        self.node.incarnation()
    }

    fn attach(&self, inbound: Inbound) {
        self.node.attach(inbound);
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        let of_tracker = envelope.class == TrafficClass::Tracker;
        if of_tracker && self.armed.swap(false, Ordering::SeqCst) {
            panic!("on purpose");
        }
        self.node.broadcast(envelope)
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        self.node.send(to, envelope)
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_by_a_panic_is_listed_nowhere_though_its_link_stays() {
    let mesh = MemoryMesh::new();
    let armed = Arc::new(AtomicBool::new(false));
    let fragile = Fragile {
        node: mesh.node("a"),
        armed: Arc::clone(&armed),
    };
    let pubsub = PubSub::with(fragile);
    let tracker = Tracker::new(&pubsub, TrackerConfig::default()).unwrap();
    let b = Node::start(&mesh, "b");
    let owner = Owner::new();
    let ann = tracker.track(&owner, "room", "ann", "").await.unwrap();
    pass(SOON).await;
    assert_eq!(b.keys(), "ann");
    armed.store(true, Ordering::SeqCst);
    let bob = tracker.track(&owner, "room", "bob", "").await.unwrap();
    pass(SOON).await;
    assert!(!armed.load(Ordering::SeqCst), "it panicked");
    assert_eq!((tracker.count("room"), b.keys()), (0, String::new()));
    drop((ann, bob));
}
