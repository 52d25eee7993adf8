//! Both directions of one link, and what is counted of it.
//! Pure: no clock, no I/O, no tasks.

use crate::cluster::interest::counters::Counters;
use crate::cluster::interest::mention::Mentions;
use crate::cluster::interest::ring::Held;
use crate::cluster::interest::routing::{Mode, Routing};
use crate::{LinkId, TrafficClass};

/// A link that is up.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    /// Both ends route by interest.
    pub(super) capable: bool,
    pub(super) routing: Routing,
    pub(super) mentions: Mentions,
    /// The number of the last frame is to be told.
    pub(super) last_due: bool,
    pub(super) resync_due: bool,
    pub(super) counters: Counters,
}

/// Why a copy is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Wanted,
    Start,
    Full,
    OldPeer,
    OverLimit,
    Flush,
    Replay,
}

impl Link {
    pub(super) fn new(id: LinkId, capable: bool) -> Self {
        Self {
            id,
            capable,
            routing: Routing::new(),
            mentions: Mentions::default(),
            last_due: false,
            resync_due: false,
            counters: Counters::default(),
        }
    }

    /// Why a message goes there at once.
    pub(super) fn why(&self, held: &Held) -> Why {
        if held.envelope.class != TrafficClass::User || self.routing.mode == Mode::Route {
            Why::Wanted
        } else if !self.capable {
            Why::OldPeer
        } else if self.routing.over {
            Why::OverLimit
        } else {
            Why::Start
        }
    }
}

impl Counters {
    pub(super) fn of(&mut self, why: Why) -> &mut u64 {
        match why {
            Why::Wanted => &mut self.sent,
            Why::Start => &mut self.flooded_start,
            Why::Full => &mut self.flooded_full,
            Why::OldPeer => &mut self.flooded_old_peer,
            Why::OverLimit => &mut self.flooded_over_limit,
            Why::Flush => &mut self.flushed,
            Why::Replay => &mut self.replayed,
        }
    }
}
