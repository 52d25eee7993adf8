//! The client's side of the wire: both versions, text and binary.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;
use serde_json::{Value, json};

use super::arrived::{Arrived, Body};
use crate::transport::{Frame, REPLY_EVENT};

/// A message to the server.
pub(super) struct Sent<'a> {
    pub(super) join_ref: Option<&'a str>,
    pub(super) reference: &'a str,
    pub(super) topic: &'a str,
    pub(super) event: &'a str,
    pub(super) body: Body,
}

/// A version of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

impl Version {
    /// The one that a connection with these parameters speaks.
    pub(super) fn of(vsn: &str) -> Self {
        match vsn.starts_with("1.") {
            true => Self::V1,
            false => Self::V2,
        }
    }

    /// # Panics
    /// If the message has no such form: bytes in version 1, or a name over 255 bytes beside bytes.
    pub(super) fn encode(self, sent: &Sent<'_>) -> Frame {
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
            (Self::V2, Body::Json(payload)) => {
                Frame::text(json!([join_ref, reference, topic, event, payload]).to_string())
            }
            (Self::V2, Body::Bytes(bytes)) => {
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
            (Self::V1, Frame::Text(text)) => object(text),
            (Self::V2, Frame::Text(text)) => array(text),
            (Self::V1, Frame::Binary(_)) => None,
            (Self::V2, Frame::Binary(bytes)) => binary(bytes),
        };
        read.unwrap_or_else(|| panic!("the server wrote what is no message: {frame:?}"))
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
                Version::of(vsn),
            );
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
                if client == Version::V2 {
                    let with_bytes = client.decode(&server.encode(&message).unwrap());
                    let body = Body::Bytes(Bytes::from_static(&[7]));
                    assert_eq!(with_bytes, Arrived { body, ..arrived });
                }
            }
            let bodies = [
                Body::Json(json!({ "a": 1 })),
                Body::Bytes(Bytes::from_static(&[7])),
            ];
            for body in bodies
                .into_iter()
                .take(if client == Version::V1 { 1 } else { 2 })
            {
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
