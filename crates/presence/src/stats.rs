//! What a presence has done, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use matryoshka_channel::transport::Counter;

use crate::log_lines::LogLines;

/// A snapshot of the counters of a [`Presence`](crate::Presence) on this node, all since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// `presence_diff` broadcasts sent to this node's clients.
    pub diffs: u64,
    /// `presence_count` broadcasts sent to this node's clients.
    pub counts: u64,
    /// `presence_state` pushes sent by [`Presence::track_after_join`](crate::Presence::track_after_join) and
    /// [`Presence::push_state`](crate::Presence::push_state).
    pub states: u64,
    /// Lists that were written as JSON for those pushes. Clients that join at about the same time share one.
    pub lists_written: u64,
    /// Entries of lists that were looked at to find out what changed, or how many are there. Parts of a list that nothing changed are
    /// none of them, so a change in a room of 100,000 costs no more than a few hundred.
    pub entries_compared: u64,
    /// How often this node fell so far behind its tracker that single changes were lost, and lists were compared instead.
    pub resyncs: u64,
    /// Fetches that failed, panicked or took too long, or that never began.
    pub fetches_failed: u64,
    /// Those of them that panicked.
    pub fetches_panicked: u64,
    /// Those of them that took longer than the [limit](crate::PresenceConfig::fetch_limit) and were dropped.
    pub fetches_too_long: u64,
    /// Those of them that never began: their [turn](crate::PresenceConfig::fetches_at_once) did not come in time, or too many were waiting.
    pub fetches_not_begun: u64,
    /// Keys for which a fetch gave data that it was not asked for. They are left out.
    pub fetched_unasked: u64,
    /// Keys for which a fetch gave what cannot be told: no JSON object, one that nests too deep, or more than 1 MiB. They get the metas alone.
    pub fetched_unfit: u64,
    /// Calls of the [`HandleMetas`](crate::HandleMetas) that panicked.
    pub handler_panics: u64,
}

/// The same as they grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) diffs: Counter,
    pub(crate) counts: Counter,
    pub(crate) states: Counter,
    pub(crate) lists_written: Counter,
    entries_compared: AtomicU64,
    pub(crate) resyncs: Counter,
    pub(crate) fetches_failed: Counter,
    pub(crate) fetches_panicked: Counter,
    pub(crate) fetches_too_long: Counter,
    pub(crate) fetches_not_begun: Counter,
    pub(crate) fetched_unasked: Counter,
    pub(crate) fetched_unfit: Counter,
    pub(crate) handler_panics: Counter,
    /// And what is said of them in the log.
    pub(crate) lines: LogLines,
}

impl Counters {
    /// So many entries in all.
    pub(crate) fn looked(&self, entries: u64) {
        self.entries_compared.store(entries, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            diffs: self.diffs.get(),
            counts: self.counts.get(),
            states: self.states.get(),
            lists_written: self.lists_written.get(),
            entries_compared: self.entries_compared.load(Ordering::Relaxed),
            resyncs: self.resyncs.get(),
            fetches_failed: self.fetches_failed.get(),
            fetches_panicked: self.fetches_panicked.get(),
            fetches_too_long: self.fetches_too_long.get(),
            fetches_not_begun: self.fetches_not_begun.get(),
            fetched_unasked: self.fetched_unasked.get(),
            fetched_unfit: self.fetched_unfit.get(),
            handler_panics: self.handler_panics.get(),
        }
    }
}
