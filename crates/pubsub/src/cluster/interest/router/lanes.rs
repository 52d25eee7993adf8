//! The way out of a router: a copy goes to a lane of one peer, or is counted as missing there.
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use super::Router;
use super::link::Why;
use crate::LinkId;
use crate::cluster::interest::frame::LaneFrame;
use crate::cluster::interest::ring::Held;
use crate::cluster::interest::slots::Slot;

/// Where a router's messages go: the adapter's queues, one per link and lane, each bounded in bytes.
pub trait Lanes {
    /// Appends all of the frames to that queue, in order, or none of them; whether it took them. Must not block.
    ///
    /// What it does not take is dropped for that peer, counted, and told with a [`Gap`](LaneFrame::Gap). A queue that must
    /// not lose anything says that it took them, and ends the link.
    fn push(&mut self, link: LinkId, lane: u16, frames: &[LaneFrame]) -> bool;
}

impl Router {
    /// Sends a copy to one peer, and before it how many were dropped there; whether the lane took it.
    pub(super) fn send(
        &mut self,
        slot: Slot,
        held: &Held,
        why: Option<Why>,
        lanes: &mut dyn Lanes,
    ) -> bool {
        let link = self.links[slot].as_mut().expect("it is up");
        let frame = LaneFrame::Message {
            pos: held.pos,
            envelope: Arc::clone(&held.envelope),
        };
        let taken = match link.routing.gap(held.lane) {
            0 => lanes.push(link.id, held.lane, &[frame]),
            lost => lanes.push(link.id, held.lane, &[LaneFrame::Gap(lost), frame]),
        };
        if taken {
            let gap = link.routing.gaps.remove(&held.lane);
            link.counters.gaps += u64::from(gap.is_some());
            let why = why.unwrap_or_else(|| link.why(held));
            *link.counters.of(why) += 1;
        } else {
            link.counters.dropped += 1;
            *link.routing.gaps.entry(held.lane).or_default() += 1;
        }
        #[cfg(test)]
        self.wrong.forget_gaps(&mut link.routing);
        taken
    }

    pub(super) fn tell_gaps(&mut self, slot: Slot, lanes: &mut dyn Lanes) {
        let link = self.links[slot].as_mut().expect("it is up");
        let (id, counters) = (link.id, &mut link.counters);
        link.routing.gaps.retain(|lane, lost| {
            let told = lanes.push(id, *lane, &[LaneFrame::Gap(*lost)]);
            counters.gaps += u64::from(told);
            !told
        });
    }
}
