//! Version 2: version 1, and a position in every message, messages in parts, what routers say to each other, and two more
//! fields in the hello.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;
use matryoshka_pubsub::cluster::interest::{ControlFrame, Interest};
use matryoshka_pubsub::{Envelope, TopicName};
use serde::{Deserialize, Serialize};

use super::{Head, Part, Skipped, cut, cut_text, kind, named_frame, put_header, read_named, v1};
use crate::proto::frame::Frame;
use crate::proto::lane::Encoded;

/// The largest frame on the control stream: an [`Interest`] is about half of it, or a single longest topic.
pub(super) const MAX_CONTROL_BYTES: usize = 128 * 1024;
/// A longer payload goes in parts of this size, so that nobody has to hold more than that of what others say before it is
/// known to be allowed.
pub(super) const PART_BYTES: usize = 64 * 1024;
/// Kind, topic length and position.
const HEAD_BYTES: usize = 12;
/// Offset and total of a part.
const PLACE_BYTES: usize = 8;

#[derive(Serialize)]
struct InterestOut<'a> {
    seq: u64,
    begin: bool,
    end: bool,
    gone: Vec<&'a str>,
    wanted: Vec<&'a str>,
    heard: Option<u64>,
}

#[derive(Deserialize)]
struct InterestIn {
    seq: u64,
    #[serde(default)]
    begin: bool,
    #[serde(default)]
    end: bool,
    #[serde(default)]
    gone: Vec<String>,
    #[serde(default)]
    wanted: Vec<String>,
    #[serde(default)]
    heard: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Position {
    pos: u64,
}

#[derive(Serialize, Deserialize)]
struct Resync {}

#[derive(Serialize, Deserialize)]
struct Last {
    seq: u64,
}

pub(super) fn encode(frame: &Frame) -> Option<Bytes> {
    Some(match frame {
        Frame::Hello(hello) => named_frame(kind::HELLO, hello),
        Frame::Routing(ControlFrame::Interest(interest)) => {
            named_frame(kind::INTEREST, &InterestOut::from(interest))
        }
        &Frame::Routing(ControlFrame::Position(pos)) => {
            named_frame(kind::POSITION, &Position { pos })
        }
        Frame::Routing(ControlFrame::Resync) => named_frame(kind::RESYNC, &Resync {}),
        &Frame::Routing(ControlFrame::Last(seq)) => named_frame(kind::LAST, &Last { seq }),
        frame => return v1::encode(frame),
    })
}

pub(super) fn decode(kind: u16, body: &[u8], skipped: &mut Skipped) -> Option<Frame> {
    let control = match kind {
        kind::HELLO => return read_named(body, skipped).map(Frame::Hello),
        kind::INTEREST => ControlFrame::Interest(read_named::<InterestIn>(body, skipped)?.into()),
        kind::POSITION => {
            let Position { pos } = read_named(body, skipped)?;
            ControlFrame::Position(pos)
        }
        kind::RESYNC => {
            let Resync {} = read_named(body, skipped)?;
            ControlFrame::Resync
        }
        kind::LAST => {
            let Last { seq } = read_named(body, skipped)?;
            ControlFrame::Last(seq)
        }
        kind => return v1::decode(kind, body, skipped),
    };
    Some(Frame::Routing(control))
}

pub(super) fn put_message(pos: u64, envelope: &Envelope, into: &mut Encoded) {
    let head = HEAD_BYTES + envelope.topic.len();
    let total = envelope.payload.len();
    if total <= PART_BYTES {
        put_header(into, kind::MESSAGE, 4 + head + total);
        into.put(&(head as u32).to_be_bytes());
        put_head(pos, envelope, into);
        return into.put_payload(envelope.payload.clone());
    }
    for offset in (0..total).step_by(PART_BYTES) {
        let part = envelope
            .payload
            .slice(offset..total.min(offset + PART_BYTES));
        let head = PLACE_BYTES + if offset == 0 { head } else { 0 };
        put_header(into, kind::CHUNK, 4 + head + part.len());
        into.put(&(head as u32).to_be_bytes());
        into.put(&(offset as u32).to_be_bytes());
        into.put(&(total as u32).to_be_bytes());
        if offset == 0 {
            put_head(pos, envelope, into);
        }
        into.put_payload(part);
    }
}

fn put_head(pos: u64, envelope: &Envelope, into: &mut Encoded) {
    let topic = envelope.topic.as_bytes();
    into.put(&envelope.kind.0.to_be_bytes());
    into.put(&(topic.len() as u16).to_be_bytes());
    into.put(topic);
    into.put(&pos.to_be_bytes());
}

/// The head, and whether a later version added to it.
pub(super) fn read_head(mut bytes: &[u8]) -> Option<(Head<'_>, bool)> {
    let kind = u16::from_be_bytes(*cut(&mut bytes)?);
    let topic = cut_text(&mut bytes)?;
    let pos = u64::from_be_bytes(*cut(&mut bytes)?);
    Some((Head { kind, topic, pos }, !bytes.is_empty()))
}

/// Where a part belongs, and whether a later version added to its head.
pub(super) fn read_part(mut bytes: &[u8]) -> Option<(Part<'_>, bool)> {
    let offset = u32::from_be_bytes(*cut(&mut bytes)?) as usize;
    let total = u32::from_be_bytes(*cut(&mut bytes)?) as usize;
    let (head, later) = match offset {
        0 => read_head(bytes).map(|(head, later)| (Some(head), later))?,
        _ => (None, !bytes.is_empty()),
    };
    Some((
        Part {
            offset,
            total,
            head,
        },
        later,
    ))
}

fn names(topics: &[TopicName]) -> Vec<&str> {
    topics.iter().map(TopicName::as_str).collect()
}

fn topics(names: Vec<String>) -> Vec<TopicName> {
    names.into_iter().map(TopicName::from).collect()
}

impl<'a> From<&'a Interest> for InterestOut<'a> {
    fn from(interest: &'a Interest) -> Self {
        Self {
            seq: interest.seq,
            begin: interest.begin,
            end: interest.end,
            gone: names(&interest.gone),
            wanted: names(&interest.wanted),
            heard: interest.heard,
        }
    }
}

impl From<InterestIn> for Interest {
    fn from(interest: InterestIn) -> Self {
        Self {
            seq: interest.seq,
            begin: interest.begin,
            end: interest.end,
            gone: topics(interest.gone),
            wanted: topics(interest.wanted),
            heard: interest.heard,
        }
    }
}
