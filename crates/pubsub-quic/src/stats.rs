//! Counters, and the snapshots of them.

use std::sync::atomic::{AtomicU64, Ordering};

use matryoshka_pubsub::cluster::MemberState;
use matryoshka_pubsub::{Incarnation, NodeName};

/// One member as this node sees it, and what passed between the two since this node started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its name.
    pub name: NodeName,
    /// Where it is: host or IP address, and port.
    pub addr: String,
    /// How it is.
    pub state: MemberState,
    /// Its latest known incarnation.
    pub incarnation: Incarnation,
    /// Messages queued for it.
    pub sent: u64,
    /// Bytes of payload queued for it.
    pub sent_bytes: u64,
    /// Messages dropped for it, as a queue was full.
    pub dropped: u64,
    /// Messages received from it.
    pub received: u64,
    /// Bytes of payload received from it.
    pub received_bytes: u64,
    /// Messages it says it dropped for this node.
    pub lost: u64,
    /// How often a link to it came up.
    pub links: u64,
}

/// What a [`QuicAdapter`](crate::QuicAdapter) has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Members with a link now.
    pub up: u64,
    /// Connections that exist now, in whatever stage.
    pub connections: u64,
    /// Attempts to reach another node.
    pub dials: u64,
    /// Connections that others made, before it was known who they are.
    pub accepted: u64,
    /// Handshakes of others that failed, or for which there was no room.
    pub refused: u64,
    /// Frames of a kind that this version does not know.
    pub skipped_frames: u64,
    /// Messages queued, summed over members.
    pub sent: u64,
    /// Messages dropped as a queue was full, summed over members.
    pub dropped: u64,
    /// Messages received, summed over members.
    pub received: u64,
    /// Messages that members say they dropped for this node.
    pub lost: u64,
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted for each member, over all its links.
#[derive(Debug, Default)]
pub(crate) struct PeerCounters {
    pub(crate) sent: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) dropped: Counter,
    pub(crate) received: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) lost: Counter,
    pub(crate) links: Counter,
}

/// What is counted for the node as a whole.
#[derive(Debug, Default)]
pub(crate) struct NodeCounters {
    pub(crate) dials: Counter,
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) skipped_frames: Counter,
}
