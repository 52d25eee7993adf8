//! Counters, and snapshots of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a pubsub did since it was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Topics with subscribers now.
    pub topics: usize,
    /// Subscriptions now.
    pub subscriptions: usize,
    /// Messages published on this node.
    pub published: u64,
    /// Messages received from other nodes.
    pub received: u64,
    /// Deliveries to subscribers of this node.
    pub delivered: u64,
    /// Messages that a full mailbox of this node lost.
    pub dropped: u64,
    /// Copies that the full queue to another node lost.
    pub dropped_for_peers: u64,
    /// Messages of a kind without dispatcher, delivered as they were.
    pub unknown_kind: u64,
    /// Panics of sinks and dispatchers.
    pub panics: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) published: Counter,
    pub(crate) received: Counter,
    pub(crate) delivered: Counter,
    pub(crate) dropped: Counter,
    pub(crate) dropped_for_peers: Counter,
    pub(crate) unknown_kind: Counter,
    pub(crate) panics: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self, topics: usize, subscriptions: usize) -> Stats {
        Stats {
            topics,
            subscriptions,
            published: self.published.get(),
            received: self.received.get(),
            delivered: self.delivered.get(),
            dropped: self.dropped.get(),
            dropped_for_peers: self.dropped_for_peers.get(),
            unknown_kind: self.unknown_kind.get(),
            panics: self.panics.get(),
        }
    }
}

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
