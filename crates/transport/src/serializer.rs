//! Between frames on the wire and messages: one serializer per version of the protocol.
//!
//! Pure: no clock, no I/O, no tasks.

mod binary;
mod spoken;
mod text;
mod v1;
mod v2;

use std::fmt;

use serde_json::error::Category;
use thiserror::Error;

pub use spoken::{Serializers, VsnTaken};
pub use v1::V1;
pub use v2::V2;

use crate::{
    close::{Close, CloseCode},
    frame::Frame,
    json::JsonError,
    message::{ClientMessage, ServerMessage},
};

/// Turns frames into messages and back, for one version of the wire. One of your own is added by [`Serializers::with`].
///
/// Long polling carries its text frames, and drops binary ones to the client. A post is one text frame; only as `application/x-ndjson` it is one
/// frame a line, as text if the line begins with `[`, else as binary in base64.
pub trait Serializer: Send + Sync + 'static {
    /// The version it writes. Two serializers with the same version write the same bytes, so a broadcast encoded
    /// once may be shared under this key.
    fn vsn(&self) -> &'static str;

    /// Reads one frame from a client.
    ///
    /// Refs are kept for as long as what they are of: one of your own bounds them, as the two here do
    /// ([`MAX_REF_BYTES`](crate::MAX_REF_BYTES)), and gives out no small slice of a large frame.
    ///
    /// # Errors
    /// [`DecodeError`] if the frame is not a message of this version. The connection cannot go on: close it with
    /// `Close::from(error)`.
    fn decode(&self, frame: Frame) -> Result<ClientMessage, DecodeError>;

    /// Writes one frame for a client.
    ///
    /// # Errors
    /// [`EncodeError`] if this version cannot carry the message. Nothing was written; the message is at fault, the
    /// connection is not.
    fn encode(&self, message: &ServerMessage) -> Result<Frame, EncodeError>;
}

impl fmt::Debug for dyn Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serializer({})", self.vsn())
    }
}

/// The protocol version a client asked for is not spoken here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("protocol version {0:?} is not spoken here; usual ones are 1.0.0 and 2.0.0")]
pub struct UnknownVsn(pub String);

/// Why a frame is not a message. The message was not handled; the connection should close with 1011.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or not the array or object that this version sends.
    #[error("not a message of version {vsn}: {}", without_content(vsn, source))]
    Shape {
        /// The version that was expected.
        vsn: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A part of the message is not acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Bytes that should be text are not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A binary frame ends before the strings that its header announces.
    #[error("binary frame of {len} bytes is shorter than its header says")]
    Truncated {
        /// Size of the frame in bytes.
        len: usize,
    },
    /// A ref or an event's name is longer than a binary frame could hold. No client sends that, and a channel would keep it.
    #[error("{field} of {len} bytes is too long: a frame holds at most 255")]
    TooLong {
        /// Which string it is.
        field: &'static str,
        /// Its length in UTF-8 bytes.
        len: usize,
    },
    /// A binary frame of a kind that clients do not send.
    #[error("binary frame of unknown kind {0}")]
    UnknownKind(u8),
    /// What a serializer of your own says; it goes into the log, so it should quote nothing of the frame.
    #[error("not a message of version {vsn}: {problem}")]
    Other {
        /// The version that was expected.
        vsn: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What the parser says, less the part of the frame that it quotes: what clients send does not belong in a log.
fn without_content(vsn: &str, error: &serde_json::Error) -> String {
    let words = error.to_string();
    if words.starts_with("missing field `") {
        return words;
    }
    let problem = match error.classify() {
        Category::Eof => "JSON that ends too early",
        Category::Data => "JSON of another shape",
        Category::Syntax | Category::Io => "no JSON",
    };
    let (line, column) = (error.line(), error.column());
    let cure = match error.is_data() {
        true => shape(vsn),
        false => "",
    };
    format!("{problem}, at line {line} column {column}{cure}")
}

/// The shape of a version's messages, and how to speak the other one: who forgets to say a version gets the older.
fn shape(vsn: &str) -> &'static str {
    match vsn {
        _ if vsn == V1.vsn() => {
            "; it is an object with topic, event, payload and ref: a client that sends arrays has to connect with vsn=2.0.0"
        }
        _ if vsn == V2.vsn() => {
            "; it is [join_ref, ref, topic, event, payload]: a client that sends objects has to connect with vsn=1.0.0"
        }
        _ => "",
    }
}

impl From<DecodeError> for Close {
    fn from(_: DecodeError) -> Self {
        Self::new(CloseCode::INTERNAL)
    }
}

/// Why a message cannot be written in a version of the wire. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The version carries JSON only: send an object to this client instead.
    #[error("version {vsn} cannot carry binary payloads")]
    BinaryPayload {
        /// The version that cannot.
        vsn: &'static str,
    },
    /// What a serializer of your own says.
    #[error("version {vsn} cannot carry the message: {problem}")]
    Other {
        /// The version that cannot.
        vsn: &'static str,
        /// What it cannot carry.
        problem: &'static str,
    },
    /// A push or broadcast carries JSON that is no object, which official clients do not survive. Wrap it in one.
    #[error("the payload of a push or broadcast must be an object or bytes")]
    NotAnObject,
    /// A string does not fit the one-byte length of a binary frame. Shorten it, or send JSON.
    #[error("{field} of {len} bytes is too long for a binary frame, which holds 255")]
    TooLong {
        /// Which string it is.
        field: &'static str,
        /// Its length in UTF-8 bytes.
        len: usize,
    },
}

/// Major and minor number of a full semantic version; none for anything that `~> major.minor.0` does not match.
fn parse_patch_level(vsn: &str) -> Option<(u64, u64)> {
    let release = vsn.split_once('+').map_or(vsn, |(release, _)| release);
    let (numbers, is_pre) = release
        .split_once('-')
        .map_or((release, false), |(numbers, _)| (numbers, true));
    let mut numbers = numbers.split('.').map(parse_number);
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    // A pre-release of x.y.0 comes before x.y.0.
    let too_early = is_pre && patch == 0;
    (numbers.next().is_none() && !too_early).then_some((major, minor))
}

fn parse_number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    (plain && !leading_zero).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests;
