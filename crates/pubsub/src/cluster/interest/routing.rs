//! A link as publisher: what is known of its peer's interest, and what is owed to the peer.
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::time::Instant;

/// All of it is new with each link. What the peer wants stands in the map of all peers, under the link's slot.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) mode: Mode,
    /// Topics that the peer wants.
    pub(super) topics: usize,
    /// The number of the next interest frame.
    pub(super) expect: u64,
    /// A frame was lost: nothing that the peer says counts until it begins anew.
    pub(super) lost: bool,
    /// The peer wants too many topics to remember.
    pub(super) over: bool,
    /// Entries of the ring that the peer waits for. All of them are behind `settled`.
    pub(super) waiting: usize,
    /// The peer waits for nothing up to here.
    pub(super) settled: u64,
    pub(super) announce: Announce,
    /// Messages dropped and not yet told, by lane.
    pub(super) gaps: BTreeMap<u16, u64>,
}

/// How a message on a topic that the peer has not mentioned goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is sent: the peer has not yet told all that it wants.
    Flood,
    /// It waits in the ring.
    Route,
}

/// When the peer is told the position, so that it answers what it has heard and the ring gets room.
#[derive(Debug, Default)]
pub(super) struct Announce {
    /// Bytes held since the last position was written.
    bytes: usize,
    at: Option<Instant>,
    pub(super) due: bool,
}

impl Routing {
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Flood,
            topics: 0,
            expect: 1,
            lost: false,
            over: false,
            waiting: 0,
            settled: 0,
            announce: Announce::default(),
            gaps: BTreeMap::new(),
        }
    }

    /// Messages dropped on that lane and not yet told.
    pub(super) fn gap(&self, lane: u16) -> u64 {
        self.gaps.get(&lane).copied().unwrap_or(0)
    }
}

impl Announce {
    /// So many bytes were held; whether a position became due, given that it does at `most`.
    pub(super) fn hold(&mut self, bytes: usize, most: usize, at: Instant) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.at.get_or_insert(at);
        let news = !self.due && self.bytes >= most;
        self.due |= news;
        news
    }

    /// Time passed; whether a position became due.
    pub(super) fn handle_time(&mut self, now: Instant) -> bool {
        let news = !self.due && self.at.is_some_and(|at| at <= now);
        self.due |= news;
        news
    }

    /// When one becomes due by time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.at.filter(|_| !self.due)
    }

    /// One was written.
    pub(super) fn done(&mut self) {
        *self = Self::default();
    }
}
