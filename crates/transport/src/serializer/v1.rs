//! Version 1: every message is a JSON object, both ways.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{borrow::Cow, fmt};

use bytestring::ByteString;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    DecodeError, EncodeError, Serializer,
    text::{self, Body, Out, Text, Value},
};
use crate::{
    frame::Frame,
    json::Json,
    message::{ClientMessage, Payload, REPLY_EVENT, ServerMessage},
};

/// Version 1 of the wire: `{"topic", "event", "payload", "ref"}`, no binary payloads, never a `join_ref` from the
/// server. A binary frame is read as if it were text.
#[derive(Clone, Copy, Debug, Default)]
pub struct V1;

const VSN: &str = "1.0.0";

impl Serializer for V1 {
    fn vsn(&self) -> &'static str {
        VSN
    }

    fn decode(&self, frame: Frame) -> Result<ClientMessage, DecodeError> {
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(bytes) => {
                ByteString::try_from(bytes).map_err(|_| DecodeError::NotUtf8)?
            }
        };
        let wire: Wire<'_> = serde_json::from_str(&text)
            .map_err(|source| DecodeError::Shape { vsn: VSN, source })?;
        Ok(ClientMessage {
            join_ref: wire
                .join_ref
                .map_or(Ok(None), |raw| text::read_ref(&text, raw))?,
            reference: text::read_ref(&text, wire.reference)?,
            topic: text::read_name(&text, wire.topic)?,
            event: text::read_event(&text, wire.event)?,
            payload: text::read_payload(&text, wire.payload)?,
        })
    }

    fn encode(&self, message: &ServerMessage) -> Result<Frame, EncodeError> {
        let message = match message {
            ServerMessage::Push {
                reference,
                topic,
                event,
                payload,
                ..
            } => Message {
                topic: topic.into(),
                event,
                payload: Body::Event(json(payload)?),
                reference: Value::optional(reference.as_ref()),
            },
            ServerMessage::Broadcast {
                topic,
                event,
                payload,
            } => Message {
                topic: Value::Text(topic),
                event,
                payload: Body::Event(json(payload)?),
                reference: Value::optional(None),
            },
            ServerMessage::Reply {
                reference,
                topic,
                status,
                response,
                ..
            } => Message {
                topic: topic.into(),
                event: REPLY_EVENT,
                payload: Body::Reply {
                    status,
                    response: json(response)?,
                },
                reference: Value::optional(reference.as_ref()),
            },
        };
        Ok(Frame::Text(message.text()))
    }
}

/// The object of a server message.
struct Message<'a> {
    topic: Value<'a>,
    event: &'a str,
    payload: Body<'a>,
    reference: Value<'a>,
}

impl Text for Message<'_> {
    fn write(&self, out: &mut impl Out) {
        out.raw("{\"topic\":");
        out.value(self.topic);
        out.raw(",\"event\":");
        out.quoted(self.event);
        out.raw(",\"payload\":");
        out.body(self.payload);
        out.raw(",\"ref\":");
        out.value(self.reference);
        out.raw("}");
    }
}

fn json(payload: &Payload) -> Result<&Json, EncodeError> {
    match payload {
        Payload::Json(json) => Ok(json),
        Payload::Binary(_) => Err(EncodeError::BinaryPayload { vsn: VSN }),
    }
}

/// The object of a client message, its values still text.
struct Wire<'a> {
    topic: &'a RawValue,
    event: &'a RawValue,
    payload: &'a RawValue,
    reference: &'a RawValue,
    join_ref: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Wire<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with topic, event, payload and ref")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wire<'de>, A::Error> {
        let (mut topic, mut event, mut payload, mut reference, mut join_ref) =
            (None, None, None, None, None);
        while let Some(Key(key)) = map.next_key()? {
            let slot = match key.as_ref() {
                "topic" => &mut topic,
                "event" => &mut event,
                "payload" => &mut payload,
                "ref" => &mut reference,
                "join_ref" => &mut join_ref,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        let required =
            |slot: Option<&'de RawValue>, name| slot.ok_or_else(|| A::Error::missing_field(name));
        Ok(Wire {
            topic: required(topic, "topic")?,
            event: required(event, "event")?,
            payload: required(payload, "payload")?,
            reference: required(reference, "ref")?,
            join_ref,
        })
    }
}

/// A key of the object: borrowed unless it is written with escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}
