//! Connections that a restart is about to close: what they track is held before they are, and they are closed only once all who are
//! linked know that.
//!
//! Who was told of the hold takes the next entry of the same topic and key in the old one's place, in one diff. Their clients come back by
//! any node, and each node hears of the old place and of the new one over links of its own: so a hold that is only on its way when a
//! client is told to go may come too late, for the node where it went or for a third one.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::NodeName;

use super::{Effect, Shard};
use crate::message::{Confirm, Message, Position};
use crate::peer::Floor;
use crate::slot::Slot;
use crate::visible::{Beside, HeldBy};

/// How far the hold of several owners has got.
#[derive(Clone, Debug, Default)]
pub(crate) struct HoldAt {
    /// How many owners are done with.
    owners: usize,
    /// The last slot of the next one that is.
    after: Option<Slot>,
    /// There was something to hold.
    held: bool,
}

impl HoldAt {
    /// Whether all of these owners are done with.
    pub(crate) fn is_past(&self, owners: &[u64]) -> bool {
        self.owners >= owners.len()
    }
}

/// A hold that others are still to know of.
#[derive(Debug)]
pub(super) struct Holding {
    /// Who is that far knows of it.
    seq: u64,
    pub(super) due: Duration,
}

impl Shard {
    // This node.

    /// The connections of these owners are about to be closed for an announced restart: what they track is held from now on, and is
    /// still theirs. So many of their entries at most, from where an earlier call has got to: an owner counts as one at least. How many
    /// it was. Without an announced restart nothing is held.
    pub(crate) fn hold_some(
        &mut self,
        owners: &[u64],
        at: &mut HoldAt,
        most: usize,
        now: Duration,
    ) -> usize {
        if self.restarting.is_none() || self.left {
            at.owners = owners.len();
        }
        let mut count = 0;
        while count < most
            && let Some(owner) = owners.get(at.owners)
        {
            let slots = self
                .own
                .slots_after(*owner, at.after.as_ref(), most - count);
            slots.iter().for_each(|slot| self.hold_ahead(slot));
            count += slots.len().max(1);
            at.held |= !slots.is_empty();
            at.after = slots.into_iter().next_back();
            at.owners += usize::from(at.after.is_none());
        }
        if at.held {
            self.written(now);
        }
        count
    }

    /// All of a hold is done: [`Effect::Held`] tells when all who are linked know that, or that they did not say so in time; of several
    /// holds in their order.
    pub(crate) fn confirm_hold(&mut self, hold: &HoldAt, now: Duration) {
        // Who is that far knows of it. Nothing to know is known.
        let mut seq = 0;
        if hold.held && !self.left {
            self.push();
            let at = self.own.at();
            let ask = Message::Confirm(Confirm { at });
            self.outbox.push_back(Effect::Broadcast(ask));
            seq = at.seq;
        }
        let due = now + CONFIRM_LIMIT;
        self.holding.push_back(Holding { seq, due });
        self.end_holds(now);
    }

    pub(super) fn hold_ahead(&mut self, slot: &Slot) {
        if let Some(entry) = self.own.hold_ahead(slot) {
            self.visible.remove(&entry);
            self.show_held(&entry, HeldBy::Own, Beside::Visible);
        }
    }

    /// Somebody new who is linked has to know as well.
    pub(super) fn ask_to_confirm(&mut self, node: &NodeName) {
        if !self.holding.is_empty() {
            let at = self.own.at();
            self.send(node, Message::Confirm(Confirm { at }));
        }
    }

    pub(super) fn handle_confirmed(&mut self, node: &NodeName, at: Position) {
        if !self.own.was(at.life) {
            return;
        }
        if let Some(link) = self.link_mut(node) {
            link.confirmed = link.confirmed.max(at.seq);
        }
    }

    /// Ends the holds that all who are linked know of, and those whose time is over.
    pub(super) fn end_holds(&mut self, now: Duration) {
        if self.holding.is_empty() {
            return;
        }
        let known = self.known_to_all();
        while let Some(holding) = self.holding.pop_front() {
            let confirmed = holding.seq <= known;
            if !confirmed && now < holding.due {
                return self.holding.push_front(holding);
            }
            if !confirmed {
                self.stats.holds_unconfirmed += 1;
                self.note_unanswered(holding.seq);
            }
            self.outbox.push_back(Effect::Held(confirmed));
        }
    }

    fn note_unanswered(&mut self, seq: u64) {
        let links = self.peers.values_mut().filter_map(|p| p.link.as_mut());
        for link in links.filter(|link| link.confirmed < seq) {
            link.let_down = true;
        }
    }

    /// How far all are who are linked. Not those whose tracker is over while their link stays, nor those that have none as it seems: nobody
    /// comes back by them, and they do not answer.
    fn known_to_all(&self) -> u64 {
        let links = self.peers.iter().filter_map(|(node, peer)| {
            let link = peer.link.as_ref()?;
            let Floor { life, ended } = peer.floor;
            let is_over = ended || link.is_silent() || self.said_over(node, life);
            let is_none = link.let_down && peer.replica.is_none();
            (!is_over && !is_none).then_some(link.confirmed)
        });
        links.min().unwrap_or(u64::MAX)
    }

    // Other nodes.

    pub(super) fn handle_confirm(&mut self, node: &NodeName, at: Position, now: Duration) {
        if !self.is_introduced(node, at.life, now) {
            return;
        }
        self.told_of(node, at.seq);
        if let Some(link) = self.link_mut(node) {
            link.to_confirm = link.to_confirm.max(Some(at.seq));
        }
        self.confirm(node);
        self.ask_if_behind(node, now);
    }

    /// Tells a peer that its copy is as far as it asked for. Not before: whoever is told to go next may already be back here.
    pub(super) fn confirm(&mut self, node: &NodeName) {
        let Some(at) = self.have(node) else { return };
        let Some(link) = self.link_mut(node) else {
            return;
        };
        if link.to_confirm.take_if(|seq| *seq <= at.seq).is_some() {
            self.send(node, Message::Confirmed(Confirm { at }));
        }
    }
}

/// So long others are waited for: far more than a round trip, and short beside the drain. One that runs an earlier version never answers.
pub(super) const CONFIRM_LIMIT: Duration = Duration::from_millis(500);
