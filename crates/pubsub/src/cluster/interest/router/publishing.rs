//! Publishing: who is sent a message at once, and for whom it waits in the ring.
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;
use std::time::Instant;

use super::link::Why;
use super::{Lanes, Router};
use crate::cluster::interest::hash::TopicHash;
use crate::cluster::interest::ring::{Entry, Held};
use crate::cluster::interest::slots::SlotSet;
use crate::{Envelope, LinkId, TrafficClass};

/// To whom a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To the peers of all links that are up.
    All,
    /// To one of them.
    Link(LinkId),
}

/// What became of a message as it was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Links whose lane took it.
    pub sent: usize,
    /// Links that will get it should they turn out to want it.
    pub held: usize,
    /// Links whose lane was full.
    pub dropped: Vec<LinkId>,
}

impl Router {
    /// A message is published on this node: pushes it to the lanes of the peers that may want it, and lets the others wait.
    /// Never blocks, and no peer's queue matters to another.
    ///
    /// Messages of other classes than [`TrafficClass::User`] go to all. `lane` is the lane itself, less than their number.
    pub fn publish(
        &mut self,
        to: To,
        lane: u16,
        envelope: Arc<Envelope>,
        now: Instant,
        lanes: &mut dyn Lanes,
    ) -> Published {
        self.pos += 1;
        let targets = self.targets(to);
        let hash = self.config.hash_key.hash(&envelope.topic);
        let hold = self.not_wanted_by(&targets, hash, envelope.class);
        #[cfg(test)]
        let (targets, hold) = self.alter_targets(to, targets, hold);
        let mut now_to = targets;
        now_to.remove_all(&hold);
        let held = Held {
            pos: self.pos,
            lane,
            envelope,
        };
        let mut published = Published::default();
        self.send_now(&held, &now_to, None, &mut published, lanes);
        if !hold.is_empty() {
            self.hold(held, hash, hold, now, &mut published, lanes);
        }
        published
    }

    fn targets(&self, to: To) -> SlotSet {
        match to {
            To::All => self.up.clone(),
            To::Link(id) => self
                .slots
                .get(&id)
                .map_or(SlotSet::EMPTY, |slot| SlotSet::one(*slot)),
        }
    }

    fn not_wanted_by(&self, targets: &SlotSet, hash: TopicHash, class: TrafficClass) -> SlotSet {
        if class != TrafficClass::User {
            return SlotSet::EMPTY;
        }
        let mut hold = self.routed.clone();
        hold.retain_all(targets);
        if let Some(wanting) = self.wants.of(hash) {
            hold.remove_all(wanting);
        }
        hold
    }

    /// Puts it into the ring for those, with room made by sending the oldest: when unsure, flood. It never goes before an
    /// older message, not even if it will never fit.
    fn hold(
        &mut self,
        held: Held,
        hash: TopicHash,
        waiting: SlotSet,
        now: Instant,
        published: &mut Published,
        lanes: &mut dyn Lanes,
    ) {
        let bytes = held.bytes();
        #[cfg(test)]
        if self.overtakes(bytes) {
            return self.send_now(&held, &waiting, Some(Why::Full), published, lanes);
        }
        while !self.ring.has_room(bytes) {
            let oldest = self.ring.pop_oldest();
            #[cfg(test)]
            let oldest = self.evict_wrongly(oldest);
            let Some(oldest) = oldest else {
                return self.send_now(&held, &waiting, Some(Why::Full), published, lanes);
            };
            self.send_evicted(&oldest, lanes);
        }
        published.held = waiting.len();
        let (most, at) = (self.config.ring_bytes / 4, now + self.config.announce_after);
        for slot in waiting.iter() {
            let link = self.link_mut(slot);
            link.counters.held += 1;
            link.routing.waiting += 1;
            if link.routing.announce.hold(bytes, most, at) {
                self.ready.insert(slot);
            }
        }
        self.ring.push(Entry {
            held,
            hash,
            waiting,
        });
    }

    fn send_evicted(&mut self, entry: &Entry, lanes: &mut dyn Lanes) {
        for slot in entry.waiting.iter() {
            self.link_mut(slot).routing.waiting -= 1;
            self.send(slot, &entry.held, Some(Why::Full), lanes);
        }
    }

    fn send_now(
        &mut self,
        held: &Held,
        to: &SlotSet,
        why: Option<Why>,
        published: &mut Published,
        lanes: &mut dyn Lanes,
    ) {
        for slot in to.iter() {
            if self.send(slot, held, why, lanes) {
                published.sent += 1;
            } else {
                published.dropped.push(self.link_mut(slot).id);
            }
        }
    }
}
