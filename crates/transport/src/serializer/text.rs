//! JSON text in and out: slices of the frame on the way in, one exact allocation on the way out.
//!
//! Pure: no clock, no I/O, no tasks.

use bytestring::ByteString;
use serde_json::value::RawValue;

use super::DecodeError;
use crate::{
    json::{Json, JsonError},
    message::{Field, MAX_EVENT_BYTES, MAX_REF_BYTES, Payload},
};

/// Names and refs of frames over this size are copied out instead of sliced: a join's are kept for as long as the
/// channel lives, and must not keep megabytes of join parameters with them.
const SLICE_FRAMES_UP_TO_BYTES: usize = 1024;

/// How much of a frame beside its payload a slice of that may keep: no client sends more, and what waits in an inbox is bounded by the size
/// of its payload.
const KEEP_BESIDE_PAYLOAD_BYTES: usize = 1024;

/// Reads the reference of the frame `text`, or of its join; `null` is none.
pub(super) fn read_ref(text: &ByteString, raw: &RawValue) -> Result<Option<Field>, DecodeError> {
    let field = read_field(text, raw)?;
    if let Some(field) = &field {
        within("ref", field, MAX_REF_BYTES)?;
    }
    Ok(field)
}

/// Reads the name of the frame `text`'s event.
pub(super) fn read_event(text: &ByteString, raw: &RawValue) -> Result<Field, DecodeError> {
    let field = read_name(text, raw)?;
    within("event", &field, MAX_EVENT_BYTES)?;
    Ok(field)
}

fn within(name: &'static str, field: &Field, most: usize) -> Result<(), DecodeError> {
    let len = field.len();
    match len > most {
        true => Err(DecodeError::TooLong { field: name, len }),
        false => Ok(()),
    }
}

/// Reads a value of the frame `text` that is echoed; `null` is none.
fn read_field(text: &ByteString, raw: &RawValue) -> Result<Option<Field>, JsonError> {
    match raw.get() {
        "null" => Ok(None),
        json if json.starts_with('"') => {
            read_string(text, json).map(|string| Some(Field::Text(string)))
        }
        _ if text.len() <= SLICE_FRAMES_UP_TO_BYTES => {
            Json::slice(text, raw).map(|json| Some(Field::Json(json)))
        }
        json => Json::parse(json).map(|json| Some(Field::Json(json))),
    }
}

/// Reads a value of the frame `text` that should be a string, and is echoed whatever it is.
pub(super) fn read_name(text: &ByteString, raw: &RawValue) -> Result<Field, JsonError> {
    Ok(read_field(text, raw)?.unwrap_or(Field::Json(Json::null())))
}

/// Reads the payload as a slice of the frame `text`, or as a copy if it is padded: what is kept of a frame is not to be more than
/// what is counted of it.
pub(super) fn read_payload(text: &ByteString, raw: &RawValue) -> Result<Payload, JsonError> {
    let json = match text.len() - raw.get().len() > KEEP_BESIDE_PAYLOAD_BYTES {
        true => Json::copy(raw),
        false => Json::slice(text, raw),
    };
    json.map(Payload::Json)
}

fn read_string(text: &ByteString, quoted: &str) -> Result<ByteString, JsonError> {
    let inner = &quoted[1..quoted.len() - 1];
    if inner.contains('\\') {
        return serde_json::from_str::<String>(quoted)
            .map(ByteString::from)
            .map_err(JsonError::Syntax);
    }
    Ok(part(text, inner))
}

/// A part of the frame `text` to be kept.
fn part(text: &ByteString, part: &str) -> ByteString {
    match text.len() <= SLICE_FRAMES_UP_TO_BYTES {
        true => text.slice_ref(part),
        false => ByteString::from(part),
    }
}

/// Takes a string without escapes, or `null`, and the comma behind it from `rest` of the frame `text`. None if something else is there.
pub(super) fn take_plain(text: &ByteString, rest: &mut &str) -> Option<Option<Field>> {
    let (field, behind) = match rest.strip_prefix('"') {
        None => (None, rest.strip_prefix("null")?),
        Some(string) => {
            let (string, behind) = string.split_at(string.bytes().position(is_escaped)?);
            (
                Some(Field::Text(part(text, string))),
                behind.strip_prefix('"')?,
            )
        }
    };
    *rest = behind.strip_prefix(',')?;
    Some(field)
}

/// A text message on its way out.
pub(super) trait Text {
    /// Writes it, each time the same.
    fn write(&self, out: &mut impl Out);

    /// Counts it and then writes it, so that a text without escapes, as most are, is allocated once. None has slack: bytes
    /// without slack become shareable without another allocation.
    fn text(&self) -> ByteString {
        let mut count = Count(0);
        self.write(&mut count);
        let mut text = String::with_capacity(count.0);
        self.write(&mut text);
        text.shrink_to_fit();
        text.into()
    }
}

/// A value that is echoed.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Json(&'a str),
}

impl<'a> Value<'a> {
    /// The value, or `null`.
    pub(super) fn optional(field: Option<&'a Field>) -> Self {
        field.map_or(Self::Json("null"), Self::from)
    }
}

impl<'a> From<&'a Field> for Value<'a> {
    fn from(field: &'a Field) -> Self {
        match field {
            Field::Text(text) => Self::Text(text),
            Field::Json(json) => Self::Json(json.as_str()),
        }
    }
}

/// What a message carries; the same in both versions.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    Event(&'a Json),
    Reply { status: &'a str, response: &'a Json },
}

/// Where messages are written: into a count, and into a string.
pub(super) trait Out {
    /// Writes text as it is.
    fn raw(&mut self, text: &str);
    /// Writes a string with quotes and escapes.
    fn quoted(&mut self, text: &str);

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Text(text) => self.quoted(text),
            Value::Json(json) => self.raw(json),
        }
    }

    fn body(&mut self, body: Body<'_>) {
        match body {
            Body::Event(payload) => self.raw(payload.as_str()),
            Body::Reply { status, response } => {
                self.raw("{\"status\":");
                self.quoted(status);
                self.raw(",\"response\":");
                self.raw(response.as_str());
                self.raw("}");
            }
        }
    }
}

/// How long it is without escapes.
struct Count(usize);

impl Out for Count {
    fn raw(&mut self, text: &str) {
        self.0 += text.len();
    }

    fn quoted(&mut self, text: &str) {
        self.0 += text.len() + 2;
    }
}

impl Out for String {
    fn raw(&mut self, text: &str) {
        self.push_str(text);
    }

    fn quoted(&mut self, text: &str) {
        self.push('"');
        let mut rest = text;
        while let Some(at) = rest.bytes().position(is_escaped) {
            self.push_str(&rest[..at]);
            push_escape(self, rest.as_bytes()[at]);
            rest = &rest[at + 1..];
        }
        self.push_str(rest);
        self.push('"');
    }
}

/// Only controls, quote and backslash are. A look into a table is fewer steps than a comparison with each.
fn is_escaped(byte: u8) -> bool {
    const ESCAPED: [bool; 256] = {
        let mut escaped = [false; 256];
        let mut control = 0;
        while control < 0x20 {
            escaped[control] = true;
            control += 1;
        }
        escaped[b'"' as usize] = true;
        escaped[b'\\' as usize] = true;
        escaped
    };
    ESCAPED[usize::from(byte)]
}

fn push_escape(text: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        0x08 => "\\b",
        0x09 => "\\t",
        0x0a => "\\n",
        0x0c => "\\f",
        0x0d => "\\r",
        _ => {
            text.push_str("\\u00");
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 0xf)]));
            return;
        }
    };
    text.push_str(short);
}
