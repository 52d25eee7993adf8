//! Counters, and the snapshots of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use matryoshka_pubsub::cluster::MemberState;
use matryoshka_pubsub::cluster::interest::Counters;
use matryoshka_pubsub::{Incarnation, NodeName};

use crate::proto::codec::Skipped;

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
    /// What holds of the link to it now; `None` when there is none.
    pub link: Option<LinkInfo>,
    /// Messages queued for it.
    pub sent: u64,
    /// Bytes of payload queued for it.
    pub sent_bytes: u64,
    /// Messages dropped for it: a queue was full, or it takes none so large.
    pub dropped: u64,
    /// Of these, the ones that are larger than it takes.
    pub dropped_too_large: u64,
    /// How often it was told that something was dropped for it.
    pub gaps: u64,
    /// The same copies by why they were sent, and what waited for it.
    pub routing: Counters,
    /// Messages received from it.
    pub received: u64,
    /// Bytes of payload received from it.
    pub received_bytes: u64,
    /// Messages it says it dropped for this node.
    pub lost: u64,
    /// How often a link to it came up: every one after the first is a reconnect.
    pub links: u64,
}

/// A link that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// The version of the protocol that both speak.
    pub protocol: u16,
    /// The optional parts of the protocol that the other node offers, such as `interest`.
    pub capabilities: Vec<String>,
    /// Whether both ends route by interest. If not, each sends the other everything.
    pub interest: bool,
    /// The largest payload that the other node takes, in bytes.
    pub max_message_bytes: usize,
    /// QUIC's present estimate of the round trip.
    pub round_trip: Duration,
    /// Until when the other node's certificate is valid, if that is known.
    pub certificate_end: Option<SystemTime>,
    /// Bytes that wait to be written, by class.
    pub queued: QueuedBytes,
}

/// Bytes that wait to be written to one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuedBytes {
    /// On the control stream and the control lane.
    pub control: usize,
    /// On the tracker's lane.
    pub tracker: usize,
    /// On all lanes of users.
    pub user: usize,
    /// On the bulk lane.
    pub bulk: usize,
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
    /// Frames of a kind that the version spoken does not know.
    pub skipped_frames: u64,
    /// Fields in frames that the version spoken does not know.
    pub skipped_fields: u64,
    /// Messages queued, once for each member.
    pub sent: u64,
    /// Bytes of payload queued, likewise.
    pub sent_bytes: u64,
    /// Messages dropped for a member: a queue was full, or it takes none so large.
    pub dropped: u64,
    /// Of these, the ones that are larger than the member takes.
    pub dropped_too_large: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of payload received.
    pub received_bytes: u64,
    /// Messages that members say they dropped for this node.
    pub lost: u64,
    /// Times that a message was written as bytes: once for each version of the protocol in use, whatever the number of members.
    pub encoded: u64,
    /// The copies sent by why they were sent, and what was held instead.
    pub routing: Counters,
    /// Messages that wait now because no member has asked for their topic.
    pub ring_entries: usize,
    /// The same in bytes, as they count against the ring's bound.
    pub ring_bytes: usize,
    /// Topics that this node has told others it wants, those that linger too.
    pub topics_wanted: usize,
    /// Different topics that members want.
    pub topics_of_peers: usize,
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

/// What is counted for each member, over all its links. What is sent to it stands elsewhere.
#[derive(Debug, Default)]
pub(crate) struct PeerCounters {
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
    pub(crate) skipped_fields: Counter,
    pub(crate) received: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) lost: Counter,
}

impl NodeCounters {
    pub(crate) fn skipped(&self, skipped: Skipped) {
        if skipped != Skipped::default() {
            self.skipped_frames.add(skipped.frames);
            self.skipped_fields.add(skipped.fields);
        }
    }

    /// So many messages of that member arrived, with so many bytes of payload.
    pub(crate) fn received(&self, peer: &PeerCounters, messages: u64, bytes: u64) {
        self.received.add(messages);
        self.received_bytes.add(bytes);
        peer.received.add(messages);
        peer.received_bytes.add(bytes);
    }

    pub(crate) fn lost(&self, peer: &PeerCounters, messages: u64) {
        self.lost.add(messages);
        peer.lost.add(messages);
    }
}
