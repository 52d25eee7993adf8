//! What can be done to a [`MemoryMesh`] in a test (feature `test-util`).
//!
//! Links are named by their two nodes; those of [`hold`](MemoryMesh::hold) and what follows it by sender and receiver, each
//! direction for itself. Names that are no [`NodeName`](crate::NodeName) panic, as in [`MemoryMesh::node`]. To do these to a
//! link that is not there, or to a frame that is not under way, changes nothing. One thread at a time steers one link.

use super::link::Link;
use super::nodes::{Opening, Told};
use super::{MemoryMesh, valid};
use crate::cluster::{Member, MemberEvent};

impl MemoryMesh {
    /// Cuts the link between two nodes: each is told that the other is down, and hears nothing of it any more. A delivery
    /// that is under way in another thread still arrives; what is held is lost.
    pub fn cut(&self, a: &str, b: &str) {
        let (a, b) = (valid(a), valid(b));
        self.mesh.change(|| {
            let ended = self.mesh.nodes().cut(&a, &b);
            ended.tell();
        });
    }

    /// Undoes [`cut`](Self::cut): a new link.
    pub fn heal(&self, a: &str, b: &str) {
        let (a, b) = (valid(a), valid(b));
        self.mesh.change(|| {
            let opening = self.mesh.nodes().heal(&a, &b);
            opening.into_iter().for_each(Opening::open);
        });
    }

    /// Cuts every link between a node of one side and one of the other.
    pub fn partition(&self, side: &[&str], other: &[&str]) {
        for a in side {
            other.iter().for_each(|b| self.cut(a, b));
        }
    }

    /// Kills a node: the others are told that it is down; it hears nothing, reaches nobody and is told nothing. Its name is
    /// free for [`node`](Self::node), which is the restart.
    pub fn kill(&self, node: &str) {
        let node = valid(node);
        self.mesh.change(|| {
            let ended = self.mesh.nodes().remove(&node, None);
            ended.tell();
        });
    }

    /// Says that two nodes have not heard each other for a while, though their link lives. [`recover`](Self::recover) undoes it.
    pub fn suspect(&self, a: &str, b: &str) {
        self.tell_both(a, b, MemberEvent::Suspect);
    }

    /// Says that two suspects have heard each other again.
    pub fn recover(&self, a: &str, b: &str) {
        self.tell_both(a, b, MemberEvent::Up);
    }

    fn tell_both(&self, a: &str, b: &str, event: fn(Member) -> MemberEvent) {
        let (a, b) = (valid(a), valid(b));
        self.mesh.change(|| {
            let told = self.mesh.nodes().tell_both(&a, &b, event);
            told.for_each(Told::tell);
        });
    }

    /// From now on what `from` sends to `to` stays under way: a receiver that does not read, or a network that dawdles.
    /// Up to 1,024 messages do; beyond, the newest are dropped ([`Sent::dropped`](crate::Sent::dropped)), and `to` is told
    /// so in their place ([`Gap`](MemberEvent::Gap)).
    pub fn hold(&self, from: &str, to: &str) {
        self.on_link(from, to, Link::hold);
    }

    /// All that is under way arrives, in order, and what is sent from now on does so at once.
    pub fn release(&self, from: &str, to: &str) {
        self.on_link(from, to, Link::release);
    }

    /// How many frames are under way on a held link.
    pub fn in_flight(&self, from: &str, to: &str) -> usize {
        self.on_link(from, to, Link::in_flight)
    }

    /// The frame at that place of those under way arrives now. Out of its turn, the receiver keeps it until those before
    /// it are there.
    pub fn carry(&self, from: &str, to: &str, index: usize) {
        self.on_link(from, to, |link| link.carry(index));
    }

    /// The frame at that place is under way twice: a copy of it comes last. The receiver hands it on once.
    pub fn duplicate(&self, from: &str, to: &str, index: usize) {
        self.on_link(from, to, |link| link.duplicate(index));
    }

    /// The frame at that place is lost; unless there is another copy, `to` is told so in its place
    /// ([`Gap`](MemberEvent::Gap)).
    pub fn lose(&self, from: &str, to: &str, index: usize) {
        self.on_link(from, to, |link| link.lose(index));
    }

    fn on_link<R: Default>(&self, from: &str, to: &str, act: impl FnOnce(&Link) -> R) -> R {
        let link = self.mesh.nodes().find(&valid(from), &valid(to));
        link.map(|link| act(&link)).unwrap_or_default()
    }
}
