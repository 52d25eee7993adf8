//! Pushes from outside a channel's callbacks.

use bytestring::ByteString;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

use crate::channel_type::{ChannelType, within};
use crate::inbox::InboxSender;
use crate::link::{Link, Mail};
use crate::multiplexer::InstanceId;
use crate::pubsub::mailbox::Pushed;
use crate::transport::{Field, Frame, Outbox, Payload, ServerMessage, WhenSlow};
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
    /// Sends an event to the client, as [`Socket::push`](crate::Socket::push) does: it never waits, and a client that reads too slowly is
    /// closed for it unless the event may be lost. A task that has much for one client uses [`push_when_room`](Self::push_when_room).
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
        let (frame, when_slow) = self.prepare(event.into(), payload.into())?;
        let outbox = &self.link.outbox;
        // Nothing of the user's runs in here.
        let pushed = self
            .inbox
            .unless_told(|| outbox.frame_when_slow(frame, when_slow));
        unless_ended(pushed)
    }

    /// As [`push`](Self::push), once at most half of the client's outbox is taken: for a task that has more for one client than its network
    /// takes at once, such as a file in pieces. A client that keeps reading, however slowly, is not closed for it.
    ///
    /// Whoever waits learns of the channel's end when the client has read enough, or the connection has ended too.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// # Cancel safety
    /// Safe: if the future is dropped before it is ready, nothing was sent.
    pub async fn push_when_room<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<(), PushError> {
        let payload = payload::of_event(value)?;
        self.push_payload_when_room(event, payload).await
    }

    /// As [`push_when_room`](Self::push_when_room), with a ready payload: a JSON object or bytes.
    ///
    /// # Errors
    /// As [`push_payload`](Self::push_payload).
    ///
    /// # Cancel safety
    /// As [`push_when_room`](Self::push_when_room).
    pub async fn push_payload_when_room(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<(), PushError> {
        let (event, payload) = (event.into(), payload::checked(payload.into())?);
        loop {
            self.link.outbox.room().await;
            let (frame, when_slow) = self.prepare(event.clone(), payload.clone())?;
            let outbox = &self.link.outbox;
            let put = self
                .inbox
                .unless_told(|| put_if_room(outbox, frame, when_slow));
            match put {
                None => return Err(PushError::Ended),
                Some(None) => {}
                Some(pushed) => return unless_ended(pushed),
            }
        }
    }

    fn prepare(&self, event: ByteString, payload: Payload) -> Result<(Frame, WhenSlow), PushError> {
        let (topic, join_ref) = (&self.topic, self.join_ref.clone());
        self.link
            .prepare(topic, join_ref, self.join, event, payload)
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

    /// As [`push`](Self::push), unless there is no room for it. Tells whether there was.
    pub(crate) fn push_if_room(
        &self,
        topic: &ByteString,
        join_ref: Option<Field>,
        join: Join,
        event: ByteString,
        payload: Payload,
    ) -> Result<bool, PushError> {
        let (frame, when_slow) = self.prepare(topic, join_ref, join, event, payload)?;
        Ok(put_if_room(&self.outbox, frame, when_slow).is_some())
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

/// Puts a frame where there is room for it. One that may be lost closes no connection, and takes the place of an older one.
fn put_if_room(outbox: &Outbox<Mail>, frame: Frame, when_slow: WhenSlow) -> Option<Pushed> {
    match when_slow {
        WhenSlow::Close => outbox.frame_if_room(frame).ok(),
        when_slow => Some(outbox.frame_when_slow(frame, when_slow)),
    }
}

/// What became of a push; nothing, if the channel had ended.
fn unless_ended(pushed: Option<Pushed>) -> Result<(), PushError> {
    match pushed {
        None | Some(Pushed::Closed) => Err(PushError::Ended),
        Some(Pushed::Queued | Pushed::Dropped) => Ok(()),
    }
}
