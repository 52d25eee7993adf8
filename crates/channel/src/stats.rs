//! What the sockets of one service have done, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of the counters of [`Sockets`](crate::Sockets), all since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages from clients.
    pub messages_in: u64,
    /// Frames that were no message and closed their connection.
    pub malformed_frames: u64,
    /// Channels started, which is joins that had a route.
    pub joins: u64,
    /// Joins that closed their connection, being more than [`joins`](crate::SocketsConfig::joins) allows.
    pub joins_over_rate: u64,
    /// Channels whose join was accepted.
    pub joined: u64,
    /// Channels that ended, whatever the reason, after their join was accepted.
    pub ended: u64,
    /// Callbacks that panicked, failed, or were sent what they cannot read.
    pub crashes: u64,
    /// Intercepted broadcasts and other messages that were dropped because a channel's inbox was full.
    pub inbox_dropped: u64,
    /// Deliveries of a broadcast that a client's version of the wire cannot carry.
    pub unencodable: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_in: Counter,
    pub(crate) malformed_frames: Counter,
    pub(crate) joins: Counter,
    pub(crate) joins_over_rate: Counter,
    pub(crate) joined: Counter,
    pub(crate) ended: Counter,
    pub(crate) crashes: Counter,
    pub(crate) inbox_dropped: Counter,
    pub(crate) unencodable: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            messages_in: self.messages_in.get(),
            malformed_frames: self.malformed_frames.get(),
            joins: self.joins.get(),
            joins_over_rate: self.joins_over_rate.get(),
            joined: self.joined.get(),
            ended: self.ended.get(),
            crashes: self.crashes.get(),
            inbox_dropped: self.inbox_dropped.get(),
            unencodable: self.unencodable.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
