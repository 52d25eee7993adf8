//! What has come to a test's client, what is expected of it, and how that is shown.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::transport::Payload;

/// A payload, or a reply's response.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Json(Value),
    Bytes(Bytes),
}

impl Body {
    /// # Panics
    /// If the value has no JSON form.
    pub(super) fn of(value: impl Serialize) -> Self {
        Self::Json(serde_json::to_value(value).expect("the test's value has a JSON form"))
    }

    /// The JSON, in which bytes are a list of numbers.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Json(value) => value,
            Self::Bytes(bytes) => Value::from(bytes.to_vec()),
        }
    }
}

impl From<&Payload> for Body {
    fn from(payload: &Payload) -> Self {
        match payload {
            Payload::Json(json) => Self::Json(json.to().expect("a `Json` is JSON")),
            Payload::Binary(bytes) => Self::Bytes(bytes.clone()),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(value) => value.fmt(f),
            Self::Bytes(bytes) => write!(f, "bytes {:?}", &bytes[..]),
        }
    }
}

/// What an assertion asks of a payload. Made by the macros.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Nothing.
    Any,
    /// To be this JSON.
    Json(Value),
    /// To be these bytes.
    Bytes(Bytes),
}

impl Expected {
    pub(super) fn fits(&self, body: &Body) -> bool {
        match (self, body) {
            (Self::Any, _) => true,
            (Self::Json(expected), Body::Json(value)) => expected == value,
            (Self::Bytes(expected), Body::Bytes(bytes)) => expected == bytes,
            _ => false,
        }
    }
}

/// As it stands behind the event's name.
impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Json(value) => write!(f, " {value}"),
            Self::Bytes(bytes) => write!(f, " bytes {:?}", &bytes[..]),
        }
    }
}

/// One message that came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arrived {
    pub(super) join_ref: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) topic: String,
    pub(super) event: String,
    /// Of a reply.
    pub(super) status: Option<String>,
    pub(super) body: Body,
    /// An assertion has taken it.
    pub(super) is_taken: bool,
}

impl Arrived {
    /// Whether a client would hand it to this join of this topic.
    pub(super) fn is_for(&self, topic: &str, join_ref: &str) -> bool {
        let is_stale = self.join_ref.as_deref().is_some_and(|own| own != join_ref);
        self.topic == topic && !is_stale
    }
}

impl fmt::Display for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            Some(status) => {
                let reference = self.reference.as_deref().unwrap_or("none");
                write!(f, "reply to {reference}: {status} {}", self.body)?;
            }
            None => write!(f, "{:?} {}", self.event, self.body)?,
        }
        match self.is_taken {
            true => f.write_str(" (asserted before)"),
            false => Ok(()),
        }
    }
}

/// The last of what came, as the end of a failure's text.
pub(super) fn list<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 50;
    let lines: Vec<String> = all.into_iter().map(|one| format!("\n  {one}")).collect();
    match lines.len() {
        0 => " nothing".to_owned(),
        1..=SHOWN => lines.concat(),
        more => format!(
            "\n  ... and {} before{}",
            more - SHOWN,
            lines[more - SHOWN..].concat()
        ),
    }
}
