//! What clients and the server say to each other, whatever the version of the wire.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;
use bytestring::ByteString;

use crate::json::Json;

/// The event of every reply on the wire.
pub const REPLY_EVENT: &str = "phx_reply";

/// The longest event name that a client may send: 255 bytes, as many as a binary frame holds. A longer one is no message.
pub const MAX_EVENT_BYTES: usize = 255;

/// The longest `ref` or `join_ref` that a client may send: 255 bytes, as many as a binary frame holds. A longer one is no message.
pub const MAX_REF_BYTES: usize = 255;

/// A value that the server compares and echoes but never interprets: refs, and topics or events that are not strings.
///
/// An absent value (JSON `null`) is `Option::None` around it. A client that sends the number 7 gets the number 7 back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A string, without its quotes and escapes.
    Text(ByteString),
    /// The JSON text of any other value.
    Json(Json),
}

impl Field {
    /// The string, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(_) => None,
        }
    }

    /// Size in UTF-8 bytes: of the string, or of any other value's JSON text.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Json(json) => json.as_str().len(),
        }
    }

    /// Whether it is the empty string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<ByteString> for Field {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl PartialEq<str> for Field {
    fn eq(&self, other: &str) -> bool {
        self.as_text() == Some(other)
    }
}

impl PartialEq<&str> for Field {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// What a message carries: one JSON value, or bytes. Cloning shares the content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Any JSON value, in practice an object.
    Json(Json),
    /// Bytes; only version 2 of the wire can carry them.
    Binary(Bytes),
}

impl Payload {
    /// The empty object `{}`.
    pub const fn object() -> Self {
        Self::Json(Json::object())
    }

    /// Size of the content in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.as_str().len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the content is empty; JSON never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Json> for Payload {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

/// One message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMessage {
    /// Which join of the topic the message belongs to, chosen by the client.
    pub join_ref: Option<Field>,
    /// Which message this is; its reply carries the same value.
    pub reference: Option<Field>,
    /// Such as `room:lobby`. JSON `null` arrives as [`Field::Json`].
    pub topic: Field,
    /// Name of the event. JSON `null` arrives as [`Field::Json`].
    pub event: Field,
    /// What it carries.
    pub payload: Payload,
}

/// One message to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// An event for one join of one topic.
    Push {
        /// The join it belongs to.
        join_ref: Option<Field>,
        /// Set only on `phx_close` and `phx_error`, where it repeats `join_ref`.
        reference: Option<Field>,
        /// The topic as the client wrote it.
        topic: Field,
        /// Name of the event.
        event: ByteString,
        /// An object or bytes.
        payload: Payload,
    },
    /// The answer to one client message.
    Reply {
        /// The join it belongs to.
        join_ref: Option<Field>,
        /// The client message's reference.
        reference: Option<Field>,
        /// The topic as the client wrote it.
        topic: Field,
        /// Usually `ok` or `error`.
        status: ByteString,
        /// Any JSON value, or bytes.
        response: Payload,
    },
    /// An event for everyone on a topic.
    Broadcast {
        /// The topic.
        topic: ByteString,
        /// Name of the event.
        event: ByteString,
        /// An object or bytes.
        payload: Payload,
    },
}
