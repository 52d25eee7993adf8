//! What a router counts.
//! Pure: no clock, no I/O, no tasks.

use std::ops::AddAssign;

/// Copies of messages, by what became of them: over all links since the router was made, or on one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Sent to a peer that wants the topic, or that gets it because of its class.
    pub sent: u64,
    /// Put into the ring.
    pub held: u64,
    /// Sent to a peer that has not yet told what it wants.
    pub flooded_start: u64,
    /// Sent because the ring was full, or because the message is larger than the ring.
    pub flooded_full: u64,
    /// Sent to a peer that does not route by interest.
    pub flooded_old_peer: u64,
    /// Sent to a peer that wants more topics than are remembered.
    pub flooded_over_limit: u64,
    /// Sent out of the ring because the peer tells all anew.
    pub flushed: u64,
    /// Sent out of the ring because the peer wants the topic now.
    pub replayed: u64,
    /// Left the ring unsent: the peer had heard of that time and did not want the topic.
    pub trimmed: u64,
    /// Received while nobody here was subscribed.
    pub arrived_for_nobody: u64,
    /// Dropped for a peer whose lane was full.
    pub dropped: u64,
    /// Gap frames written.
    pub gaps: u64,
    /// Times that a peer was asked to tell all anew.
    pub resyncs: u64,
}

impl Counters {
    /// All copies sent to peers that had not asked for them.
    pub fn flooded(&self) -> u64 {
        self.flooded_start + self.flooded_full + self.flooded_old_peer + self.flooded_over_limit
    }

    /// All copies that lanes took, for whatever reason.
    pub fn taken(&self) -> u64 {
        self.sent + self.flooded() + self.flushed + self.replayed
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.held += other.held;
        self.flooded_start += other.flooded_start;
        self.flooded_full += other.flooded_full;
        self.flooded_old_peer += other.flooded_old_peer;
        self.flooded_over_limit += other.flooded_over_limit;
        self.flushed += other.flushed;
        self.replayed += other.replayed;
        self.trimmed += other.trimmed;
        self.arrived_for_nobody += other.arrived_for_nobody;
        self.dropped += other.dropped;
        self.gaps += other.gaps;
        self.resyncs += other.resyncs;
    }
}
