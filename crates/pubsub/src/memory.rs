//! Several nodes in one process: an adapter without a network.
//!
//! For tests, and for programs that want the parts of one process apart. Deliveries happen in the thread that publishes,
//! before the publishing call returns, and in order. A message goes to every node. Member sinks run in the thread that changes
//! the mesh, and must not change it themselves: no new node, no goodbye. Dropping a pubsub is fine anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::SystemTime;

use crate::cluster::{Member, MemberEvent};
use crate::{
    Adapter, AdapterError, DirectError, Envelope, Goodbye, Inbound, Incarnation, LinkId, NodeName,
    Origin, Reached,
};
use link::{Link, Taken};

#[cfg(feature = "test-util")]
mod faults;
mod link;
#[cfg(feature = "test-util")]
mod wire;

/// A mesh of nodes in this process. A clone means the same mesh.
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

#[derive(Default)]
struct Mesh {
    /// Held while the shape of the mesh changes and the members are told, so that all are told in one order.
    /// Taken before `state`.
    turn: Mutex<()>,
    /// Never held while anything outside this module runs.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeName, Node>,
    /// Pairs that cannot hear each other, the smaller name first.
    cuts: BTreeSet<(NodeName, NodeName)>,
    /// Nodes whose pubsub is gone, at most all: whoever has the turn to change the mesh takes them out.
    departing: Vec<(NodeName, Incarnation)>,
    next_link: u64,
}

/// A node of that name: the one running now, or the last one.
struct Node {
    incarnation: Incarnation,
    /// `None` unless it is attached and alive.
    inbound: Option<Inbound>,
    /// Where its broadcasts go. Shared, so that a broadcast holds no lock while it delivers.
    links: Arc<BTreeMap<NodeName, Arc<Link>>>,
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
        let name = NodeName::new(name).expect("a valid node name");
        let incarnation = self.mesh.change(|| self.mesh.state().start(&name));
        MemoryNode {
            mesh: Arc::clone(&self.mesh),
            name,
            incarnation,
        }
    }
}

impl fmt::Debug for MemoryMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.mesh.state();
        f.debug_set().entries(state.nodes.keys()).finish()
    }
}

#[cfg(feature = "test-util")]
fn valid(name: &str) -> NodeName {
    NodeName::new(name).expect("a valid node name")
}

fn pair(a: &NodeName, b: &NodeName) -> (NodeName, NodeName) {
    (a.min(b).clone(), a.max(b).clone())
}

/// Nothing that can panic runs inside, so a poisoned lock guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mesh {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn links(
        &self,
        name: &NodeName,
        incarnation: Incarnation,
    ) -> Arc<BTreeMap<NodeName, Arc<Link>>> {
        let state = self.state();
        let node = state
            .nodes
            .get(name)
            .filter(|node| node.incarnation == incarnation);
        node.map(|node| Arc::clone(&node.links)).unwrap_or_default()
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

    /// Takes departed nodes out, unless somebody else has the turn, who will do it then.
    ///
    /// A pubsub may be dropped anywhere, also in the midst of a change in this very thread: hence no waiting here.
    fn settle(&self) {
        while !self.state().departing.is_empty() {
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
            let departing = std::mem::take(&mut self.state().departing);
            if departing.is_empty() {
                return;
            }
            for (name, incarnation) in departing {
                self.remove(&name, Some(incarnation));
            }
        }
    }

    /// Takes a node out of the mesh; only that incarnation of it, if one is given.
    fn remove(&self, name: &NodeName, only: Option<Incarnation>) {
        let mut state = self.state();
        let Some(node) = state.nodes.get_mut(name) else {
            return;
        };
        if only.is_some_and(|incarnation| incarnation != node.incarnation) {
            return;
        }
        node.inbound = None;
        let peers: Vec<NodeName> = node.links.keys().cloned().collect();
        let told: Vec<Told> = peers
            .iter()
            .flat_map(|peer| state.unlink(name, peer))
            .collect();
        drop(state);
        told.into_iter().for_each(Told::tell);
    }

    #[cfg(feature = "test-util")]
    fn tell_pair(&self, a: &NodeName, b: &NodeName, event: fn(Member) -> MemberEvent) {
        self.change(|| {
            let state = self.state();
            let told = [state.tell(a, b, event), state.tell(b, a, event)];
            drop(state);
            told.into_iter().flatten().for_each(Told::tell);
        });
    }
}

impl State {
    /// Notes a node that will run, and returns its incarnation: later than that of any earlier one.
    fn start(&mut self, name: &NodeName) -> Incarnation {
        let clock = Incarnation::at(SystemTime::now());
        let incarnation = match self.nodes.get(name) {
            Some(node) if node.inbound.is_some() => panic!("node {name} runs already"),
            Some(earlier) => clock.max(earlier.incarnation.next()),
            None => clock,
        };
        let node = Node {
            incarnation,
            inbound: None,
            links: Arc::default(),
        };
        self.nodes.insert(name.clone(), node);
        incarnation
    }

    /// Puts a started node into the mesh, unless another was started in its place.
    fn attach(
        &mut self,
        name: &NodeName,
        incarnation: Incarnation,
        inbound: Inbound,
    ) -> Vec<Opening> {
        match self.nodes.get_mut(name) {
            Some(node) if node.incarnation == incarnation => node.inbound = Some(inbound),
            _ => return Vec::new(),
        }
        let others: Vec<NodeName> = self.nodes.keys().cloned().collect();
        others
            .iter()
            .filter_map(|other| self.link(name, other))
            .collect()
    }

    fn links(&self, name: &NodeName) -> Option<&BTreeMap<NodeName, Arc<Link>>> {
        self.nodes.get(name).map(|node| &*node.links)
    }

    /// Makes a link of two nodes that run, are not cut off from each other, and have none.
    fn link(&mut self, a: &NodeName, b: &NodeName) -> Option<Opening> {
        let linked = self.links(a).is_some_and(|links| links.contains_key(b));
        if a == b || linked || self.cuts.contains(&pair(a, b)) {
            return None;
        }
        let (node_a, node_b) = (self.nodes.get(a)?, self.nodes.get(b)?);
        let (inbound_a, inbound_b) = (node_a.inbound.clone()?, node_b.inbound.clone()?);
        let (life_a, life_b) = (node_a.incarnation, node_b.incarnation);
        self.next_link += 1;
        let id = LinkId(self.next_link);
        let to_b = Arc::new(Link::new(origin(a, life_a, id), inbound_b));
        let to_a = Arc::new(Link::new(origin(b, life_b, id), inbound_a));
        self.set_link(a, b, Some(Arc::clone(&to_b)));
        self.set_link(b, a, Some(Arc::clone(&to_a)));
        Some(Opening { to_a, to_b })
    }

    /// Ends the link of two nodes; what those of them that run are to be told.
    fn unlink(&mut self, a: &NodeName, b: &NodeName) -> Vec<Told> {
        let told = [
            self.tell(a, b, MemberEvent::Down),
            self.tell(b, a, MemberEvent::Down),
        ];
        self.set_link(a, b, None);
        self.set_link(b, a, None);
        told.into_iter().flatten().collect()
    }

    fn set_link(&mut self, from: &NodeName, to: &NodeName, link: Option<Arc<Link>>) {
        let Some(node) = self.nodes.get_mut(from) else {
            return;
        };
        let links = Arc::make_mut(&mut node.links);
        let old = match link {
            Some(link) => links.insert(to.clone(), link),
            None => links.remove(to),
        };
        if let Some(old) = old {
            old.close();
        }
    }

    /// What `to` is told about `about`, if they have a link and `to` runs.
    fn tell(
        &self,
        to: &NodeName,
        about: &NodeName,
        event: fn(Member) -> MemberEvent,
    ) -> Option<Told> {
        let link = self.links(about)?.get(to)?;
        let inbound = self.nodes.get(to)?.inbound.clone()?;
        let event = event(link.sender());
        Some(Told { inbound, event })
    }
}

fn origin(node: &NodeName, incarnation: Incarnation, link: LinkId) -> Arc<Origin> {
    Arc::new(Origin {
        node: node.clone(),
        incarnation,
        link,
    })
}

/// An event on its way to a node, to be told without the lock.
struct Told {
    inbound: Inbound,
    event: MemberEvent,
}

impl Told {
    fn tell(self) {
        self.inbound.member(self.event);
    }
}

/// A link whose two ends have not been told yet. Publishes go to it already and wait inside.
struct Opening {
    to_a: Arc<Link>,
    to_b: Arc<Link>,
}

impl Opening {
    fn open(self) {
        let Self { to_a, to_b } = self;
        // Both ends know each other before either hears the other.
        to_a.introduce();
        to_b.introduce();
        to_a.open();
        to_b.open();
    }
}

/// One node of a [`MemoryMesh`].
pub struct MemoryNode {
    mesh: Arc<Mesh>,
    name: NodeName,
    incarnation: Incarnation,
}

impl Adapter for MemoryNode {
    fn node(&self) -> NodeName {
        self.name.clone()
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn attach(&self, inbound: Inbound) {
        self.mesh.change(|| {
            let opening = self
                .mesh
                .state()
                .attach(&self.name, self.incarnation, inbound);
            opening.into_iter().for_each(Opening::open);
        });
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        let mut reached = Reached::default();
        for (peer, link) in &*self.mesh.links(&self.name, self.incarnation) {
            match link.send(envelope) {
                Taken::Yes => reached.peers += 1,
                Taken::Full => reached.dropped.push(peer.clone()),
                Taken::Closed => {}
            }
        }
        Ok(reached)
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        let links = self.mesh.links(&self.name, self.incarnation);
        match links.get(to).map(|link| link.send(envelope)) {
            Some(Taken::Yes) => Ok(()),
            Some(Taken::Full) => Err(DirectError::QueueFull(to.clone())),
            Some(Taken::Closed) => Err(DirectError::NotUp(to.clone())),
            None if self.mesh.state().nodes.contains_key(to) => Err(DirectError::NotUp(to.clone())),
            None => Err(DirectError::NoSuchNode(to.clone())),
        }
    }

    fn leave(&self, goodbye: Goodbye) {
        self.mesh.change(|| {
            for link in self.mesh.links(&self.name, self.incarnation).values() {
                link.tell(match goodbye {
                    Goodbye::Leaving => MemberEvent::Leaving(link.sender()),
                    Goodbye::Restarting { grace } => MemberEvent::Restarting(link.sender(), grace),
                });
            }
        });
    }
}

impl Drop for MemoryNode {
    fn drop(&mut self) {
        let departure = (self.name.clone(), self.incarnation);
        self.mesh.state().departing.push(departure);
        self.mesh.settle();
    }
}

impl fmt::Debug for MemoryNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryNode").field(&self.name).finish()
    }
}
