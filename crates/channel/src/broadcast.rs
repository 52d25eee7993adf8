//! One event for everyone on a topic: making, sending, and its form between nodes.
//!
//! The form is one byte version (1), one byte for what the payload is (0 JSON, 1 bytes), two bytes length of the
//! event's name (big-endian), the name, the payload. A receiver slices name and payload out of what came.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::order::Order;
use crate::pubsub::{Kind, Message, Payload as Envelope, PubSub, Publisher, Sent, TopicName};
use crate::transport::{Field, Json, JsonError, Payload, ServerMessage};
use crate::{BroadcastError, payload, wire};

/// The kind that marks a pubsub message as a [`Broadcast`].
pub const KIND: Kind = Kind(2);

const VERSION: u8 = 1;
const JSON: u8 = 0;
const BINARY: u8 = 1;
const HEADER_BYTES: usize = 4;

/// One event for everyone on a topic. Cloning shares its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    topic: TopicName,
    event: ByteString,
    payload: Payload,
}

impl Broadcast {
    /// Longest name of an event, in bytes. Clients that are sent *bytes* know names up to 255 only.
    pub const MAX_EVENT_BYTES: usize = u16::MAX as usize;

    /// An event whose payload is `value` as a JSON object; a value without content, such as `()`, becomes `{}`.
    ///
    /// # Errors
    /// [`BroadcastError`] if the value is no object or the event's name is too long.
    pub fn new<T: Serialize + ?Sized>(
        topic: impl Into<TopicName>,
        event: impl Into<ByteString>,
        value: &T,
    ) -> Result<Self, BroadcastError> {
        Self::with_payload(topic, event, payload::of_event(value)?)
    }

    /// An event with a ready payload: a JSON object or bytes.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_payload(
        topic: impl Into<TopicName>,
        event: impl Into<ByteString>,
        payload: impl Into<Payload>,
    ) -> Result<Self, BroadcastError> {
        let (topic, event) = (topic.into(), event.into());
        let payload = payload::checked(payload.into())?;
        match event.len() {
            0..=Self::MAX_EVENT_BYTES => Ok(Self {
                topic,
                event,
                payload,
            }),
            bytes => Err(BroadcastError::EventTooLong { bytes }),
        }
    }

    /// The topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The event's name.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// What it carries.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The payload read into a type.
    ///
    /// # Errors
    /// [`JsonError::Shape`] if it has another shape, as bytes always have.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        match &self.payload {
            Payload::Json(json) => json.to(),
            Payload::Binary(_) => Err(JsonError::Shape(serde::de::Error::custom(
                "bytes instead of JSON",
            ))),
        }
    }

    /// Sends it to all subscribers of its topic, on every node.
    ///
    /// # Errors
    /// [`BroadcastError`] if nobody got it. A topic without subscribers is no error.
    pub fn send(&self, pubsub: &PubSub) -> Result<Sent, BroadcastError> {
        Ok(pubsub.broadcast(&self.topic, self.to_envelope())?)
    }

    /// As [`send`](Self::send), but not to this publisher's own subscriptions, and in its order.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_from(&self, publisher: &Publisher) -> Result<Sent, BroadcastError> {
        Ok(publisher.broadcast_from(&self.topic, self.to_envelope())?)
    }

    /// As [`send`](Self::send), for huge topics: after every few hundred subscribers the task gives way to others. When it is
    /// ready, all of this node have it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Safe: it begins when first polled, and once begun it completes. Dropped meanwhile, the drop delivers what is left.
    pub async fn send_yielding(&self, pubsub: &PubSub) -> Result<Sent, BroadcastError> {
        let sending = pubsub.broadcast_yielding(&self.topic, self.to_envelope());
        Ok(sending.await?)
    }

    /// Sends it to the subscribers of its topic on this node.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_local(&self, pubsub: &PubSub) -> Result<Sent, BroadcastError> {
        Ok(pubsub.local_broadcast(&self.topic, self.to_envelope())?)
    }

    /// As [`send_local`](Self::send_local), but not to this publisher's own subscriptions, and in its order.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_local_from(&self, publisher: &Publisher) -> Result<Sent, BroadcastError> {
        Ok(publisher.local_broadcast_from(&self.topic, self.to_envelope())?)
    }

    /// Reads a message that a subscription of the layer beneath delivered. `None` if it is of another [`Kind`].
    ///
    /// # Errors
    /// [`MalformedBroadcast`] if it is of this kind but not of this form.
    pub fn from_message(message: &Message) -> Option<Result<Self, MalformedBroadcast>> {
        (message.kind() == KIND).then(|| Self::decode(message.topic().clone(), message.payload()))
    }

    /// Sends it to those sockets with this id, on every node, that have joined its topic, and to nobody else: a push to all
    /// of a user's devices. It does not pass through `handle_out`.
    ///
    /// [`Sent::local`] counts this node's sockets with the id, whatever they have joined.
    ///
    /// # Errors
    /// [`BroadcastError`] if nobody got it. An id that no socket has is no error.
    pub fn send_to(
        &self,
        pubsub: &PubSub,
        socket_id: impl Into<TopicName>,
    ) -> Result<Sent, BroadcastError> {
        let order = Order::Push(self.clone()).to_envelope()?;
        Ok(pubsub.broadcast(socket_id, order)?)
    }

    /// As a push for one join of its topic.
    pub(crate) fn to_push(&self, join_ref: Option<Field>) -> ServerMessage {
        ServerMessage::Push {
            join_ref,
            reference: None,
            topic: Field::Text(self.topic.as_byte_string().clone()),
            event: self.event.clone(),
            payload: self.payload.clone(),
        }
    }

    pub(crate) fn event_text(&self) -> &ByteString {
        &self.event
    }

    /// Reads its form between nodes.
    pub(crate) fn decode(topic: TopicName, wire: &Bytes) -> Result<Broadcast, MalformedBroadcast> {
        let truncated = MalformedBroadcast::Truncated { bytes: wire.len() };
        let &[version, payload_type, high, low, ..] = &wire[..] else {
            return Err(truncated);
        };
        let event_end = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
        if wire.len() < event_end {
            return Err(truncated);
        }
        let event = text(wire.slice(HEADER_BYTES..event_end))?;
        let content = wire.slice(event_end..);
        let payload = match (version, payload_type) {
            (VERSION, JSON) => Json::parse(text(content)?)
                .map_err(|_| MalformedBroadcast::NotText)?
                .into(),
            (VERSION, BINARY) => Payload::Binary(content),
            _ => {
                return Err(MalformedBroadcast::Unknown {
                    version,
                    payload_type,
                });
            }
        };
        Ok(Broadcast {
            topic,
            event,
            payload,
        })
    }

    /// Its form between nodes.
    pub(crate) fn to_envelope(&self) -> Envelope {
        let (kind, content) = match &self.payload {
            Payload::Json(json) => (JSON, json.as_str().as_bytes()),
            Payload::Binary(bytes) => (BINARY, &bytes[..]),
        };
        let event = self.event.as_bytes();
        let event_bytes = u16::try_from(event.len()).expect("the constructor checked it");
        let mut wire = BytesMut::with_capacity(HEADER_BYTES + event.len() + content.len());
        wire.put_u8(VERSION);
        wire.put_u8(kind);
        wire.put_u16(event_bytes);
        wire.put_slice(event);
        wire.put_slice(content);
        Envelope::new(KIND, wire.freeze())
    }
}

/// Broadcasts `value` from outside any channel, to every node. A shorthand for [`Broadcast::new`] and
/// [`Broadcast::send`].
///
/// # Errors
/// [`BroadcastError`] if nobody got it. A topic without subscribers is no error.
pub fn broadcast<T: Serialize + ?Sized>(
    pubsub: &PubSub,
    topic: impl Into<TopicName>,
    event: impl Into<ByteString>,
    value: &T,
) -> Result<Sent, BroadcastError> {
    Broadcast::new(topic, event, value)?.send(pubsub)
}

/// As [`broadcast`], for the subscribers on this node only.
///
/// # Errors
/// As [`broadcast`].
pub fn local_broadcast<T: Serialize + ?Sized>(
    pubsub: &PubSub,
    topic: impl Into<TopicName>,
    event: impl Into<ByteString>,
    value: &T,
) -> Result<Sent, BroadcastError> {
    Broadcast::new(topic, event, value)?.send_local(pubsub)
}

/// Closes every socket with this id, on every node, with 1001: their clients may come back.
///
/// # Errors
/// As [`broadcast`]. An id that no socket has is no error.
pub fn disconnect(
    pubsub: &PubSub,
    socket_id: impl Into<TopicName>,
) -> Result<Sent, BroadcastError> {
    broadcast(pubsub, socket_id, wire::DISCONNECT, &())
}

/// Closes the channels of this topic on every socket with this id, on every node, and leaves the sockets and their other channels
/// alone. Their clients get `phx_close` and do not come back by themselves; what keeps them from joining again is the rule in
/// `join`. To tell them why, send an event before ([`Broadcast::send_to`]).
///
/// A channel ends once the callback in progress has returned, ahead of what waits in its inbox, and its `terminate` is told
/// [`Terminated::Kicked`](crate::Terminated::Kicked). What its join put off ([`Socket::after_join`](crate::Socket::after_join)) is dropped
/// where it waits. A client cannot put that off by not reading, as [`Socket::room`](crate::Socket::room) waits no longer either; it gets
/// `phx_close` once it reads, after all that was sent to it before.
///
/// # Errors
/// As [`broadcast`]. An id that no socket has, or a topic that none of them has joined, is no error.
pub fn close_channel(
    pubsub: &PubSub,
    socket_id: impl Into<TopicName>,
    topic: impl Into<TopicName>,
) -> Result<Sent, BroadcastError> {
    let order = Order::CloseChannel(topic.into().into()).to_envelope()?;
    Ok(pubsub.broadcast(socket_id, order)?)
}

/// A message that says it is a broadcast, and is not; only a foreign or newer publisher sends such. Drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedBroadcast {
    /// It ends too early.
    #[error("a broadcast of {bytes} bytes is shorter than its header says")]
    Truncated {
        /// Its length.
        bytes: usize,
    },
    /// It is of a form that this version does not know.
    #[error("broadcast of unknown version {version} or payload type {payload_type}")]
    Unknown {
        /// Its version.
        version: u8,
        /// Its payload's type.
        payload_type: u8,
    },
    /// The event's name is not UTF-8, or the JSON is none.
    #[error("a broadcast with text that is not UTF-8 or not JSON")]
    NotText,
}

fn text(bytes: Bytes) -> Result<ByteString, MalformedBroadcast> {
    ByteString::try_from(bytes).map_err(|_| MalformedBroadcast::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(broadcast: &Broadcast) -> Broadcast {
        let envelope = broadcast.to_envelope();
        assert_eq!(envelope.kind(), KIND);
        Broadcast::decode(broadcast.topic.clone(), envelope.bytes()).unwrap()
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let json = Broadcast::new(
            "room:1",
            "new_msg",
            &["a"]
                .map(|a| (a, "é"))
                .into_iter()
                .collect::<std::collections::BTreeMap<_, _>>(),
        )
        .unwrap();
        assert_eq!(
            json.payload(),
            &Payload::from(Json::parse(r#"{"a":"é"}"#).unwrap())
        );
        assert_eq!(round_trip(&json), json);
        let bytes = Broadcast::with_payload("t", "", Bytes::from_static(&[0, 255])).unwrap();
        assert_eq!(round_trip(&bytes), bytes);
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let broadcast = Broadcast::with_payload("t", "up", Bytes::from_static(&[7])).unwrap();
        assert_eq!(
            &broadcast.to_envelope().bytes()[..],
            &[1, 1, 0, 2, b'u', b'p', 7]
        );
        let broadcast = Broadcast::new("t", "up", &()).unwrap();
        assert_eq!(
            &broadcast.to_envelope().bytes()[..],
            b"\x01\x00\x00\x02up{}"
        );
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        let decode =
            |bytes: &'static [u8]| Broadcast::decode("t".into(), &Bytes::from_static(bytes));
        assert_eq!(decode(&[]), Err(MalformedBroadcast::Truncated { bytes: 0 }));
        assert_eq!(
            decode(&[1, 1, 0, 1]),
            Err(MalformedBroadcast::Truncated { bytes: 4 })
        );
        assert!(matches!(
            decode(&[2, 0, 0, 0]),
            Err(MalformedBroadcast::Unknown { .. })
        ));
        assert!(matches!(
            decode(&[1, 2, 0, 0]),
            Err(MalformedBroadcast::Unknown { .. })
        ));
        assert_eq!(
            decode(&[1, 0, 0, 0, b'{']),
            Err(MalformedBroadcast::NotText)
        );
        assert_eq!(
            decode(&[1, 0, 0, 1, 0xff, b'1']),
            Err(MalformedBroadcast::NotText)
        );
    }

    #[test]
    fn only_objects_and_bytes_can_be_broadcast() {
        assert!(matches!(
            Broadcast::new("t", "e", "text"),
            Err(BroadcastError::Payload(crate::PayloadError::NotAnObject))
        ));
        assert!(Broadcast::new("t", "e", &()).is_ok());
        let long = "e".repeat(Broadcast::MAX_EVENT_BYTES + 1);
        assert!(matches!(
            Broadcast::new("t", long, &()),
            Err(BroadcastError::EventTooLong { .. })
        ));
    }
}
