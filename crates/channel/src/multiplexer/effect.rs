//! What the machine takes in, and what it wants done.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Instant;

use bytestring::ByteString;

use crate::transport::{Field, Payload, ServerMessage};
use crate::wire::reason;

/// One join of one topic on one connection. Never used twice on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InstanceId(pub(super) u64);

/// The refs that tie frames to one join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinRefs {
    /// The `join_ref` as the client sent it; its answer, its close and its error carry this.
    pub(crate) sent: Option<Field>,
    /// What pushes and replies of the channel carry: a join without a `join_ref` lends its `ref`.
    pub(crate) push: Option<Field>,
}

/// A client message on its way to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// An application's event.
    Event {
        /// Its name.
        event: Field,
        /// What its reply carries.
        reference: Option<Field>,
        /// What it carries.
        payload: Payload,
    },
    /// The client leaves the topic.
    Leave {
        /// The refs of the leave as they were sent.
        join_ref: Option<Field>,
        /// What its reply carries.
        reference: Option<Field>,
    },
}

impl Request {
    /// How much of it the client wrote, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let len = |field: &Option<Field>| field.as_ref().map_or(0, Field::len);
        match self {
            Self::Event {
                event,
                reference,
                payload,
            } => event.len() + len(reference) + payload.len(),
            Self::Leave {
                join_ref,
                reference,
            } => len(join_ref) + len(reference),
        }
    }
}

/// What the session has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect<R> {
    /// Write this to the client.
    Send(ServerMessage),
    /// Start a channel.
    Start(Start<R>),
    /// Put a request into the channel's inbox.
    Deliver(InstanceId, Request),
    /// A newer join took the topic while this one is still unanswered: it is to finish its join, and then end.
    Supersede(InstanceId),
    /// A newer join took the topic: this channel ends where it stands, without its terminate hook.
    Abort(InstanceId),
    /// The leave that waits for this channel is waited for no longer: it ends where it stands, and then says its last words.
    Dismiss(InstanceId),
    /// The channel that this join waits for has joined and is about to end: a short while is enough from now on.
    Hasten(InstanceId),
    /// Nothing more is to be sent to this channel.
    Forget(InstanceId),
    /// Say in the log that a join of this topic reached a limit.
    Report(ByteString, Limit),
}

/// What one connection's joins are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinLimits {
    /// How many topics it may have joined.
    pub(crate) max_channels: usize,
    /// How long a topic may be.
    pub(crate) topic_bytes: usize,
}

/// The limit that a join has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// [`JoinLimits::max_channels`].
    Channels,
    /// [`JoinLimits::topic_bytes`].
    TopicBytes,
}

/// A join that was accepted for routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start<R> {
    pub(crate) id: InstanceId,
    pub(crate) topic: ByteString,
    pub(crate) refs: JoinRefs,
    /// The join's own, which its answer carries.
    pub(crate) reference: Option<Field>,
    pub(crate) route: R,
    pub(crate) payload: Payload,
    /// The channel that has to be gone before this one may run, and how long to wait for it.
    pub(crate) after: Option<(InstanceId, Wait)>,
    /// When an earlier join of the topic was told to end, as [`Past::of`] says.
    pub(crate) earlier_ended: Option<Instant>,
}

/// How long a join waits for the channel that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It was told to end where it stands, or its client has left: a short while is enough.
    Ending,
    /// Its own join is still at work, and is waited for as long as it takes. Then as for [`Ending`](Self::Ending).
    Joining,
}

/// How a join was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) response: Payload,
    /// The client is not to try again.
    pub(crate) is_final: bool,
}

impl Refusal {
    pub(crate) fn crashed() -> Self {
        Self {
            response: reason("join crashed"),
            is_final: false,
        }
    }
}

/// How a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it was meant to: the client is not to come back.
    Close,
    /// Abnormally: the client joins again.
    Error,
}
