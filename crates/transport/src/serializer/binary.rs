//! Binary frames of version 2: one-byte lengths, then the strings, then the payload.
//!
//! Kind 0 has two layouts: a client's push carries a reference, the server's does not.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::{DecodeError, EncodeError};
use crate::message::{ClientMessage, Field, Payload};

/// A push, in both directions.
pub(super) const PUSH: u8 = 0;
/// A reply of the server.
pub(super) const REPLY: u8 = 1;
/// A broadcast of the server.
pub(super) const BROADCAST: u8 = 2;

/// Kind byte and four sizes: join reference, reference, topic, event.
const CLIENT_HEADER_BYTES: usize = 5;

/// Reads a client's push.
pub(super) fn read_push(frame: &Bytes) -> Result<ClientMessage, DecodeError> {
    let truncated = DecodeError::Truncated { len: frame.len() };
    match frame.first() {
        None => return Err(truncated),
        Some(&kind) if kind != PUSH => return Err(DecodeError::UnknownKind(kind)),
        Some(_) if frame.len() < CLIENT_HEADER_BYTES => return Err(truncated),
        Some(_) => {}
    }
    let mut rest = frame.slice(CLIENT_HEADER_BYTES..);
    let mut next = |size: u8| take_string(&mut rest, size, frame.len());
    let (join_ref, reference) = (next(frame[1])?, next(frame[2])?);
    let (topic, event) = (next(frame[3])?, next(frame[4])?);
    Ok(ClientMessage {
        // Size 0 is the empty string, not an absent value.
        join_ref: Some(join_ref),
        reference: Some(reference),
        topic,
        event,
        payload: Payload::Binary(rest),
    })
}

fn take_string(rest: &mut Bytes, size: u8, len: usize) -> Result<Field, DecodeError> {
    let size = usize::from(size);
    if rest.len() < size {
        return Err(DecodeError::Truncated { len });
    }
    // Strings are at most 255 bytes: a copy costs less than keeping the whole frame alive.
    let bytes = rest.split_to(size);
    let string = std::str::from_utf8(&bytes).map_err(|_| DecodeError::NotUtf8)?;
    Ok(Field::Text(ByteString::from(string)))
}

/// Writes a frame of the given kind: the strings with their names, and the payload.
pub(super) fn write(
    kind: u8,
    strings: &[(&'static str, &str)],
    payload: &Bytes,
) -> Result<Bytes, EncodeError> {
    let text: usize = strings.iter().map(|(_, string)| string.len()).sum();
    let mut frame = BytesMut::with_capacity(1 + strings.len() + text + payload.len());
    frame.put_u8(kind);
    for &(field, string) in strings {
        let len = string.len();
        frame.put_u8(u8::try_from(len).map_err(|_| EncodeError::TooLong { field, len })?);
    }
    for (_, string) in strings {
        frame.put_slice(string.as_bytes());
    }
    frame.put_slice(payload);
    Ok(frame.freeze())
}

/// How a value that is echoed stands in a binary frame: an absent one is empty, one that is no string its JSON text.
pub(super) fn string_of(field: Option<&Field>) -> &str {
    match field {
        None => "",
        Some(Field::Text(text)) => text,
        Some(Field::Json(json)) => json.as_str(),
    }
}
