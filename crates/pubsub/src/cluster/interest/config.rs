//! The bounds of interest routing, and what happens at each.
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use super::hash::HashKey;

/// What a [`Router`](super::Router) keeps, and for how long. No value is unsafe: tighter bounds only flood more.
///
/// A lane queue of the adapter should hold at least twice [`ring_bytes`](Self::ring_bytes), so that a flush or a replay
/// alone never overflows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// The key of the topics' hashes; of the node's own, never told.
    pub hash_key: HashKey,
    /// What the ring holds, in bytes; an entry counts its payload, its topic and [`Config::ENTRY_BYTES`]. When full, the
    /// oldest entry is sent to all who wait for it. Default 8 MiB: enough for 20,000 messages of 1 KiB a second over a round
    /// trip of 200 ms.
    ///
    /// Nothing is flooded while this is at least 4/3 of the bytes held per second times (round trip + delay of an answer).
    pub ring_bytes: usize,
    /// How many entries the ring holds; when full, as above. Default 65,536.
    pub ring_entries: usize,
    /// The size of an [`Interest`](super::Interest), in bytes; a topic longer than that goes alone. Default 64 KiB.
    pub frame_bytes: usize,
    /// Topics waiting to be mentioned to one peer. More than that, and everything is mentioned anew. Default 65,536.
    pub pending_topics: usize,
    /// Topics that one peer may want. One that wants more gets everything for as long as its link lives. Default 1,000,000.
    pub peer_topics: usize,
    /// How long a topic without subscribers stays wanted. Default 2 s.
    pub linger: Duration,
    /// How many messages that nobody wanted end a linger early. Default 16.
    pub linger_messages: u32,
    /// How long a peer may be left without a position once something waits for it. Default 100 ms.
    pub announce_after: Duration,
}

impl Config {
    /// What an entry of the ring counts beside its payload and its topic, in bytes.
    pub const ENTRY_BYTES: usize = 128;

    /// The defaults, with that key.
    pub fn new(hash_key: HashKey) -> Self {
        Self {
            hash_key,
            ring_bytes: 8 * 1024 * 1024,
            ring_entries: 65_536,
            frame_bytes: 64 * 1024,
            pending_topics: 65_536,
            peer_topics: 1_000_000,
            linger: Duration::from_secs(2),
            linger_messages: 16,
            announce_after: Duration::from_millis(100),
        }
    }

    /// Sets [`ring_bytes`](Self::ring_bytes).
    pub fn with_ring_bytes(mut self, ring_bytes: usize) -> Self {
        self.ring_bytes = ring_bytes;
        self
    }

    /// Sets [`ring_entries`](Self::ring_entries).
    pub fn with_ring_entries(mut self, ring_entries: usize) -> Self {
        self.ring_entries = ring_entries;
        self
    }

    /// Sets [`frame_bytes`](Self::frame_bytes).
    pub fn with_frame_bytes(mut self, frame_bytes: usize) -> Self {
        self.frame_bytes = frame_bytes;
        self
    }

    /// Sets [`pending_topics`](Self::pending_topics).
    pub fn with_pending_topics(mut self, pending_topics: usize) -> Self {
        self.pending_topics = pending_topics;
        self
    }

    /// Sets [`peer_topics`](Self::peer_topics).
    pub fn with_peer_topics(mut self, peer_topics: usize) -> Self {
        self.peer_topics = peer_topics;
        self
    }

    /// Sets [`linger`](Self::linger).
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets [`linger_messages`](Self::linger_messages).
    pub fn with_linger_messages(mut self, linger_messages: u32) -> Self {
        self.linger_messages = linger_messages;
        self
    }

    /// Sets [`announce_after`](Self::announce_after).
    pub fn with_announce_after(mut self, announce_after: Duration) -> Self {
        self.announce_after = announce_after;
        self
    }
}
