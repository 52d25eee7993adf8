//! What a channel sends to everyone on its topic.

use bytestring::ByteString;
use serde::Serialize;

use super::Socket;
use crate::pubsub::{Payload as Envelope, Sent, TopicName};
use crate::transport::Payload;
use crate::{Broadcast, BroadcastError, payload};

impl Socket {
    /// Sends an event to everyone on this channel's topic, on every node, this client included.
    ///
    /// # Errors
    /// [`BroadcastError`] if nobody got it.
    ///
    /// # Panics
    /// In `join`: see [`after_join`](Self::after_join).
    pub fn broadcast<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        self.broadcast_payload(event, payload::of_event(value)?)
    }

    /// As [`broadcast`](Self::broadcast), with a ready payload: a JSON object or bytes. Clients whose version of the wire
    /// carries no bytes are passed over.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_payload(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload)?;
        Ok(self.publisher.broadcast(topic, envelope)?)
    }

    /// As [`broadcast`](Self::broadcast), but not to this channel's client. Other connections of the same user get it.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_from<T: Serialize + ?Sized>(
        &self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        self.broadcast_payload_from(event, payload::of_event(value)?)
    }

    /// As [`broadcast_from`](Self::broadcast_from), with a ready payload: a JSON object or bytes.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_payload_from(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload)?;
        Ok(self.publisher.broadcast_from(topic, envelope)?)
    }

    /// As [`broadcast`](Self::broadcast), for huge topics: after every few hundred subscribers the task gives way to others.
    /// When it is ready, all of this node have it.
    ///
    /// The socket is borrowed meanwhile, so that nothing it sends can overtake this.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Cancel safety
    /// Safe: it begins when first polled, and once begun it completes. Dropped meanwhile, the drop delivers what is left.
    pub async fn broadcast_yielding<T: Serialize + ?Sized>(
        &mut self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload::of_event(value)?)?;
        let sending = self.publisher.broadcast_yielding(topic, envelope);
        Ok(sending.await?)
    }

    /// As [`broadcast_from`](Self::broadcast_from), in the way of [`broadcast_yielding`](Self::broadcast_yielding).
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Cancel safety
    /// As [`broadcast_yielding`](Self::broadcast_yielding).
    pub async fn broadcast_from_yielding<T: Serialize + ?Sized>(
        &mut self,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Sent, BroadcastError> {
        let (topic, envelope) = self.envelope(event, payload::of_event(value)?)?;
        let sending = self.publisher.broadcast_from_yielding(topic, envelope);
        Ok(sending.await?)
    }

    /// An event for this channel's topic, ready for the publisher.
    fn envelope(
        &self,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<(TopicName, Envelope), BroadcastError> {
        self.expect_joined("broadcast");
        let broadcast = Broadcast::with_payload(&self.topic, event, payload)?;
        Ok((self.topic.clone(), broadcast.to_envelope()))
    }
}
