//! Values to bytes and back, in each version of the protocol that this code speaks.
//!
//! Every frame is `kind: u16, length: u32` (big endian) and `length` bytes of body. A kind that is not known is stepped
//! over without being held in memory; bodies of the control stream are MessagePack maps with named fields, of which an unknown
//! one is stepped over too. Both are counted. A message carries its head's length, so that a later version may add to it.
//!
//! A link speaks the newer of the two nodes' newest versions that both know: the older node's newest. The hello comes
//! before that is known and is written as its sender's newest version has it.
//!
//! Pure: no clock, no I/O, no tasks.

mod v1;
mod v2;

use bytes::{BufMut, Bytes};
use matryoshka_pubsub::{Envelope, TopicName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{Frame, FrameError, Hello};
use super::lane::Encoded;

/// The newest version of the protocol between nodes that this code speaks.
pub const NEWEST_PROTOCOL: u16 = 2;
/// The oldest version of the protocol between nodes that this code speaks.
pub const OLDEST_PROTOCOL: u16 = 1;

/// The largest [`Interest`](matryoshka_pubsub::cluster::interest::Interest), as the router counts it, that fits into a frame of
/// the control stream in any case.
pub(crate) const MAX_INTEREST_BYTES: usize = 64 * 1024;

/// Kind and length.
pub(crate) const HEADER_BYTES: usize = 6;
/// Most frames of the control stream are shorter.
const FRAME_BYTES: usize = 64;
/// What a message's head holds beside its topic, at most; the version's own, and as much again for later ones.
const MAX_HEAD_BYTES: usize = 64;
/// MessagePack nested deeper than this is refused.
const MAX_DEPTH: usize = 16;

/// What frames are called on the wire.
pub(crate) mod kind {
    pub(crate) const HELLO: u16 = 1;
    pub(crate) const WELCOME: u16 = 2;
    pub(crate) const ACCEPT: u16 = 3;
    pub(crate) const ADDRESSES: u16 = 4;
    pub(crate) const HEARTBEAT: u16 = 5;
    pub(crate) const GOODBYE: u16 = 6;
    pub(crate) const FINISHED: u16 = 7;
    pub(crate) const INTEREST: u16 = 8;
    pub(crate) const POSITION: u16 = 9;
    pub(crate) const RESYNC: u16 = 10;
    pub(crate) const LAST: u16 = 11;
    pub(crate) const LANE: u16 = 16;
    pub(crate) const GAP: u16 = 17;
    pub(crate) const MESSAGE: u16 = 18;
    pub(crate) const CHUNK: u16 = 19;
}

/// One version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Codec {
    /// What is spoken with nodes of the release before.
    V1,
    /// Positions, interest routing, messages in parts.
    V2,
}

/// What was stepped over because this version does not know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Frames of unknown kind.
    pub(crate) frames: u64,
    /// Unknown fields in frames of known kind.
    pub(crate) fields: u64,
}

/// What stands before a message's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// Which dispatcher the payload is for.
    pub(crate) kind: u16,
    /// The topic.
    pub(crate) topic: &'a str,
    /// Its position among all that its node published; 0 in version 1, which has none.
    pub(crate) pos: u64,
}

/// Where the part of a message belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Bytes of the payload before it.
    pub(crate) offset: usize,
    /// Bytes of the whole payload.
    pub(crate) total: usize,
    /// Of the first part only.
    pub(crate) head: Option<Head<'a>>,
}

impl Codec {
    /// Of the newest version.
    pub(crate) const NEWEST: Self = Self::V2;

    /// Of that version, if this code speaks it.
    pub(crate) fn of(version: u16) -> Option<Self> {
        match version {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// The version's number.
    pub(crate) fn version(self) -> u16 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// What a node whose newest version this is speaks with the sender of that hello; `None`: they have no version in common.
    pub(crate) fn agreed(self, hello: &Hello) -> Option<Self> {
        let newest = self.version().min(hello.protocol);
        Self::of(newest).filter(|_| newest >= hello.oldest)
    }

    /// The largest frame on the control stream.
    pub(crate) fn max_control_bytes(self) -> usize {
        match self {
            Self::V1 => v1::MAX_CONTROL_BYTES,
            Self::V2 => v2::MAX_CONTROL_BYTES,
        }
    }

    /// The largest frame on a lane.
    pub(crate) fn max_lane_bytes(self) -> usize {
        let payload = match self {
            Self::V1 => v1::MAX_PAYLOAD_BYTES,
            Self::V2 => v2::PART_BYTES,
        };
        payload + TopicName::MAX_BYTES + MAX_HEAD_BYTES
    }

    /// Whether frames of that kind belong into a lane; `None` if the version does not know the kind.
    pub(crate) fn is_of_lanes(self, kind: u16) -> Option<bool> {
        match (self, kind) {
            (_, kind::HELLO..=kind::FINISHED) => Some(false),
            (Self::V2, kind::INTEREST..=kind::LAST) => Some(false),
            (_, kind::LANE..=kind::MESSAGE) | (Self::V2, kind::CHUNK) => Some(true),
            _ => None,
        }
    }

    /// The frame's bytes; `None` if the version has no word for it.
    pub(crate) fn encode(self, frame: &Frame) -> Option<Bytes> {
        match self {
            Self::V1 => v1::encode(frame),
            Self::V2 => v2::encode(frame),
        }
    }

    /// Reads the body of a frame of the control stream of a kind that the version knows.
    pub(crate) fn decode(
        self,
        kind: u16,
        body: &[u8],
        skipped: &mut Skipped,
    ) -> Result<Frame, FrameError> {
        let frame = match self {
            Self::V1 => v1::decode(kind, body, skipped),
            Self::V2 => v2::decode(kind, body, skipped),
        };
        frame.ok_or(FrameError::Malformed { kind })
    }

    /// Writes the first frame of a lane.
    pub(crate) fn put_lane(self, lane: u16, into: &mut Encoded) {
        v1::put_lane(lane, into);
    }

    /// Writes that so many messages were dropped.
    pub(crate) fn put_gap(self, lost: u64, into: &mut Encoded) {
        v1::put_gap(lost, into);
    }

    /// Writes a message, in parts if it is long.
    pub(crate) fn put_message(self, pos: u64, envelope: &Envelope, into: &mut Encoded) {
        match self {
            Self::V1 => v1::put_message(envelope, into),
            Self::V2 => v2::put_message(pos, envelope, into),
        }
    }

    /// Reads the number of a lane.
    pub(crate) fn read_lane(self, body: &[u8], skipped: &mut Skipped) -> Result<u16, FrameError> {
        let lane = v1::read_lane(body, skipped);
        lane.ok_or(FrameError::Malformed { kind: kind::LANE })
    }

    /// Reads how many messages were dropped.
    pub(crate) fn read_gap(self, body: &[u8], skipped: &mut Skipped) -> Result<u64, FrameError> {
        let lost = v1::read_gap(body, skipped);
        lost.ok_or(FrameError::Malformed { kind: kind::GAP })
    }

    /// Reads what stands before a message's payload, and where the payload begins in the body.
    pub(crate) fn read_head<'a>(
        self,
        body: &'a [u8],
        skipped: &mut Skipped,
    ) -> Result<(Head<'a>, usize), FrameError> {
        let mut read = || {
            let bytes = head_bytes(body)?;
            let head = body.get(4..4 + bytes)?;
            let (head, later) = match self {
                Self::V1 => v1::read_head(head),
                Self::V2 => v2::read_head(head),
            }?;
            skipped.fields += u64::from(later);
            Some((head, 4 + bytes))
        };
        let malformed = FrameError::Malformed {
            kind: kind::MESSAGE,
        };
        read().ok_or(malformed)
    }

    /// Reads what stands before the bytes of a part.
    pub(crate) fn read_part<'a>(
        self,
        head: &'a [u8],
        skipped: &mut Skipped,
    ) -> Result<Part<'a>, FrameError> {
        let part = v2::read_part(head).map(|(part, later)| {
            skipped.fields += u64::from(later);
            part
        });
        part.ok_or(FrameError::Malformed { kind: kind::CHUNK })
    }
}

impl Skipped {
    /// What was counted so far; it counts from zero again.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// Reads a frame's header: kind, and bytes of its body.
pub(crate) fn read_header(mut header: &[u8]) -> Option<(u16, usize)> {
    let kind = u16::from_be_bytes(*cut(&mut header)?);
    Some((kind, u32::from_be_bytes(*cut(&mut header)?) as usize))
}

/// How long the head is with which that body begins.
pub(crate) fn head_bytes(mut body: &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(*cut(&mut body)?) as usize)
}

/// Reads one MessagePack value that must fill `bytes` entirely, and counts the fields that are not known.
pub(crate) fn read_named<T: DeserializeOwned>(bytes: &[u8], skipped: &mut Skipped) -> Option<T> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(MAX_DEPTH);
    let mut later = 0;
    let value = serde_ignored::deserialize(&mut deserializer, |_| later += 1).ok()?;
    skipped.fields += later;
    rest.is_empty().then_some(value)
}

/// The bytes of a frame with that body.
fn named_frame(kind: u16, body: &impl Serialize) -> Bytes {
    let mut frame = Vec::with_capacity(FRAME_BYTES);
    frame.put_u16(kind);
    frame.put_u32(0);
    rmp_serde::encode::write_named(&mut frame, body).expect("plain structs always serialise");
    let bytes = frame.len() - HEADER_BYTES;
    frame[2..HEADER_BYTES].copy_from_slice(&(bytes as u32).to_be_bytes());
    frame.into()
}

fn put_header(into: &mut Encoded, kind: u16, body_bytes: usize) {
    into.put(&kind.to_be_bytes());
    into.put(&(body_bytes as u32).to_be_bytes());
}

/// Takes `N` bytes from the front.
fn cut<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (front, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(front)
}

/// Takes text with its length before it.
fn cut_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(u16::from_be_bytes(*cut(bytes)?));
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests;
