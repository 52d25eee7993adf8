//! What a presence has done, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

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

#[derive(Debug, Default)]
pub(crate) struct Counters {
    diffs: AtomicU64,
    counts: AtomicU64,
    states: AtomicU64,
    lists_written: AtomicU64,
    entries_compared: AtomicU64,
    resyncs: AtomicU64,
    fetches_failed: AtomicU64,
    fetches_panicked: AtomicU64,
    fetches_too_long: AtomicU64,
    fetches_not_begun: AtomicU64,
    fetched_unasked: AtomicU64,
    fetched_unfit: AtomicU64,
    handler_panics: AtomicU64,
}

impl Counters {
    pub(crate) fn diff(&self) {
        add_one(&self.diffs);
    }

    pub(crate) fn count(&self) {
        add_one(&self.counts);
    }

    pub(crate) fn state(&self) {
        add_one(&self.states);
    }

    pub(crate) fn list_written(&self) {
        add_one(&self.lists_written);
    }

    /// So many entries in all.
    pub(crate) fn looked(&self, entries: u64) {
        self.entries_compared.store(entries, Ordering::Relaxed);
    }

    pub(crate) fn resync(&self) {
        add_one(&self.resyncs);
    }

    pub(crate) fn fetch_failed(&self) {
        add_one(&self.fetches_failed);
    }

    pub(crate) fn fetch_panicked(&self) {
        add_one(&self.fetches_panicked);
    }

    pub(crate) fn fetch_too_long(&self) {
        add_one(&self.fetches_too_long);
    }

    pub(crate) fn fetch_not_begun(&self) {
        add_one(&self.fetches_not_begun);
    }

    pub(crate) fn fetched_unasked(&self, keys: u64) {
        self.fetched_unasked.fetch_add(keys, Ordering::Relaxed);
    }

    pub(crate) fn fetched_unfit(&self, keys: u64) {
        self.fetched_unfit.fetch_add(keys, Ordering::Relaxed);
    }

    pub(crate) fn handler_panicked(&self) {
        add_one(&self.handler_panics);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            diffs: now(&self.diffs),
            counts: now(&self.counts),
            states: now(&self.states),
            lists_written: now(&self.lists_written),
            entries_compared: now(&self.entries_compared),
            resyncs: now(&self.resyncs),
            fetches_failed: now(&self.fetches_failed),
            fetches_panicked: now(&self.fetches_panicked),
            fetches_too_long: now(&self.fetches_too_long),
            fetches_not_begun: now(&self.fetches_not_begun),
            fetched_unasked: now(&self.fetched_unasked),
            fetched_unfit: now(&self.fetched_unfit),
            handler_panics: now(&self.handler_panics),
        }
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
