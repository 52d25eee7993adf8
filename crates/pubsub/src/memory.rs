//! Several nodes in one process: an adapter without a network.
//!
//! For tests, and for programs that want the parts of one process apart. Deliveries happen in the thread that publishes,
//! before the publishing call returns, and in order; only what is published while a new link is being made is delivered by
//! the thread that makes it. A message goes to every node. Member sinks run in the thread that changes
//! the mesh, and must not change it themselves: no new node, no goodbye. Dropping a pubsub is fine anywhere.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::{Incarnation, NodeName};
use nodes::Nodes;

#[cfg(feature = "test-util")]
mod faults;
mod link;
mod node;
mod nodes;
#[cfg(feature = "test-util")]
mod wire;

pub use node::MemoryNode;

/// A mesh of nodes in this process. A clone means the same mesh.
///
/// It remembers every name that it ever had, and of each the last life, so that a node of that name is known for a later one.
///
/// ```
/// use matryoshka_pubsub::{PubSub, memory::MemoryMesh};
///
/// let mesh = MemoryMesh::new();
/// let (a, b) = (PubSub::with(mesh.node("a")), PubSub::with(mesh.node("b")));
/// let mut news = b.subscribe("news")?;
/// assert_eq!(a.broadcast("news", "hello")?.peers, 1);
/// let message = news.try_next().expect("it is there already")?;
/// assert_eq!(message.origin().expect("from elsewhere").node, "a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryMesh {
    mesh: Arc<Mesh>,
}

impl MemoryMesh {
    /// A mesh without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node for [`PubSub::with`](crate::PubSub::with), which joins the mesh when that is called and is down for the others
    /// when the last handle of its pubsub is dropped. A node of the same name as an earlier one is that one, restarted.
    ///
    /// # Panics
    ///
    /// If `name` is no [`NodeName`], or a node of that name runs: both are mistakes of the program, there being no outside.
    pub fn node(&self, name: &str) -> MemoryNode {
        let name = valid(name);
        let started = self.mesh.change(|| self.mesh.nodes().start(&name));
        let incarnation = started.unwrap_or_else(|| panic!("node {name} runs already"));
        MemoryNode::new(&self.mesh, name, incarnation)
    }
}

impl fmt::Debug for MemoryMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.mesh.nodes().names();
        f.debug_set().entries(names).finish()
    }
}

fn valid(name: &str) -> NodeName {
    NodeName::new(name).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// What the handles and the nodes of a mesh share.
///
/// The locks are taken in the order in which they stand here, after `nodes` perhaps the gate of one link. What is the
/// user's runs under `turn` at most, which is there for that: member sinks, and the drop of payloads.
#[derive(Default)]
struct Mesh {
    /// Held while the mesh changes and the members are told, so that all are told in one order.
    turn: Mutex<()>,
    nodes: Mutex<Nodes>,
    /// Lives whose pubsub is gone, at most all: whoever has the turn takes them out of the mesh.
    departing: Mutex<Vec<(NodeName, Incarnation)>>,
}

impl Mesh {
    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        lock(&self.nodes)
    }

    /// Runs a change of the mesh in its turn.
    fn change<R>(&self, change: impl FnOnce() -> R) -> R {
        let turn = lock(&self.turn);
        self.take_departing();
        let result = change();
        drop(turn);
        self.settle();
        result
    }

    /// That life of a node is over.
    fn depart(&self, name: &NodeName, incarnation: Incarnation) {
        lock(&self.departing).push((name.clone(), incarnation));
        self.settle();
    }

    /// Takes departed nodes out, unless somebody else has the turn, who will do it then.
    ///
    /// A pubsub may be dropped anywhere, also in the midst of a change in this very thread: hence no waiting here.
    fn settle(&self) {
        while !lock(&self.departing).is_empty() {
            let _turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.take_departing();
        }
    }

    fn take_departing(&self) {
        loop {
            let departing = std::mem::take(&mut *lock(&self.departing));
            if departing.is_empty() {
                return;
            }
            for (name, incarnation) in departing {
                let ended = self.nodes().remove(&name, Some(incarnation));
                ended.tell();
            }
        }
    }
}

/// No change is left half done inside, whatever panics: a poisoned lock guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
