//! The nodes of a mesh and the links between them. What changes here is told by the caller, who lets go of the lock before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::link::Link;
use crate::cluster::{Member, MemberEvent};
use crate::{Inbound, Incarnation, LinkId, NodeName, Origin};

/// Where a node's broadcasts go, by receiver.
pub(super) type Links = BTreeMap<NodeName, Arc<Link>>;

#[derive(Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<NodeName, Node>,
    /// Pairs that cannot hear each other, the smaller name first.
    cuts: BTreeSet<(NodeName, NodeName)>,
    next_link: u64,
}

/// A node of that name: the one running now, or the last one.
struct Node {
    incarnation: Incarnation,
    /// `None` unless it is attached and alive.
    inbound: Option<Inbound>,
    /// Shared, so that a broadcast holds no lock while it delivers.
    links: Arc<Links>,
}

impl Nodes {
    pub(super) fn names(&self) -> Vec<NodeName> {
        self.nodes.keys().cloned().collect()
    }

    /// Whether there is, or was, a node of that name.
    pub(super) fn knows(&self, name: &NodeName) -> bool {
        self.nodes.contains_key(name)
    }

    /// Notes a node that will run, and returns its incarnation: later than that of any earlier one. `None` if one of that
    /// name runs.
    pub(super) fn start(&mut self, name: &NodeName) -> Option<Incarnation> {
        let clock = Incarnation::at(SystemTime::now());
        let incarnation = match self.nodes.get(name) {
            Some(node) if node.inbound.is_some() => return None,
            Some(earlier) => clock.max(earlier.incarnation.next()),
            None => clock,
        };
        let node = Node {
            incarnation,
            inbound: None,
            links: Arc::default(),
        };
        self.nodes.insert(name.clone(), node);
        Some(incarnation)
    }

    /// Puts a started node into the mesh, unless another was started in its place.
    pub(super) fn attach(
        &mut self,
        name: &NodeName,
        incarnation: Incarnation,
        inbound: Inbound,
    ) -> Vec<Opening> {
        match self.nodes.get_mut(name) {
            Some(node) if node.incarnation == incarnation => node.inbound = Some(inbound),
            _ => return Vec::new(),
        }
        let others = self.names().into_iter();
        others.filter_map(|other| self.link(name, &other)).collect()
    }

    /// Takes a node out of the mesh; only that life of it, if one is given.
    pub(super) fn remove(&mut self, name: &NodeName, only: Option<Incarnation>) -> Ended {
        let mut ended = Ended::default();
        let Some(node) = self.nodes.get_mut(name) else {
            return ended;
        };
        if only.is_some_and(|incarnation| incarnation != node.incarnation) {
            return ended;
        }
        node.inbound = None;
        let peers: Vec<NodeName> = node.links.keys().cloned().collect();
        for peer in peers {
            self.unlink(name, &peer, &mut ended);
        }
        ended
    }

    /// The links of that life of a node; none if it is over.
    pub(super) fn links_of_life(&self, name: &NodeName, incarnation: Incarnation) -> Arc<Links> {
        let node = self.nodes.get(name);
        let living = node.filter(|node| node.incarnation == incarnation);
        living
            .map(|node| Arc::clone(&node.links))
            .unwrap_or_default()
    }

    fn link_to(&self, from: &NodeName, to: &NodeName) -> Option<&Arc<Link>> {
        self.nodes.get(from)?.links.get(to)
    }

    /// Makes a link of two nodes that run, are not cut off from each other, and have none.
    fn link(&mut self, a: &NodeName, b: &NodeName) -> Option<Opening> {
        if a == b || self.link_to(a, b).is_some() || self.cuts.contains(&pair(a, b)) {
            return None;
        }
        let (node_a, node_b) = (self.nodes.get(a)?, self.nodes.get(b)?);
        let (inbound_a, inbound_b) = (node_a.inbound.clone()?, node_b.inbound.clone()?);
        let (life_a, life_b) = (node_a.incarnation, node_b.incarnation);
        self.next_link += 1;
        let id = LinkId(self.next_link);
        let to_b = Arc::new(Link::new(origin(a, life_a, id), inbound_b));
        let to_a = Arc::new(Link::new(origin(b, life_b, id), inbound_a));
        self.links_mut(a)?.insert(b.clone(), Arc::clone(&to_b));
        self.links_mut(b)?.insert(a.clone(), Arc::clone(&to_a));
        Some(Opening { to_a, to_b })
    }

    /// Takes the link of two nodes out, if they have one.
    fn unlink(&mut self, a: &NodeName, b: &NodeName, ended: &mut Ended) {
        for (from, to) in [(a, b), (b, a)] {
            ended.told.extend(self.tell(to, from, MemberEvent::Down));
        }
        for (from, to) in [(a, b), (b, a)] {
            let links = self.links_mut(from);
            ended.links.extend(links.and_then(|links| links.remove(to)));
        }
    }

    fn links_mut(&mut self, name: &NodeName) -> Option<&mut Links> {
        let node = self.nodes.get_mut(name)?;
        Some(Arc::make_mut(&mut node.links))
    }

    /// What `to` is told about `about`, if they have a link and `to` runs.
    fn tell(
        &self,
        to: &NodeName,
        about: &NodeName,
        event: fn(Member) -> MemberEvent,
    ) -> Option<Told> {
        let link = self.link_to(about, to)?;
        let inbound = self.nodes.get(to)?.inbound.clone()?;
        let event = event(link.sender());
        Some(Told { inbound, event })
    }
}

#[cfg(feature = "test-util")]
impl Nodes {
    /// The link from one node to another.
    pub(super) fn find(&self, from: &NodeName, to: &NodeName) -> Option<Arc<Link>> {
        self.link_to(from, to).cloned()
    }

    /// Ends the link of two nodes, and lets them have none until it is healed.
    pub(super) fn cut(&mut self, a: &NodeName, b: &NodeName) -> Ended {
        let mut ended = Ended::default();
        self.cuts.insert(pair(a, b));
        self.unlink(a, b, &mut ended);
        ended
    }

    /// Undoes [`cut`](Self::cut).
    pub(super) fn heal(&mut self, a: &NodeName, b: &NodeName) -> Option<Opening> {
        self.cuts.remove(&pair(a, b));
        self.link(a, b)
    }

    /// What two linked nodes are told about each other.
    pub(super) fn tell_both(
        &self,
        a: &NodeName,
        b: &NodeName,
        event: fn(Member) -> MemberEvent,
    ) -> impl Iterator<Item = Told> + use<> {
        let told = [self.tell(a, b, event), self.tell(b, a, event)];
        told.into_iter().flatten()
    }
}

fn pair(a: &NodeName, b: &NodeName) -> (NodeName, NodeName) {
    (a.min(b).clone(), a.max(b).clone())
}

fn origin(node: &NodeName, incarnation: Incarnation, link: LinkId) -> Arc<Origin> {
    Arc::new(Origin {
        node: node.clone(),
        incarnation,
        link,
    })
}

/// An event on its way to a node.
pub(super) struct Told {
    inbound: Inbound,
    event: MemberEvent,
}

impl Told {
    pub(super) fn tell(self) {
        self.inbound.member(self.event);
    }
}

/// Links that were taken out, and what is to be told of that.
#[derive(Default)]
#[must_use = "the links are still open, and nobody knows of their end"]
pub(super) struct Ended {
    links: Vec<Arc<Link>>,
    told: Vec<Told>,
}

impl Ended {
    /// Nothing comes over a link of whose end its receiver was told: hence they are closed first.
    pub(super) fn tell(self) {
        self.links.iter().for_each(|link| link.close());
        self.told.into_iter().for_each(Told::tell);
    }
}

/// A link whose two ends have not been told yet. Publishes go to it already and wait inside.
pub(super) struct Opening {
    to_a: Arc<Link>,
    to_b: Arc<Link>,
}

impl Opening {
    /// Both ends know each other before either hears the other.
    pub(super) fn open(self) {
        let ends = [self.to_a, self.to_b];
        ends.iter().for_each(|end| end.introduce());
        ends.iter().for_each(|end| end.open());
    }
}
