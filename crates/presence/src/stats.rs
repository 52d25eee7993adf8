//! What a presence has done, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of the counters of a [`Presence`](crate::Presence) on this node, all since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// `presence_diff` broadcasts sent to this node's clients.
    pub diffs: u64,
    /// `presence_state` pushes sent by [`Presence::track_after_join`](crate::Presence::track_after_join) and
    /// [`Presence::push_state`](crate::Presence::push_state).
    pub states: u64,
    /// How often this node fell so far behind that diffs were lost, and clients were told whole lists instead.
    pub resyncs: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    diffs: AtomicU64,
    states: AtomicU64,
    resyncs: AtomicU64,
}

impl Counters {
    pub(crate) fn diff(&self) {
        self.diffs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) {
        self.states.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn resync(&self) {
        self.resyncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            diffs: self.diffs.load(Ordering::Relaxed),
            states: self.states.load(Ordering::Relaxed),
            resyncs: self.resyncs.load(Ordering::Relaxed),
        }
    }
}
