//! Version 2: every text message is a JSON array, and binary frames carry bytes.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    DecodeError, EncodeError, Serializer, binary,
    text::{self, Body, Out, Text, Value},
};
use crate::{
    frame::Frame,
    json::Json,
    message::{
        ClientMessage, Field, MAX_EVENT_BYTES, MAX_REF_BYTES, Payload, REPLY_EVENT, ServerMessage,
    },
};

/// Version 2 of the wire: text is `[join_ref, ref, topic, event, payload]`, a binary frame is one message whose
/// payload is bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct V2;

const VSN: &str = "2.0.0";

impl Serializer for V2 {
    fn vsn(&self) -> &'static str {
        VSN
    }

    fn decode(&self, frame: Frame) -> Result<ClientMessage, DecodeError> {
        match frame {
            Frame::Text(text) => read_text(&text),
            Frame::Binary(bytes) => binary::read_push(&bytes),
        }
    }

    fn encode(&self, message: &ServerMessage) -> Result<Frame, EncodeError> {
        match message {
            ServerMessage::Push {
                join_ref,
                reference,
                topic,
                event,
                payload,
            } => match payload {
                Payload::Json(json) => {
                    write_event([join_ref, reference], topic.into(), event, json)
                }
                Payload::Binary(bytes) => write_binary_push(join_ref, topic, event, bytes),
            },
            ServerMessage::Reply {
                join_ref,
                reference,
                topic,
                status,
                response,
            } => {
                let refs = [join_ref, reference];
                match response {
                    Payload::Json(json) => Ok(write_reply(refs, topic, status, json)),
                    Payload::Binary(bytes) => write_binary_reply(refs, topic, status, bytes),
                }
            }
            ServerMessage::Broadcast {
                topic,
                event,
                payload,
            } => match payload {
                Payload::Json(json) => write_event([&None, &None], Value::Text(topic), event, json),
                Payload::Binary(bytes) => write_binary_broadcast(topic, event, bytes),
            },
        }
    }
}

fn read_text(text: &ByteString) -> Result<ClientMessage, DecodeError> {
    match read_plain(text) {
        Some(message) => Ok(message),
        None => read_any(text),
    }
}

/// Reads a message as clients mostly write it, in half the time: neither an escape nor white space before the payload. None if this
/// is another one, or none at all.
fn read_plain(text: &ByteString) -> Option<ClientMessage> {
    let mut rest = text.strip_prefix('[')?;
    let (join_ref, reference) = (
        text::take_plain(text, &mut rest)?,
        text::take_plain(text, &mut rest)?,
    );
    let (topic, event) = (
        text::take_plain(text, &mut rest)??,
        text::take_plain(text, &mut rest)??,
    );
    let refs = [&join_ref, &reference];
    if event.len() > MAX_EVENT_BYTES
        || refs
            .into_iter()
            .flatten()
            .any(|field| field.len() > MAX_REF_BYTES)
    {
        return None;
    }
    let payload = serde_json::from_str(rest.strip_suffix(']')?).ok()?;
    Some(ClientMessage {
        join_ref,
        reference,
        topic,
        event,
        payload: text::read_payload(text, payload).ok()?,
    })
}

fn read_any(text: &ByteString) -> Result<ClientMessage, DecodeError> {
    let wire: Wire<'_> =
        serde_json::from_str(text).map_err(|source| DecodeError::Shape { vsn: VSN, source })?;
    let [join_ref, reference, topic, event, payload] = wire.0;
    Ok(ClientMessage {
        join_ref: text::read_ref(text, join_ref)?,
        reference: text::read_ref(text, reference)?,
        topic: text::read_name(text, topic)?,
        event: text::read_event(text, event)?,
        payload: text::read_payload(text, payload)?,
    })
}

/// The five elements of a server message.
struct Message<'a> {
    join_ref: Value<'a>,
    reference: Value<'a>,
    topic: Value<'a>,
    event: &'a str,
    payload: Body<'a>,
}

impl Text for Message<'_> {
    fn write(&self, out: &mut impl Out) {
        out.raw("[");
        out.value(self.join_ref);
        out.raw(",");
        out.value(self.reference);
        out.raw(",");
        out.value(self.topic);
        out.raw(",");
        out.quoted(self.event);
        out.raw(",");
        out.body(self.payload);
        out.raw("]");
    }
}

/// The `join_ref` and the `ref` of a message.
type Refs<'a> = [&'a Option<Field>; 2];

/// A push or a broadcast.
fn write_event(
    refs: Refs<'_>,
    topic: Value<'_>,
    event: &str,
    json: &Json,
) -> Result<Frame, EncodeError> {
    let [join_ref, reference] = refs.map(|field| Value::optional(field.as_ref()));
    let message = Message {
        join_ref,
        reference,
        topic,
        event,
        payload: Body::Event(object(json)?),
    };
    Ok(Frame::Text(message.text()))
}

fn write_reply(refs: Refs<'_>, topic: &Field, status: &str, response: &Json) -> Frame {
    let [join_ref, reference] = refs.map(|field| Value::optional(field.as_ref()));
    let message = Message {
        join_ref,
        reference,
        topic: topic.into(),
        event: REPLY_EVENT,
        payload: Body::Reply { status, response },
    };
    Frame::Text(message.text())
}

fn write_binary_push(
    join_ref: &Option<Field>,
    topic: &Field,
    event: &str,
    payload: &Bytes,
) -> Result<Frame, EncodeError> {
    let strings = [
        ("join_ref", binary::string_of(join_ref.as_ref())),
        ("topic", binary::string_of(Some(topic))),
        ("event", event),
    ];
    write_binary(binary::PUSH, &strings, payload)
}

fn write_binary_reply(
    [join_ref, reference]: Refs<'_>,
    topic: &Field,
    status: &str,
    response: &Bytes,
) -> Result<Frame, EncodeError> {
    let strings = [
        ("join_ref", binary::string_of(join_ref.as_ref())),
        ("ref", binary::string_of(reference.as_ref())),
        ("topic", binary::string_of(Some(topic))),
        ("status", status),
    ];
    write_binary(binary::REPLY, &strings, response)
}

fn write_binary_broadcast(topic: &str, event: &str, payload: &Bytes) -> Result<Frame, EncodeError> {
    let strings = [("topic", topic), ("event", event)];
    write_binary(binary::BROADCAST, &strings, payload)
}

fn write_binary(
    kind: u8,
    strings: &[(&'static str, &str)],
    payload: &Bytes,
) -> Result<Frame, EncodeError> {
    binary::write(kind, strings, payload).map(Frame::Binary)
}

fn object(json: &Json) -> Result<&Json, EncodeError> {
    json.is_object()
        .then_some(json)
        .ok_or(EncodeError::NotAnObject)
}

/// The five elements of a client message, still text; further elements are ignored.
struct Wire<'a>([&'a RawValue; 5]);

impl<'de> Deserialize<'de> for Wire<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of join_ref, ref, topic, event and payload")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Wire<'de>, A::Error> {
        let mut next = |at| {
            seq.next_element::<&'de RawValue>()?
                .ok_or_else(|| A::Error::invalid_length(at, &self))
        };
        let parts = [next(0)?, next(1)?, next(2)?, next(3)?, next(4)?];
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Wire(parts))
    }
}
