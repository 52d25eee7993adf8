//! JSON text in and out: slices of the frame on the way in, one exact allocation on the way out.
//!
//! Pure: no clock, no I/O, no tasks.

use bytestring::ByteString;
use serde_json::value::RawValue;

use crate::{
    json::{Json, JsonError},
    message::{Field, Payload},
};

/// Names and refs of frames over this size are copied out instead of sliced: a join's are kept for as long as the
/// channel lives, and must not keep megabytes of join parameters with them.
const SLICE_FRAMES_UP_TO_BYTES: usize = 1024;

/// Reads a value of the frame `text` that is echoed; `null` is none.
pub(super) fn read_field(text: &ByteString, raw: &RawValue) -> Result<Option<Field>, JsonError> {
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

/// Reads the payload as a slice of the frame `text`.
pub(super) fn read_payload(text: &ByteString, raw: &RawValue) -> Result<Payload, JsonError> {
    Json::slice(text, raw).map(Payload::Json)
}

fn read_string(text: &ByteString, quoted: &str) -> Result<ByteString, JsonError> {
    let inner = &quoted[1..quoted.len() - 1];
    if inner.contains('\\') {
        return serde_json::from_str::<String>(quoted)
            .map(ByteString::from)
            .map_err(JsonError::Syntax);
    }
    match text.len() <= SLICE_FRAMES_UP_TO_BYTES {
        true => Ok(text.slice_ref(inner)),
        false => Ok(ByteString::from(inner)),
    }
}

/// Where encoders write: once into a count, once into a string of exactly that size.
pub(super) trait Out {
    /// Writes text as it is.
    fn raw(&mut self, text: &str);
    /// Writes a string with quotes and escapes.
    fn quoted(&mut self, text: &str);

    /// Writes a value that is echoed.
    fn field(&mut self, field: &Field) {
        match field {
            Field::Text(text) => self.quoted(text),
            Field::Json(json) => self.raw(json.as_str()),
        }
    }

    /// Writes a value that is echoed, or `null`.
    fn optional(&mut self, field: Option<&Field>) {
        match field {
            Some(field) => self.field(field),
            None => self.raw("null"),
        }
    }
}

/// Runs `write` twice, so that the text is allocated once, without slack: bytes without slack become shareable
/// without another allocation.
pub(super) fn exactly(write: impl Fn(&mut dyn Out)) -> ByteString {
    let mut count = Count(0);
    write(&mut count);
    let mut text = String::with_capacity(count.0);
    write(&mut text);
    debug_assert_eq!(text.len(), count.0);
    text.into()
}

struct Count(usize);

impl Out for Count {
    fn raw(&mut self, text: &str) {
        self.0 += text.len();
    }

    fn quoted(&mut self, text: &str) {
        let escapes: usize = text.bytes().map(|byte| escape_len(byte) - 1).sum();
        self.0 += text.len() + escapes + 2;
    }
}

impl Out for String {
    fn raw(&mut self, text: &str) {
        self.push_str(text);
    }

    fn quoted(&mut self, text: &str) {
        self.push('"');
        let mut written = 0;
        for (at, byte) in text
            .bytes()
            .enumerate()
            .filter(|&(_, byte)| escape_len(byte) > 1)
        {
            self.push_str(&text[written..at]);
            push_escape(self, byte);
            written = at + 1;
        }
        self.push_str(&text[written..]);
        self.push('"');
    }
}

/// How many bytes one byte of a string takes on the wire: only controls, quote and backslash are escaped.
fn escape_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0x00..=0x1f => 6,
        _ => 1,
    }
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
