//! What can go wrong, by operation.

use matryoshka_pubsub::registry::OwnerDead;
use matryoshka_pubsub::{AlreadyClaimed, NodeName, SubscribeError, TopicName};
use thiserror::Error;

use crate::config::{
    MAX_NAME_BYTES, MAX_POOL_SIZE, MIN_BROADCAST_PERIOD, MIN_INBOX_BYTES, MIN_LOG_BYTES,
};
use crate::reference::PresenceRef;

/// A tracker that was not started. Nothing is left of the attempt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrackerError {
    /// A tracker of that name runs on this pubsub: use it, or choose another name.
    #[error("a tracker of this name runs already")]
    AlreadyRunning(#[source] AlreadyClaimed),
    /// The settings contradict themselves.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tracker needs a tokio runtime with time: start it inside one.
    #[error("there is no tokio runtime here")]
    NoRuntime,
    /// The pubsub refused the tracker's own topic.
    #[error("the tracker's own topic was refused")]
    Subscribe(#[from] SubscribeError),
}

/// Settings that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name is empty or too long.
    #[error("`name` must have 1 to {MAX_NAME_BYTES} bytes")]
    Name,
    /// Name and number of the last shard are too long for this pubsub's topics: take a shorter name, or other
    /// [`Limits`](matryoshka_pubsub::Limits).
    #[error("the topic that `name` makes has {bytes} bytes, and this pubsub takes {max}")]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// The longest that there may be.
        max: usize,
    },
    /// The number of shards.
    #[error("`pool_size` is {0}, it must be 1 to {MAX_POOL_SIZE}")]
    PoolSize(usize),
    /// Too little time to collect changes.
    #[error("`broadcast_period` must be at least {MIN_BROADCAST_PERIOD:?}")]
    BroadcastPeriod,
    /// Vectors more often than changes are of no use.
    #[error("`vector_period` must be at least twice `broadcast_period`")]
    VectorPeriod,
    /// Absent nodes would be forgotten before they can be missed, or not in the life of a process.
    #[error("`permdown_period` must be longer than `vector_period`, and at most 365 days")]
    PermdownPeriod,
    /// The log is too small to be of use.
    #[error("`log_bytes` is {0}, it must be at least {MIN_LOG_BYTES}")]
    LogBytes(usize),
    /// The queue for other nodes' messages is too small to be of use.
    #[error("`inbox_bytes` is {0}, it must be at least {MIN_INBOX_BYTES}")]
    InboxBytes(usize),
    /// A queue without room.
    #[error("`inbox_messages` and `consumer_diffs` must be at least 1")]
    EmptyQueue,
}

/// A value that was not tracked. Nothing changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrackError {
    /// This owner already tracks something under this topic and key: update it, or untrack it first.
    #[error("this owner already tracks this topic and key, as {reference}")]
    AlreadyTracked {
        /// What is tracked there.
        reference: PresenceRef,
    },
    /// The topic's name is too long: take a shorter one.
    #[error("the topic has {bytes} bytes, more than {max}", max = TopicName::MAX_BYTES)]
    TopicTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The key is too long: take a shorter one.
    #[error("the key has {bytes} bytes, more than {max}", max = crate::Tracker::MAX_KEY_BYTES)]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The value is too large to be copied to every node: track where it can be found.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The owner is dead: whatever it tracks would end at once.
    #[error(transparent)]
    OwnerDead(#[from] OwnerDead),
    /// The tracker was closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// A value that was not updated. What was tracked stays.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// This owner tracks nothing under this topic and key, or the guard stands for something that has ended: track it.
    #[error("this owner tracks nothing under this topic and key")]
    NoPresence,
    /// Only other nodes track this key. Each entry is changed on its own node only: do it there.
    #[error("this is tracked on node {node}, and changed only there")]
    NotOwner {
        /// A node that tracks it.
        node: NodeName,
    },
    /// The value cannot be read or written, or is too large.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The tracker was closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Something that was not untracked. It stays as it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UntrackError {
    /// Only other nodes track this key. Each entry is changed on its own node only: do it there.
    #[error("this is tracked on node {node}, and changed only there")]
    NotOwner {
        /// A node that tracks it.
        node: NodeName,
    },
    /// The tracker was closed, so nothing is tracked any more.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// The tracker was closed: all its entries have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the tracker is closed")]
pub struct Closed;

/// A value that cannot be what it should be. Made by encoding, decoding or measuring it.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct MetaError(#[from] MetaFault);

#[derive(Debug, Error)]
enum MetaFault {
    #[error("the value cannot be encoded")]
    Encode(#[source] rmp_serde::encode::Error),
    #[error("the tracked bytes are not a value of this type")]
    Decode(#[source] rmp_serde::decode::Error),
    #[error("the value has {0} bytes, more than {max}", max = crate::Tracker::MAX_META_BYTES)]
    TooLarge(usize),
}

impl MetaError {
    pub(crate) fn encode(source: rmp_serde::encode::Error) -> Self {
        Self(MetaFault::Encode(source))
    }

    pub(crate) fn decode(source: rmp_serde::decode::Error) -> Self {
        Self(MetaFault::Decode(source))
    }

    pub(crate) fn too_large(bytes: usize) -> Self {
        Self(MetaFault::TooLarge(bytes))
    }
}
