//! Counters, and snapshots of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::mailbox::Loss;

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
    /// Messages that subscribers of this node lost: full mailboxes by one of the four policies below, and sinks that said
    /// so or panicked.
    pub dropped: u64,
    /// Of these, new ones that a full mailbox did not take ([`DropNewest`](crate::mailbox::Overflow::DropNewest)).
    pub dropped_newest: u64,
    /// Of these, old ones that made room ([`DropOldest`](crate::mailbox::Overflow::DropOldest)).
    pub dropped_oldest: u64,
    /// Of these, stale ones that made room ([`keep_latest_by`](crate::mailbox::Bound::keep_latest_by)).
    pub dropped_stale: u64,
    /// Of these, ones that went with their mailbox ([`Close`](crate::mailbox::Overflow::Close)).
    pub dropped_by_close: u64,
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
    dropped_newest: Counter,
    dropped_oldest: Counter,
    dropped_stale: Counter,
    dropped_by_close: Counter,
    pub(crate) dropped_for_peers: Counter,
    pub(crate) unknown_kind: Counter,
    pub(crate) panics: Counter,
}

impl Counters {
    /// Messages that a full mailbox lost by its policy.
    pub(crate) fn lost(&self, loss: Loss, messages: u64) {
        self.dropped.add(messages);
        let counter = match loss {
            Loss::Newest => &self.dropped_newest,
            Loss::Oldest => &self.dropped_oldest,
            Loss::Latest => &self.dropped_stale,
            Loss::All => &self.dropped_by_close,
        };
        counter.add(messages);
    }

    pub(crate) fn snapshot(&self, topics: usize, subscriptions: usize) -> Stats {
        Stats {
            topics,
            subscriptions,
            published: self.published.get(),
            received: self.received.get(),
            delivered: self.delivered.get(),
            dropped: self.dropped.get(),
            dropped_newest: self.dropped_newest.get(),
            dropped_oldest: self.dropped_oldest.get(),
            dropped_stale: self.dropped_stale.get(),
            dropped_by_close: self.dropped_by_close.get(),
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
