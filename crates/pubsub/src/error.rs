//! What can go wrong, by operation.

use std::error::Error as StdError;
use std::fmt;

use matryoshka_registry::OwnerDead;
use thiserror::Error;

use crate::limits::TooLarge;
use crate::mailbox::ZeroBound;
use crate::{Kind, NodeName, Payload};

/// A broadcast that reached nobody: not this node's subscribers, and no other node.
#[derive(Debug, Error)]
pub enum BroadcastError {
    /// The topic's name is over the limit of this pubsub: take a shorter one, or another limit
    /// ([`Limits`](crate::Limits)).
    #[error("the topic has {bytes} bytes, more than {max}")]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// The longest there may be.
        max: usize,
    },
    /// The payload is over [`Payload::MAX_BYTES`]: send it in parts, or send where it can be fetched.
    #[error("the payload has {bytes} bytes, more than {max}", max = Payload::MAX_BYTES)]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The value of a typed topic cannot be encoded: its `Serialize` refused.
    #[error("the value cannot be encoded")]
    Encode(#[source] rmp_serde::encode::Error),
    /// The adapter refused it as a whole. A slow or absent peer is no reason for that.
    #[error("the adapter refused the broadcast")]
    Adapter(#[source] AdapterError),
}

/// A message to one node that did not go out.
#[derive(Debug, Error)]
pub enum DirectError {
    /// As [`BroadcastError::TopicTooLong`].
    #[error("the topic has {bytes} bytes, more than {max}")]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// The longest there may be.
        max: usize,
    },
    /// As [`BroadcastError::PayloadTooLarge`].
    #[error("the payload has {bytes} bytes, more than {max}", max = Payload::MAX_BYTES)]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// No node of that name has been seen, or it has been forgotten.
    #[error("there is no node {0}")]
    NoSuchNode(NodeName),
    /// The node is known, but there is no link to it now: wait for its `Up`.
    #[error("node {0} is not up")]
    NotUp(NodeName),
    /// The queue to that node is full and the message was dropped: the node is slow, send less or later.
    #[error("the queue to node {0} is full")]
    QueueFull(NodeName),
    /// The adapter refused it.
    #[error("the adapter refused the message")]
    Adapter(#[source] AdapterError),
}

/// A subscription that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubscribeError {
    /// As [`BroadcastError::TopicTooLong`].
    #[error("the topic has {bytes} bytes, more than {max}")]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// The longest there may be.
        max: usize,
    },
    /// No message would ever get through.
    #[error(transparent)]
    ZeroBound(#[from] ZeroBound),
    /// The publisher whose subscription it was to be has been ended
    /// ([`Owner::end`](matryoshka_registry::Owner::end)): subscribe with another one.
    #[error(transparent)]
    OwnerDead(#[from] OwnerDead),
}

impl From<TooLarge> for BroadcastError {
    fn from(large: TooLarge) -> Self {
        match large {
            TooLarge::Topic { bytes, max } => Self::TopicTooLong { bytes, max },
            TooLarge::Payload { bytes } => Self::PayloadTooLarge { bytes },
        }
    }
}

impl From<TooLarge> for DirectError {
    fn from(large: TooLarge) -> Self {
        match large {
            TooLarge::Topic { bytes, max } => Self::TopicTooLong { bytes, max },
            TooLarge::Payload { bytes } => Self::PayloadTooLarge { bytes },
        }
    }
}

/// The kind has a dispatcher of another type, or is built in. Nothing changed: take another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("kind {kind} has another dispatcher already")]
pub struct KindTaken {
    /// The kind asked for.
    pub kind: Kind,
}

/// Why an adapter refused; of the adapter's own type, found by [`source`](std::error::Error::source).
pub struct AdapterError(Box<dyn StdError + Send + Sync>);

impl AdapterError {
    /// Wraps an adapter's own error.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for AdapterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
