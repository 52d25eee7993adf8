//! What the rest of the cluster may ask of the sockets of one id, and its form between nodes.
//!
//! An order is published on the id. Its form is one byte version (1), one byte for what it is (0 close a channel, 1 push), two bytes
//! length of the topic it is about (big-endian), the topic; a push goes on with its event, in the form of a [`Broadcast`].
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use crate::pubsub::{BroadcastError, Kind, Message, Payload as Envelope, TopicName};
use crate::{Broadcast, MalformedBroadcast};

/// The kind that marks a pubsub message as an order.
pub(crate) const ORDER: Kind = Kind(8);

const VERSION: u8 = 1;
const CLOSE_CHANNEL: u8 = 0;
const PUSH: u8 = 1;
const HEADER_BYTES: usize = 4;

/// For all sockets of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Ends the channel of this topic.
    CloseChannel(ByteString),
    /// Pushes the event to the client, if it has joined the topic.
    Push(Broadcast),
}

impl Order {
    /// What it holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::CloseChannel(topic) => topic.len(),
            Self::Push(event) => event.payload().len(),
        }
    }

    /// Whether it overtakes what waits for the client, which could put it off by not reading. The end of a channel may: it only
    /// begins there, and what the client is told of it comes after all that was sent before.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(self, Self::CloseChannel(_))
    }

    /// Its form between nodes.
    ///
    /// # Errors
    /// If the topic is longer than any topic may be.
    pub(crate) fn to_envelope(&self) -> Result<Envelope, BroadcastError> {
        let (what, topic, event) = match self {
            Self::CloseChannel(topic) => (CLOSE_CHANNEL, &**topic, None),
            Self::Push(event) => (PUSH, event.topic().as_str(), Some(event.to_envelope())),
        };
        let topic_bytes = u16::try_from(topic.len()).map_err(|_| BroadcastError::TopicTooLong {
            bytes: topic.len(),
            max: TopicName::MAX_BYTES,
        })?;
        let event = event.as_ref().map_or(&[][..], |event| event.bytes());
        let mut wire = BytesMut::with_capacity(HEADER_BYTES + topic.len() + event.len());
        wire.put_u8(VERSION);
        wire.put_u8(what);
        wire.put_u16(topic_bytes);
        wire.put_slice(topic.as_bytes());
        wire.put_slice(event);
        Ok(Envelope::new(ORDER, wire.freeze()))
    }

    /// Reads a message of the kind [`ORDER`].
    pub(crate) fn from_message(message: &Message) -> Result<Self, MalformedBroadcast> {
        let wire = message.payload();
        let truncated = MalformedBroadcast::Truncated { bytes: wire.len() };
        let &[version, what, high, low, ..] = &wire[..] else {
            return Err(truncated);
        };
        let topic_end = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
        if wire.len() < topic_end {
            return Err(truncated);
        }
        let topic = ByteString::try_from(wire.slice(HEADER_BYTES..topic_end))
            .map_err(|_| MalformedBroadcast::NotText)?;
        match (version, what) {
            (VERSION, CLOSE_CHANNEL) => Ok(Self::CloseChannel(topic)),
            (VERSION, PUSH) => {
                Broadcast::decode(topic.into(), &wire.slice(topic_end..)).map(Self::Push)
            }
            _ => Err(MalformedBroadcast::Unknown {
                version,
                payload_type: what,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::pubsub::PubSub;

    /// What a subscriber of another node would read.
    fn sent(envelope: Envelope) -> Result<Order, MalformedBroadcast> {
        let pubsub = PubSub::local();
        let mut id = pubsub.subscribe("id").unwrap();
        pubsub.broadcast("id", envelope).unwrap();
        Order::from_message(&id.try_next().unwrap().unwrap())
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let json = Broadcast::new("room:é", "news", &()).unwrap();
        let bytes = Broadcast::with_payload("t", "", Bytes::from_static(&[0, 255])).unwrap();
        for order in [
            Order::CloseChannel("room:é".into()),
            Order::Push(json),
            Order::Push(bytes),
        ] {
            assert_eq!(sent(order.to_envelope().unwrap()), Ok(order));
        }
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let push = Order::Push(Broadcast::new("t", "up", &()).unwrap());
        let close = Order::CloseChannel("t".into());
        assert_eq!(
            &push.to_envelope().unwrap().bytes()[..],
            b"\x01\x01\x00\x01t\x01\x00\x00\x02up{}"
        );
        assert_eq!(
            &close.to_envelope().unwrap().bytes()[..],
            b"\x01\x00\x00\x01t"
        );
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        let read = |bytes: &'static [u8]| sent(Envelope::new(ORDER, bytes));
        assert_eq!(
            read(&[1, 0, 0]),
            Err(MalformedBroadcast::Truncated { bytes: 3 })
        );
        assert_eq!(
            read(&[1, 0, 0, 2, b't']),
            Err(MalformedBroadcast::Truncated { bytes: 5 })
        );
        assert_eq!(
            read(&[1, 1, 0, 1, b't']),
            Err(MalformedBroadcast::Truncated { bytes: 0 })
        );
        assert_eq!(read(&[1, 0, 0, 1, 0xff]), Err(MalformedBroadcast::NotText));
        for unknown in [&[2, 0, 0, 0], &[1, 9, 0, 0]] {
            assert!(matches!(
                read(unknown),
                Err(MalformedBroadcast::Unknown { .. })
            ));
        }
    }

    #[test]
    fn a_topic_longer_than_any_is_refused() {
        let order = Order::CloseChannel("t".repeat(TopicName::MAX_BYTES + 1).into());
        assert!(order.to_envelope().is_err());
    }
}
