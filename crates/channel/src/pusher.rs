//! Pushes from outside a channel's callbacks.

use bytestring::ByteString;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

use crate::channel_type::{ChannelType, within};
use crate::inbox::InboxSender;
use crate::link::Link;
use crate::multiplexer::InstanceId;
use crate::pubsub::mailbox::Pushed;
use crate::transport::{Field, Frame, Payload, ServerMessage, WhenSlow};
use crate::{PushError, payload};

/// The way to one channel's client from any task; made by [`Socket::pusher`](crate::Socket::pusher). Clones lead to the same
/// client.
///
/// It does not keep the channel alive, and pushes nothing once the client is told of its end. What is pushed by several tasks has no order;
/// what one pushes arrives in its order.
#[derive(Clone)]
pub struct Pusher {
    pub(crate) link: Arc<Link>,
    pub(crate) topic: ByteString,
    pub(crate) join_ref: Option<Field>,
    pub(crate) join: Join,
    /// Knows of the channel's end.
    pub(crate) inbox: InboxSender,
}

impl Pusher {
    /// Sends an event to the client, as [`Socket::push`](crate::Socket::push) does.
    ///
    /// # Errors
    /// [`PushError`] if the value is no object, or the channel has ended. Nothing was sent.
    pub fn push<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<(), PushError> {
        self.push_payload(event, payload::of_event(value)?)
    }

    /// As [`push`](Self::push), with a ready payload: a JSON object or bytes.
    ///
    /// # Errors
    /// As [`push`](Self::push); also bytes for a client whose version of the wire carries none.
    pub fn push_payload(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<(), PushError> {
        let (topic, join_ref) = (&self.topic, self.join_ref.clone());
        let (event, payload) = (event.into(), payload.into());
        let (frame, when_slow) = self
            .link
            .prepare(topic, join_ref, self.join, event, payload)?;
        let outbox = &self.link.outbox;
        // Nothing of the user's runs in here.
        let pushed = self
            .inbox
            .unless_told(|| outbox.frame_when_slow(frame, when_slow));
        match pushed {
            None | Some(Pushed::Closed) => Err(PushError::Ended),
            Some(Pushed::Queued | Pushed::Dropped) => Ok(()),
        }
    }
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher")
            .field("link", &self.link)
            .field("topic", &self.topic)
            .field("join_ref", &self.join_ref)
            .finish_non_exhaustive()
    }
}

/// Which join a push is of, and what type of channel serves it.
#[derive(Clone, Copy)]
pub(crate) struct Join {
    pub(crate) id: InstanceId,
    pub(crate) channel_type: &'static ChannelType,
}

impl Link {
    /// Pushes to this connection's client, on behalf of one join.
    pub(crate) fn push(
        &self,
        topic: &ByteString,
        join_ref: Option<Field>,
        join: Join,
        event: ByteString,
        payload: Payload,
    ) -> Result<(), PushError> {
        let (frame, when_slow) = self.prepare(topic, join_ref, join, event, payload)?;
        self.outbox.frame_when_slow(frame, when_slow);
        Ok(())
    }

    fn prepare(
        &self,
        topic: &ByteString,
        join_ref: Option<Field>,
        join: Join,
        event: ByteString,
        payload: Payload,
    ) -> Result<(Frame, WhenSlow), PushError> {
        let payload = payload::checked(payload)?;
        let lines = &self.counters.lines;
        let when_slow = join.channel_type.when_slow(topic, &event, &payload, lines);
        let message = ServerMessage::Push {
            join_ref,
            reference: None,
            topic: Field::Text(topic.clone()),
            event,
            payload,
        };
        let frame = self.serializer.encode(&message)?;
        Ok((frame, within(when_slow, join.id)))
    }
}
