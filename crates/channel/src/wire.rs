//! The words of the protocol, each in one place, and the frames that are made of them.
//!
//! Pure: no clock, no I/O, no tasks.

use bytestring::ByteString;
use serde::Serialize;

use crate::transport::{ClientMessage, Field, Json, Payload, ServerMessage};

/// Event by which a client joins a topic.
pub(crate) const JOIN: &str = "phx_join";
/// Event by which a client leaves a topic.
pub(crate) const LEAVE: &str = "phx_leave";
/// Event that tells a client of an orderly end of a channel.
pub(crate) const CLOSE: &str = "phx_close";
/// Event that tells a client of an abnormal end of a channel.
pub(crate) const CRASH: &str = "phx_error";
/// Event of a client's heartbeat.
pub(crate) const HEARTBEAT: &str = "heartbeat";
/// Topic of a client's heartbeat.
pub(crate) const HEARTBEAT_TOPIC: &str = "phoenix";
/// Event that, broadcast on a socket's id, closes the socket.
pub(crate) const DISCONNECT: &str = "disconnect";
/// Status of a reply that says yes.
pub(crate) const OK: &str = "ok";
/// Status of a reply that says no.
pub(crate) const ERROR: &str = "error";

/// The payload `{"reason": text}`.
pub(crate) fn reason(text: &str) -> Payload {
    #[derive(Serialize)]
    struct Reason<'a> {
        reason: &'a str,
    }
    Json::of(&Reason { reason: text })
        .expect("a string has a JSON form")
        .into()
}

/// A reply to one client message.
pub(crate) fn reply(
    join_ref: Option<Field>,
    reference: Option<Field>,
    topic: Field,
    status: ByteString,
    response: Payload,
) -> ServerMessage {
    ServerMessage::Reply {
        join_ref,
        reference,
        topic,
        status,
        response,
    }
}

/// The reply `ok` `{}`.
pub(crate) fn ok(join_ref: Option<Field>, reference: Option<Field>, topic: Field) -> ServerMessage {
    let status = ByteString::from_static(OK);
    reply(join_ref, reference, topic, status, Payload::object())
}

/// The reply `error` with a response.
pub(crate) fn error(
    join_ref: Option<Field>,
    reference: Option<Field>,
    topic: Field,
    response: Payload,
) -> ServerMessage {
    let status = ByteString::from_static(ERROR);
    reply(join_ref, reference, topic, status, response)
}

/// The reply `error` to a message that breaks a rule of its connection.
pub(crate) fn refused(message: ClientMessage, why: &str) -> ServerMessage {
    let ClientMessage {
        join_ref,
        reference,
        topic,
        ..
    } = message;
    error(join_ref, reference, topic, reason(why))
}

/// Whether a client asks to join.
pub(crate) fn is_join(message: &ClientMessage) -> bool {
    message.event == *JOIN
}
