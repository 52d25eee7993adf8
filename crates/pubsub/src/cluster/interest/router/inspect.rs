//! What the simulation's watchers may see.

use super::Router;
use crate::cluster::interest::routing::Mode;
use crate::{LinkId, TopicName};

impl Router {
    /// Whether the peer of that link would be sent that topic because it wants it.
    pub(in crate::cluster::interest) fn sends(&self, id: LinkId, topic: &TopicName) -> bool {
        let hash = self.config.hash_key.hash(topic);
        self.wants.contains(self.slots[&id], hash)
    }

    pub(in crate::cluster::interest) fn routes(&self, id: LinkId) -> bool {
        self.link(id).routing.mode == Mode::Route
    }

    pub(in crate::cluster::interest) fn is_over(&self, id: LinkId) -> bool {
        self.link(id).routing.over
    }

    pub(in crate::cluster::interest) fn wants(&self, topic: &TopicName) -> bool {
        self.wanted.contains(topic)
    }

    pub(in crate::cluster::interest) fn heard(&self, id: LinkId) -> u64 {
        self.link(id).mentions.heard()
    }

    pub(in crate::cluster::interest) fn hear(&mut self, id: LinkId, pos: u64) {
        let slot = self.slots[&id];
        self.link_mut(slot).mentions.handle_heard(pos);
    }

    /// A heard position that reached the publisher outside the control stream.
    pub(in crate::cluster::interest) fn settle_heard(&mut self, id: LinkId, heard: u64) {
        if let Some(&slot) = self.slots.get(&id) {
            self.settle(slot, heard);
        }
    }

    /// What must hold at any time and does not: each link counts as many entries as wait for it, none while it is flooded, and
    /// the ring is within its bounds.
    pub(in crate::cluster::interest) fn disagrees(&self) -> Option<String> {
        for (id, slot) in &self.slots {
            let routing = &self.link(*id).routing;
            let (waited, routes) = (self.ring.waited_for(*slot), routing.mode == Mode::Route);
            let counted = routing.waiting;
            if waited != counted || routes != self.routed.contains(*slot) {
                return Some(format!("link {id}: {waited} wait, {counted} counted"));
            }
            if waited > 0 && !routes {
                return Some(format!("link {id}: {waited} wait, and it is flooded"));
            }
        }
        let (entries, bytes) = self.ring();
        let full = bytes > self.config.ring_bytes || entries > self.config.ring_entries;
        full.then(|| format!("{entries} entries of {bytes} bytes in the ring"))
    }

    fn link(&self, id: LinkId) -> &super::Link {
        self.links[self.slots[&id]].as_ref().expect("it is up")
    }
}
