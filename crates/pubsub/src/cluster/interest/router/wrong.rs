//! Ways to route that look right and are not. Each function is called at the one place that its variants concern.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lanes, Link, Router, Slot, SlotSet, To};
use crate::cluster::interest::frame::Interest;
use crate::cluster::interest::ring::{Entry, Held};
use crate::cluster::interest::routing::{Mode, Routing};
use crate::cluster::interest::variant::Variant;
use crate::{LinkId, TopicName};

#[derive(Debug, Default)]
pub(super) struct Wrong {
    pub(super) variant: Variant,
    /// Slots of links that ended, for which entries still wait.
    pub(super) ghosts: Vec<Slot>,
    /// What each peer wants, by name, and what its running sync has told so far.
    sets: BTreeMap<LinkId, (BTreeSet<TopicName>, BTreeSet<TopicName>)>,
    /// What the topics of the present frame had heard.
    heard_at: BTreeMap<TopicName, u64>,
}

impl Wrong {
    pub(super) fn announced(&self, pos: u64) -> u64 {
        pos + u64::from(self.variant == Variant::PositionOneTooHigh)
    }

    pub(super) fn trimmed(&self, upto: u64) -> u64 {
        upto + u64::from(self.variant == Variant::TrimmedOneTooFar)
    }

    pub(super) fn in_turn(&self, in_turn: bool) -> bool {
        in_turn || self.variant == Variant::SeqNotChecked
    }

    pub(super) fn forgets_time(&self) -> bool {
        self.variant == Variant::NoAnnounceTimer
    }

    pub(super) fn lets_answers_wait(&self) -> bool {
        self.variant == Variant::AnswerWaits
    }

    pub(super) fn forget_gaps(&self, routing: &mut Routing) {
        if self.variant == Variant::GapNotTold {
            routing.gaps.clear();
        }
    }
}

impl Router {
    pub(in crate::cluster::interest) fn break_rule(&mut self, variant: Variant) {
        self.wrong.variant = variant;
    }

    pub(super) fn prepare_wrongly(&mut self, slot: Slot, link: &mut Link) {
        link.mentions.wrong.variant = self.wrong.variant;
        link.routing.waiting = self.ring.waited_for(slot);
    }

    pub(super) fn leaves_ghost(&mut self, slot: Slot) -> bool {
        let leaves = self.wrong.variant == Variant::RingOutlivesLink;
        if leaves {
            self.wrong.ghosts.push(slot);
        }
        leaves
    }

    pub(super) fn alter_targets(
        &self,
        to: To,
        mut targets: SlotSet,
        hold: SlotSet,
    ) -> (SlotSet, SlotSet) {
        match self.wrong.variant {
            Variant::DirectBypassesRing if to != To::All => (targets, SlotSet::EMPTY),
            Variant::OldPeerWantsNothing => {
                for slot in self.up.iter() {
                    if self.links[slot].as_ref().is_some_and(|link| !link.capable) {
                        targets.remove(slot);
                    }
                }
                (targets, hold)
            }
            _ => (targets, hold),
        }
    }

    pub(super) fn overtakes(&self, bytes: usize) -> bool {
        match self.wrong.variant {
            Variant::FullRingSendsNewest => !self.ring.has_room(bytes),
            Variant::TooBigGoesAtOnce => bytes > self.config.ring_bytes,
            _ => false,
        }
    }

    pub(super) fn evict_wrongly(&mut self, oldest: Option<Entry>) -> Option<Entry> {
        let mut oldest = oldest?;
        oldest.waiting.retain_all(&self.up);
        match self.wrong.variant {
            Variant::EvictionDrops => {
                for slot in oldest.waiting.iter() {
                    self.link_mut(slot).routing.waiting -= 1;
                }
                oldest.waiting = SlotSet::EMPTY;
            }
            Variant::FullRingEvictsNewest => {
                self.ring.push(oldest);
                return self.ring.pop_newest();
            }
            _ => {}
        }
        Some(oldest)
    }

    pub(super) fn begin_wrongly(&mut self, slot: Slot, lanes: &mut dyn Lanes) -> Option<Slot> {
        match self.wrong.variant {
            Variant::BeginDropsWaiting => self.drop_waiting(slot),
            Variant::RouteFromBegin => {
                let slot = self.forget(slot, lanes);
                self.link_mut(slot).routing.lost = false;
                self.link_mut(slot).routing.mode = Mode::Route;
                self.routed.insert(slot);
                return Some(slot);
            }
            Variant::SyncIntoNewSet => {
                let link = self.link_mut(slot);
                link.routing.lost = false;
                let id = link.id;
                self.wrong.sets.entry(id).or_default().1.clear();
                return Some(slot);
            }
            _ => {}
        }
        None
    }

    pub(super) fn lose_wrongly(&mut self, slot: Slot) {
        if self.wrong.variant == Variant::LostFrameDropsWaiting {
            self.drop_waiting(slot);
        }
    }

    fn drop_waiting(&mut self, slot: Slot) {
        self.ring.trim(slot, 0, self.pos);
        self.link_mut(slot).routing.waiting = 0;
    }

    pub(super) fn handle_topics_wrongly(
        &mut self,
        slot: Slot,
        frame: &Interest,
        lanes: &mut dyn Lanes,
    ) -> bool {
        self.wrong.heard_at.clone_from(&frame.heard_at);
        match self.wrong.variant {
            Variant::OverLimitIgnored => {
                self.change_topics(slot, &frame.gone, &[], lanes);
                for topic in &frame.wanted {
                    if self.link_mut(slot).routing.topics < self.config.peer_topics {
                        self.change_topics(slot, &[], std::slice::from_ref(topic), lanes);
                    }
                }
                true
            }
            Variant::SyncIntoNewSet => {
                self.change_topics(slot, &frame.gone, &frame.wanted, lanes);
                self.collect_new_set(slot, frame, lanes);
                true
            }
            _ => false,
        }
    }

    fn collect_new_set(&mut self, slot: Slot, frame: &Interest, lanes: &mut dyn Lanes) {
        let id = self.link_mut(slot).id;
        let (old, new) = self.wrong.sets.entry(id).or_default();
        old.retain(|topic| !frame.gone.contains(topic));
        old.extend(frame.wanted.iter().cloned());
        new.extend(frame.chunk.iter().cloned());
        if frame.end {
            let gone: Vec<_> = old.difference(new).cloned().collect();
            let wanted: Vec<_> = new.iter().cloned().collect();
            *old = std::mem::take(new);
            self.change_topics(slot, &gone, &wanted, lanes);
        }
    }

    pub(super) fn alter_replay(&mut self, slot: Slot, mut waiting: Vec<Held>) -> Vec<Held> {
        let heard_at = self.wrong.heard_at.clone();
        let old =
            |held: &Held| held.pos <= heard_at.get(&held.envelope.topic).copied().unwrap_or(0);
        match self.wrong.variant {
            Variant::WantedWithoutReplay => self.unwait(slot, &mut waiting, |_| true),
            Variant::ReplayBackwards => waiting.reverse(),
            Variant::KeptAfterReplay => self.put_back(slot, &waiting),
            Variant::WantedCarriesHeard => self.unwait(slot, &mut waiting, old),
            Variant::NotPurged => {
                let (stay, go): (Vec<_>, Vec<_>) = waiting.into_iter().partition(old);
                self.put_back(slot, &stay);
                self.link_mut(slot).routing.waiting -= stay.len();
                waiting = go;
            }
            _ => {}
        }
        waiting
    }

    fn unwait(&mut self, slot: Slot, waiting: &mut Vec<Held>, gone: impl Fn(&Held) -> bool) {
        let before = waiting.len();
        waiting.retain(|held| !gone(held));
        self.link_mut(slot).routing.waiting -= before - waiting.len();
    }

    fn put_back(&mut self, slot: Slot, waiting: &[Held]) {
        for held in waiting {
            let hash = self.config.hash_key.hash(&held.envelope.topic);
            self.ring.put_back(slot, held, hash);
        }
        self.link_mut(slot).routing.waiting += waiting.len();
    }
}
