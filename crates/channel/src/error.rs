//! What can go wrong on the way out, by operation.

use thiserror::Error;

use crate::pubsub;
use crate::transport::{EncodeError, JsonError};

/// A value that cannot be the payload of a push or a broadcast. Nothing was sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Its `Serialize` refused, or it has no JSON form: a bug in the type.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Official clients do not survive anything but an object (or bytes) here. Wrap the value in a struct.
    #[error(
        "the payload of a push or broadcast must be a JSON object or bytes: wrap it in a struct or a map"
    )]
    NotAnObject,
}

/// A message for this client only that was not sent. The channel is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PushError {
    /// The value cannot be a payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// This client's version of the wire cannot carry it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The channel has ended, or its connection: only a [`Pusher`](crate::Pusher) finds out.
    #[error("the channel has ended")]
    Ended,
}

/// A broadcast that reached nobody.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The value cannot be a payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The event's name is over [`Broadcast::MAX_EVENT_BYTES`](crate::Broadcast::MAX_EVENT_BYTES).
    #[error("the event's name has {bytes} bytes, more than {max}", max = crate::Broadcast::MAX_EVENT_BYTES)]
    EventTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The layer beneath refused it.
    #[error(transparent)]
    PubSub(#[from] pubsub::BroadcastError),
}

/// A message that did not get into a channel's inbox; it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The inbox is full: the channel is slower than its messages. Send again later, or less.
    #[error(
        "the channel's inbox is full (SocketsConfig::inbox_messages, inbox_bytes): send again later, or less"
    )]
    Full,
    /// The channel has ended.
    #[error("the channel has ended")]
    Ended,
}
