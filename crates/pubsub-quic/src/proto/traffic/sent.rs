//! What was sent, as it is counted.
//!
//! Pure: no clock, no I/O, no tasks.

use matryoshka_pubsub::cluster::interest::Counters;

/// What was sent to one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// As the router counts.
    pub(crate) routing: Counters,
    /// Bytes of payload that queues took.
    pub(crate) bytes: u64,
    /// Messages dropped because they are larger than the peer takes.
    pub(crate) too_large: u64,
}

/// What the sums of a node are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) sent: Sent,
    pub(crate) ring_entries: usize,
    pub(crate) ring_bytes: usize,
    pub(crate) topics_wanted: usize,
    pub(crate) topics_of_peers: usize,
    /// Times that a message was written, once for each version in use.
    pub(crate) encoded: u64,
}

impl Sent {
    /// With what was sent elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.routing += other.routing;
        self.bytes += other.bytes;
        self.too_large += other.too_large;
    }
}
