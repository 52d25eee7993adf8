//! Who is there: links that come up and end, lives that end, copies that are shown and hidden.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::cluster::Member;
use matryoshka_pubsub::{LinkId, NodeName};

use super::Shard;
use crate::life::Life;
use crate::peer::{Floor, Link, Peer};
use crate::replica::Replica;

impl Shard {
    pub(super) fn current_link(&self, node: &NodeName) -> Option<LinkId> {
        let link = self.peers.get(node)?.link.as_ref()?;
        Some(link.id)
    }

    pub(super) fn linked(&self) -> impl Iterator<Item = &NodeName> {
        let linked = self.peers.iter().filter(|(_, peer)| peer.link.is_some());
        linked.map(|(node, _)| node)
    }

    pub(super) fn link_up(&mut self, member: &Member, now: Duration) {
        let node = &member.node;
        // A link that is current already has recovered; one that is older was told late.
        if node == self.own.node() || self.current_link(node) >= Some(member.link) {
            return;
        }
        let floor = self.peers.get(node).map(|peer| peer.floor.life.incarnation);
        if floor.is_some_and(|floor| member.incarnation.0 < floor) {
            self.stats.refused_lives += 1;
            return;
        }
        // Two links at once do not exist: the one that was not said to be down is.
        self.link_down(node, now);
        let peer = self
            .peers
            .entry(node.clone())
            .or_insert_with(|| Peer::new(member.incarnation.0));
        let first = Life::first_of(member.incarnation.0);
        if peer.floor.life < first {
            peer.floor = Floor {
                life: first,
                ended: false,
            };
            peer.replica = None;
        }
        peer.link = Some(Link::new(member.link, now));
        self.send_hello(node);
    }

    pub(super) fn link_down(&mut self, node: &NodeName, now: Duration) {
        self.hide(node);
        if let Some(peer) = self.peers.get_mut(node)
            && peer.link.take().is_some()
        {
            peer.since = now;
        }
    }

    /// That life and all before it are over.
    pub(super) fn end_life(&mut self, node: &NodeName, life: Life, now: Duration) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        if peer.floor.life > life {
            return;
        }
        self.hide(node);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.floor = Floor { life, ended: true };
            peer.replica = None;
            peer.since = now;
            if let Some(link) = &mut peer.link {
                link.restart();
            }
        }
    }

    pub(super) fn forget(&mut self, node: &NodeName, now: Duration) {
        if let Some(peer) = self.peers.get_mut(node)
            && peer.link.is_none()
            && peer.replica.take().is_some()
        {
            peer.since = now;
        }
    }

    /// What was absent for the permdown period is dropped; what was dropped that long ago is not even remembered.
    pub(super) fn forget_absent(&mut self, now: Duration) {
        let period = self.settings.permdown_period;
        self.peers.retain(|_, peer| {
            if peer.link.is_some() || now < peer.since + period {
                return true;
            }
            peer.since = now;
            peer.replica.take().is_some()
        });
    }

    pub(super) fn show(&mut self, node: &NodeName) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if peer.shown || !peer.caught_up() {
            return;
        }
        peer.shown = true;
        self.caught_up_once = true;
        for entry in peer.replica.iter().flat_map(Replica::iter) {
            self.visible.insert(entry);
        }
    }

    pub(super) fn hide(&mut self, node: &NodeName) {
        if let Some(peer) = self.peers.get_mut(node)
            && std::mem::take(&mut peer.shown)
        {
            for entry in peer.replica.iter().flat_map(Replica::iter) {
                self.visible.remove(entry);
            }
        }
    }
}
