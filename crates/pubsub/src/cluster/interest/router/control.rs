//! The control stream of a link: what a router does with what it reads there, and what it has to write.
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeSet;
use std::time::Instant;

use super::link::Why;
use super::{Lanes, Router};
use crate::cluster::interest::frame::{ControlFrame, Interest};
use crate::cluster::interest::ring::Held;
use crate::cluster::interest::routing::{Mode, Routing};
use crate::cluster::interest::slots::Slot;
use crate::{Edge, LinkId, TopicName};

impl Router {
    /// A control frame came over that link. What waits for the peer may go out to its lanes.
    ///
    /// A frame of a link that is not up, or does not route by interest, has no effect.
    pub fn handle_control(&mut self, id: LinkId, frame: ControlFrame, lanes: &mut dyn Lanes) {
        let Some(&slot) = self.slots.get(&id) else {
            return;
        };
        let link = self.link_mut(slot);
        if !link.capable {
            return;
        }
        match frame {
            ControlFrame::Position(pos) => {
                link.mentions.handle_position(pos);
                #[cfg(test)]
                if self.wrong.lets_answers_wait() {
                    return;
                }
            }
            ControlFrame::Resync => link.mentions.handle_resync(),
            ControlFrame::Last(seq) => return self.handle_last(slot, seq, lanes),
            ControlFrame::Interest(interest) => {
                return self.handle_interest(slot, &interest, lanes);
            }
        }
        self.ready.insert(slot);
    }

    /// The next control frame to write on that link, to be asked when its control stream has room. `take_edges` is
    /// [`Inbound::take_edges`](crate::Inbound::take_edges).
    ///
    /// It is called in here, after the heard position was read: what was subscribed before that position is thus mentioned in
    /// the frame that says it, or was before. The other way round, a subscription made in between would be in neither.
    pub fn poll_control(
        &mut self,
        id: LinkId,
        take_edges: &mut dyn FnMut() -> Vec<Edge>,
        now: Instant,
    ) -> Option<ControlFrame> {
        let slot = *self.slots.get(&id)?;
        let pos = self.pos;
        #[cfg(test)]
        let pos = self.wrong.announced(pos);
        let link = self.link_mut(slot);
        if std::mem::take(&mut link.resync_due) {
            link.counters.resyncs += 1;
            return Some(ControlFrame::Resync);
        }
        if link.routing.announce.due {
            link.routing.announce.done();
            return Some(ControlFrame::Position(pos));
        }
        if link.mentions.is_due() {
            return Some(ControlFrame::Interest(self.write(slot, take_edges, now)));
        }
        let last = ControlFrame::Last(link.mentions.seq());
        std::mem::take(&mut link.last_due).then_some(last)
    }

    fn write(
        &mut self,
        slot: Slot,
        take_edges: &mut dyn FnMut() -> Vec<Edge>,
        now: Instant,
    ) -> Interest {
        let heard = self.link_mut(slot).mentions.heard();
        self.handle_edges(take_edges(), now);
        let link = self.links[slot].as_mut().expect("it is up");
        link.mentions
            .write(&self.wanted, heard, self.config.frame_bytes)
    }

    /// The order of these steps is the protocol.
    fn handle_interest(&mut self, slot: Slot, frame: &Interest, lanes: &mut dyn Lanes) {
        self.wants.sweep();
        let in_turn = frame.seq == self.routing(slot).expect;
        #[cfg(test)]
        let in_turn = self.wrong.in_turn(in_turn);
        let slot = if frame.begin {
            self.begin(slot, lanes)
        } else if self.routing(slot).lost {
            return;
        } else if !in_turn {
            return self.lose(slot, lanes);
        } else {
            slot
        };
        self.routing(slot).expect = frame.seq.wrapping_add(1);
        self.handle_topics(slot, frame, lanes);
        let slot = self.check_limit(slot, lanes);
        if let Some(heard) = frame.heard {
            self.settle(slot, heard);
        }
        if frame.end && !self.routing(slot).over {
            self.routing(slot).mode = Mode::Route;
            self.routed.insert(slot);
        }
    }

    fn begin(&mut self, slot: Slot, lanes: &mut dyn Lanes) -> Slot {
        #[cfg(test)]
        if let Some(slot) = self.begin_wrongly(slot, lanes) {
            return slot;
        }
        let slot = self.forget(slot, lanes);
        self.routing(slot).lost = false;
        slot
    }

    fn handle_last(&mut self, slot: Slot, seq: u64, lanes: &mut dyn Lanes) {
        let routing = self.routing(slot);
        if !routing.lost && seq.wrapping_add(1) != routing.expect {
            self.lose(slot, lanes);
        }
    }

    /// A frame is missing: from here on nothing is known of what the peer wants, so it gets everything.
    fn lose(&mut self, slot: Slot, lanes: &mut dyn Lanes) {
        #[cfg(test)]
        self.lose_wrongly(slot);
        let slot = self.forget(slot, lanes);
        let link = self.link_mut(slot);
        link.routing.lost = true;
        link.resync_due = true;
        self.ready.insert(slot);
    }

    /// Sends the peer all that it waits for, and forgets what it wants; the link's new slot.
    pub(super) fn forget(&mut self, slot: Slot, lanes: &mut dyn Lanes) -> Slot {
        let after = self.routing(slot).settled;
        let waiting = self.ring.take_all(slot, after);
        self.send_waiting(slot, &waiting, Why::Flush, lanes);
        let was_ready = self.ready.contains(slot);
        let mut link = self.remove(slot);
        self.wants.retire(slot);
        link.routing.mode = Mode::Flood;
        link.routing.topics = 0;
        let slot = self.wants.take_slot();
        self.place(slot, link);
        if was_ready {
            self.ready.insert(slot);
        }
        slot
    }

    fn handle_topics(&mut self, slot: Slot, frame: &Interest, lanes: &mut dyn Lanes) {
        if self.routing(slot).over {
            return;
        }
        #[cfg(test)]
        if self.handle_topics_wrongly(slot, frame, lanes) {
            return;
        }
        self.change_topics(slot, &frame.gone, &frame.wanted, lanes);
    }

    pub(super) fn change_topics(
        &mut self,
        slot: Slot,
        gone: &[TopicName],
        wanted: &[TopicName],
        lanes: &mut dyn Lanes,
    ) {
        let key = self.config.hash_key;
        for topic in gone {
            let there = self.wants.remove(slot, key.hash(topic));
            self.routing(slot).topics -= usize::from(there);
        }
        let mut wanted: BTreeSet<_> = wanted.iter().map(|topic| key.hash(topic)).collect();
        wanted.retain(|topic| !self.wants.contains(slot, *topic));
        if self.routing(slot).waiting > 0 && !wanted.is_empty() {
            let after = self.routing(slot).settled;
            let waiting = self.ring.take_topics(slot, after, &wanted);
            #[cfg(test)]
            let waiting = self.alter_replay(slot, waiting);
            self.send_waiting(slot, &waiting, Why::Replay, lanes);
        }
        self.routing(slot).topics += wanted.len();
        for topic in wanted {
            self.wants.insert(slot, topic);
        }
    }

    /// A peer that wants too many topics gets everything until its link ends; the link's slot.
    fn check_limit(&mut self, slot: Slot, lanes: &mut dyn Lanes) -> Slot {
        if self.routing(slot).topics <= self.config.peer_topics {
            return slot;
        }
        let slot = self.forget(slot, lanes);
        self.routing(slot).over = true;
        slot
    }

    /// The peer no longer waits for anything up to there: what it wanted of it, it got.
    pub(super) fn settle(&mut self, slot: Slot, heard: u64) {
        let upto = heard.min(self.pos);
        #[cfg(test)]
        let upto = self.wrong.trimmed(upto);
        let after = self.routing(slot).settled;
        let trimmed = self.ring.trim(slot, after, upto);
        let link = self.link_mut(slot);
        link.counters.trimmed += trimmed as u64;
        let routing = &mut link.routing;
        routing.waiting -= trimmed;
        routing.settled = after.max(upto);
    }

    fn send_waiting(&mut self, slot: Slot, waiting: &[Held], why: Why, lanes: &mut dyn Lanes) {
        self.routing(slot).waiting -= waiting.len();
        for held in waiting {
            self.send(slot, held, Some(why), lanes);
        }
    }

    fn routing(&mut self, slot: Slot) -> &mut Routing {
        &mut self.link_mut(slot).routing
    }
}
