//! The client's side of the wire: both official versions, text and binary, and those of the application's own.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use bytes::Bytes;
use serde_json::{Value, json};

use super::arrived::{Arrived, Body};
use crate::transport::{
    ClientMessage, Field, Frame, Json, Payload, REPLY_EVENT, Serializer, ServerMessage, V1, V2,
};

/// The client's side of a version of the wire of one's own: it writes what the server's
/// [`Serializer`](crate::transport::Serializer) of that version reads, and reads what that writes.
/// See [`TestSockets::with_client_serializer`](super::TestSockets::with_client_serializer).
pub trait ClientSerializer: Send + Sync + 'static {
    /// The version, as the server's has it.
    fn vsn(&self) -> &'static str;

    /// Writes one frame to the server. What the version cannot carry fails the test: panic.
    fn encode(&self, message: &ClientMessage) -> Frame;

    /// Reads one frame of the server's. None, if it is no message, fails the test.
    fn decode(&self, frame: &Frame) -> Option<ServerMessage>;
}

impl fmt::Debug for dyn ClientSerializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSerializer({})", self.vsn())
    }
}

/// A message to the server.
pub(super) struct Sent<'a> {
    pub(super) join_ref: Option<&'a str>,
    pub(super) reference: &'a str,
    pub(super) topic: &'a str,
    pub(super) event: &'a str,
    pub(super) body: Body,
}

impl Sent<'_> {
    fn message(&self) -> ClientMessage {
        let payload = match &self.body {
            Body::Json(value) => Json::of(value).expect("a value has a JSON form").into(),
            Body::Bytes(bytes) => bytes.clone().into(),
        };
        ClientMessage {
            join_ref: self.join_ref.map(Field::from),
            reference: Some(self.reference.into()),
            topic: self.topic.into(),
            event: self.event.into(),
            payload,
        }
    }
}

/// A version of the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    V1,
    V2,
    Own(&'static dyn ClientSerializer),
}

impl Version {
    /// The one of that name, if a client here speaks it.
    pub(super) fn of(vsn: &str, own: &[&'static dyn ClientSerializer]) -> Option<Self> {
        if vsn == V1.vsn() {
            return Some(Self::V1);
        }
        if vsn == V2.vsn() {
            return Some(Self::V2);
        }
        let own = own.iter().find(|own| own.vsn() == vsn);
        own.copied().map(Self::Own)
    }

    /// # Panics
    /// If the message has no such form: bytes in version 1, or a name over 255 bytes beside bytes.
    pub(super) fn encode(self, sent: &Sent<'_>) -> Frame {
        if let Self::Own(own) = self {
            return own.encode(&sent.message());
        }
        let Sent {
            join_ref,
            reference,
            topic,
            event,
            body,
        } = sent;
        match (self, body) {
            (Self::V1, Body::Json(payload)) => {
                let frame = json!({
                    "topic": topic, "event": event, "payload": payload, "ref": reference, "join_ref": join_ref,
                });
                Frame::text(frame.to_string())
            }
            (Self::V1, Body::Bytes(_)) => panic!("version 1 carries no bytes"),
            (_, Body::Json(payload)) => {
                Frame::text(json!([join_ref, reference, topic, event, payload]).to_string())
            }
            (_, Body::Bytes(bytes)) => {
                let names = [join_ref.unwrap_or_default(), reference, topic, event];
                let mut frame = vec![0];
                frame.extend(names.map(|name| {
                    u8::try_from(name.len()).expect("names beside bytes have up to 255 bytes")
                }));
                names.iter().for_each(|name| frame.extend(name.as_bytes()));
                frame.extend(bytes);
                Frame::binary(frame)
            }
        }
    }

    /// # Panics
    /// If the server wrote what no client could read.
    pub(super) fn decode(self, frame: &Frame) -> Arrived {
        let read = match (self, frame) {
            (Self::Own(own), frame) => own.decode(frame).map(Arrived::from),
            (Self::V1, Frame::Text(text)) => object(text),
            (Self::V2, Frame::Text(text)) => array(text),
            (Self::V1, Frame::Binary(_)) => None,
            (Self::V2, Frame::Binary(bytes)) => binary(bytes),
        };
        read.unwrap_or_else(|| panic!("the server wrote what is no message: {frame:?}"))
    }
}

impl From<ServerMessage> for Arrived {
    fn from(message: ServerMessage) -> Self {
        let shown = |field: Field| match field {
            Field::Text(text) => text.into(),
            Field::Json(json) => json.as_str().to_owned(),
        };
        let (join_ref, reference, topic, event, status, payload): (_, _, _, _, _, Payload) =
            match message {
                ServerMessage::Push {
                    join_ref,
                    reference,
                    topic,
                    event,
                    payload,
                } => (join_ref, reference, topic, event, None, payload),
                ServerMessage::Reply {
                    join_ref,
                    reference,
                    topic,
                    status,
                    response,
                } => {
                    let event = REPLY_EVENT.into();
                    (join_ref, reference, topic, event, Some(status), response)
                }
                ServerMessage::Broadcast {
                    topic,
                    event,
                    payload,
                } => (None, None, topic.into(), event, None, payload),
            };
        Self {
            join_ref: join_ref.map(shown),
            reference: reference.map(shown),
            topic: shown(topic),
            event: event.into(),
            status: status.map(String::from),
            body: Body::from(&payload),
            is_taken: false,
        }
    }
}

fn object(text: &str) -> Option<Arrived> {
    let mut frame: Value = serde_json::from_str(text).ok()?;
    let payload = frame.get_mut("payload")?.take();
    let (reference, topic, event) = (&frame["ref"], &frame["topic"], &frame["event"]);
    arrived(&Value::Null, reference, topic, event, payload)
}

fn array(text: &str) -> Option<Arrived> {
    let mut frame: [Value; 5] = serde_json::from_str(text).ok()?;
    let payload = frame[4].take();
    let [join_ref, reference, topic, event, _] = &frame;
    arrived(join_ref, reference, topic, event, payload)
}

fn arrived(
    join_ref: &Value,
    reference: &Value,
    topic: &Value,
    event: &Value,
    mut payload: Value,
) -> Option<Arrived> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let event = text(event)?;
    let status = match event == REPLY_EVENT {
        true => Some(text(payload.get("status")?)?),
        false => None,
    };
    if status.is_some() {
        payload = payload.get_mut("response")?.take();
    }
    Some(Arrived {
        join_ref: text(join_ref),
        reference: text(reference),
        topic: text(topic)?,
        event,
        status,
        body: Body::Json(payload),
        is_taken: false,
    })
}

fn binary(frame: &Bytes) -> Option<Arrived> {
    let (&kind, header) = frame.split_first()?;
    let count = match kind {
        0 => 3,
        1 => 4,
        2 => 2,
        _ => return None,
    };
    let mut from = 1 + count;
    let mut names = Vec::new();
    for &size in header.get(..count)? {
        let name = frame.get(from..from + usize::from(size))?;
        names.push(String::from_utf8(name.to_vec()).ok()?);
        from += usize::from(size);
    }
    let mut names = names.into_iter();
    let mut name = || names.next();
    let (join_ref, reference, topic, event, status) = match kind {
        0 => (name(), None, name()?, name()?, None),
        1 => (name(), name(), name()?, REPLY_EVENT.to_owned(), name()),
        _ => (None, None, name()?, name()?, None),
    };
    Some(Arrived {
        join_ref: join_ref.filter(|join_ref| !join_ref.is_empty()),
        reference,
        topic,
        event,
        status,
        body: Body::Bytes(frame.slice(from..)),
        is_taken: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Field, Payload, Serializers, ServerMessage};

    /// What the server writes is what the client reads, and the other way round.
    #[test]
    fn both_sides_understand_each_other() {
        let messages = [
            ServerMessage::Push {
                join_ref: Some("1".into()),
                reference: None,
                topic: "t".into(),
                event: "e".into(),
                payload: Payload::object(),
            },
            ServerMessage::Reply {
                join_ref: Some("1".into()),
                reference: Some("2".into()),
                topic: "t".into(),
                status: "ok".into(),
                response: Payload::object(),
            },
            ServerMessage::Broadcast {
                topic: "t".into(),
                event: "e".into(),
                payload: Payload::object(),
            },
        ];
        for vsn in ["1.0.0", "2.0.0"] {
            let (server, client) = (
                Serializers::default().get(Some(vsn)).unwrap(),
                Version::of(vsn, &[]).unwrap(),
            );
            let is_binary = matches!(client, Version::V2);
            for mut message in messages.clone() {
                let arrived = client.decode(&server.encode(&message).unwrap());
                assert_eq!(arrived.topic, "t");
                assert_eq!(arrived.body, Body::Json(json!({})));
                let is_reply = matches!(message, ServerMessage::Reply { .. });
                assert_eq!(arrived.status.as_deref(), is_reply.then_some("ok"));
                let (ServerMessage::Push { payload, .. }
                | ServerMessage::Broadcast { payload, .. }
                | ServerMessage::Reply {
                    response: payload, ..
                }) = &mut message;
                *payload = Bytes::from_static(&[7]).into();
                if is_binary {
                    let with_bytes = client.decode(&server.encode(&message).unwrap());
                    let body = Body::Bytes(Bytes::from_static(&[7]));
                    assert_eq!(with_bytes, Arrived { body, ..arrived });
                }
            }
            let bodies = [
                Body::Json(json!({ "a": 1 })),
                Body::Bytes(Bytes::from_static(&[7])),
            ];
            for body in bodies.into_iter().take(if is_binary { 2 } else { 1 }) {
                let is_json = matches!(body, Body::Json(_));
                let sent = Sent {
                    join_ref: Some("1"),
                    reference: "2",
                    topic: "t",
                    event: "e",
                    body,
                };
                let heard = server.decode(client.encode(&sent)).unwrap();
                assert_eq!(heard.join_ref, Some(Field::from("1")));
                assert_eq!(heard.reference, Some(Field::from("2")));
                assert_eq!((heard.topic, heard.event), ("t".into(), "e".into()));
                assert_eq!(matches!(heard.payload, Payload::Json(_)), is_json);
            }
        }
    }
}
