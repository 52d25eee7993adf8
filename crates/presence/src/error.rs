//! What can go wrong, by operation.

use std::time::Duration;

use matryoshka_channel::{Flow, PushError, Refused};
use matryoshka_tracker::{Closed, TrackError, TrackerError, UpdateError};
use thiserror::Error;

use crate::extras::MAX_EXTRA_BYTES;

/// Why a value cannot be a meta or be fetched for a key, or cannot be read as that type. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetaError {
    /// It has no JSON form, such as a map whose keys are not strings.
    #[error("it cannot be written as JSON: {0}")]
    Write(#[source] serde_json::Error),
    /// Clients look for `phx_ref` in each meta, so it must be a JSON object: a struct or a map, or `()` for none.
    #[error("it must be a JSON object (a struct, a map, or () for an empty one)")]
    NotAnObject,
    /// It nests too deep for a diff: 116 levels are the most for a meta, 118 for what a [`Fetch`](crate::Fetch) gives.
    #[error(
        "it nests too deep for a diff: a meta may have 116 levels, what is fetched for a key 118"
    )]
    TooDeep,
    /// What a [`Fetch`](crate::Fetch) adds to one key is too large to be told with it.
    #[error("what is added to one key has {bytes} bytes, more than {MAX_EXTRA_BYTES}")]
    TooLarge {
        /// Its length as JSON.
        bytes: usize,
    },
    /// It does not have the shape that was asked for.
    #[error("it has another shape: {0}")]
    Shape(#[source] serde_json::Error),
}

/// Why somebody was not put on a list. The list is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// The meta is none: give a struct or a map.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// No client can be subscribed to that topic, so nobody could be told: take a shorter name, or give the pubsub another limit.
    #[error("the topic has {bytes} bytes, more than this node's pubsub takes: {max}")]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// What the pubsub takes, by its [limits](matryoshka_channel::pubsub::PubSub::limits).
        max: usize,
    },
    /// The tracker refused it.
    #[error(transparent)]
    Track(#[from] TrackError),
}

/// Why a meta was not replaced. The list is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PresenceUpdateError {
    /// The meta is none: give a struct or a map.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The tracker refused it: most often nobody is tracked under that topic, key and owner.
    #[error(transparent)]
    Update(#[from] UpdateError),
}

/// Why a client was not pushed a list, or not all that follows it where it had joined before. It is to join again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PushStateError {
    /// The presence has ended with its tracker, as when a node shuts down: there is no list. The client is to join again, on another
    /// node.
    #[error("there is no list: {0}")]
    Closed(#[from] Closed),
    /// The client cannot be sent it.
    #[error(transparent)]
    Push(#[from] PushError),
}

/// It ends the channel with an error, and the client joins again.
impl From<PushStateError> for Flow {
    fn from(error: PushStateError) -> Self {
        Self::Fail(error.to_string())
    }
}

/// Why a presence could not start. Nothing was started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The tracker beneath could not: for example its name is in use in this pubsub.
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    /// The pattern of some topics is none: one topic, or the beginning of several with a `*` after it.
    #[error("{0:?} is no pattern of topics: give one topic, or a beginning and then *")]
    Pattern(String),
    /// An event's name is empty, too long, one of the protocol's, or that of another event.
    #[error(
        "{0:?} cannot be an event's name: give three different ones of 1 to 65,535 bytes that do not begin with phx_"
    )]
    EventName(String),
    /// No fetch could ever be under way.
    #[error("at least one fetch at a time must be allowed")]
    NoFetches,
    /// A time is longer than anybody wants to wait.
    #[error("`{setting}` is {time:?}, more than {most:?}", most = crate::PresenceConfig::MAX_TIME)]
    TooLong {
        /// The setting's name.
        setting: &'static str,
        /// What it was set to.
        time: Duration,
    },
}

/// The client is told no more than that it failed; the cause goes to the log.
impl From<PresenceError> for Refused {
    fn from(error: PresenceError) -> Self {
        Self::because("presence failed").logged("its presence could not be tracked", &error)
    }
}
