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
#[non_exhaustive]
pub enum BroadcastError {
    /// The topic's name is over the limit of this pubsub: take a shorter one, or another limit
    /// ([`Limits`](crate::Limits)).
    #[error(
        "the topic has {bytes} bytes, and at most {max} are allowed here: take a shorter name, or other `Limits`"
    )]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// The longest there may be.
        max: usize,
    },
    /// The payload is over [`Payload::MAX_BYTES`]: send it in parts, or send where it can be fetched.
    #[error(
        "the payload has {bytes} bytes, and at most {max} are allowed: send it in parts, or send where it can be fetched",
        max = Payload::MAX_BYTES
    )]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The value of a typed topic cannot be encoded: its `Serialize` refused.
    #[error("the value cannot be encoded as MessagePack, and nothing was sent")]
    Encode(#[source] rmp_serde::encode::Error),
    /// The adapter refused it as a whole. A slow or absent peer is no reason for that.
    #[error("the adapter refused the broadcast, and it reached nobody")]
    Adapter(#[source] AdapterError),
}

/// A message to one node that did not go out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DirectError {
    /// As [`BroadcastError::TopicTooLong`].
    #[error(
        "the topic has {bytes} bytes, and at most {max} are allowed here: take a shorter name, or other `Limits`"
    )]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// The longest there may be.
        max: usize,
    },
    /// As [`BroadcastError::PayloadTooLarge`].
    #[error(
        "the payload has {bytes} bytes, and at most {max} are allowed: send it in parts, or send where it can be fetched",
        max = Payload::MAX_BYTES
    )]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// No node of that name has been seen, or it has been forgotten.
    #[error("there is no node {0}: none of that name was seen, or it was forgotten")]
    NoSuchNode(NodeName),
    /// The node is known, but there is no link to it now: wait for its `Up`.
    #[error("node {0} is not up: wait until it is")]
    NotUp(NodeName),
    /// The queue to that node is full and the message was dropped: the node is slow, send less or later.
    #[error("the queue to node {0} is full and the message was dropped: send less, or later")]
    QueueFull(NodeName),
    /// The adapter refused it.
    #[error("the adapter refused the message, and it was not sent")]
    Adapter(#[source] AdapterError),
}

/// A subscription that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// As [`BroadcastError::TopicTooLong`].
    #[error(
        "the topic has {bytes} bytes, and at most {max} are allowed here: take a shorter name, or other `Limits`"
    )]
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
#[error("kind {kind} is built in or has a dispatcher of another type: take another kind")]
pub struct KindTaken {
    /// The kind asked for.
    pub kind: Kind,
}

/// Why an adapter refused. It says and has what the adapter's own error says and has, which is [`inner`](Self::inner).
pub struct AdapterError(Box<dyn StdError + Send + Sync>);

impl AdapterError {
    /// Wraps an adapter's own error.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// The adapter's own error, whose type `downcast_ref` tells.
    pub fn inner(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
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

/// It stands for the adapter's own error, so that a report of all causes tells each once.
impl StdError for AdapterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
