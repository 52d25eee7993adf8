//! Version 1, kept for nodes of the release before: no positions, no interest, every message in one piece.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;
use matryoshka_pubsub::{Envelope, Payload};
use serde::{Deserialize, Serialize};

use super::{Head, Skipped, cut, cut_text, kind, named_frame, put_header, read_named};
use crate::proto::frame::{self, Frame, MemberAddress};
use crate::proto::lane::Encoded;

/// The largest frame on the control stream.
pub(super) const MAX_CONTROL_BYTES: usize = 64 * 1024;
/// The largest payload, which no node can change.
pub(super) const MAX_PAYLOAD_BYTES: usize = Payload::MAX_BYTES;
/// Kind and topic length.
const HEAD_BYTES: usize = 4;

#[derive(Serialize, Deserialize)]
struct Hello {
    protocol: u16,
    oldest: u16,
    #[serde(default)]
    capabilities: Vec<String>,
    cluster: String,
    name: String,
    incarnation: u64,
    instance: u64,
    #[serde(default)]
    advertise: Option<String>,
    #[serde(default)]
    lanes: u16,
}

#[derive(Serialize, Deserialize)]
struct Empty {}

#[derive(Serialize, Deserialize)]
struct Addresses {
    members: Vec<Address>,
}

#[derive(Serialize, Deserialize)]
struct Address {
    name: String,
    incarnation: u64,
    address: String,
}

#[derive(Serialize, Deserialize)]
struct Goodbye {
    #[serde(default)]
    restart_within_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Finished {
    lanes: u16,
}

#[derive(Serialize, Deserialize)]
struct Lane {
    lane: u16,
}

#[derive(Serialize, Deserialize)]
struct Gap {
    lost: u64,
}

pub(super) fn encode(frame: &Frame) -> Option<Bytes> {
    Some(match frame {
        Frame::Hello(hello) => named_frame(kind::HELLO, &Hello::from(hello)),
        Frame::Welcome => named_frame(kind::WELCOME, &Empty {}),
        Frame::Accept => named_frame(kind::ACCEPT, &Empty {}),
        Frame::Addresses(members) => {
            let members = members.iter().map(Address::from).collect();
            named_frame(kind::ADDRESSES, &Addresses { members })
        }
        Frame::Heartbeat => named_frame(kind::HEARTBEAT, &Empty {}),
        &Frame::Goodbye { restart_within_ms } => {
            named_frame(kind::GOODBYE, &Goodbye { restart_within_ms })
        }
        &Frame::Finished { lanes } => named_frame(kind::FINISHED, &Finished { lanes }),
        Frame::Routing(_) => return None,
    })
}

pub(super) fn decode(kind: u16, body: &[u8], skipped: &mut Skipped) -> Option<Frame> {
    Some(match kind {
        kind::HELLO => Frame::Hello(read_named::<Hello>(body, skipped)?.into()),
        kind::WELCOME => empty(body, skipped, Frame::Welcome)?,
        kind::ACCEPT => empty(body, skipped, Frame::Accept)?,
        kind::ADDRESSES => {
            let told: Addresses = read_named(body, skipped)?;
            Frame::Addresses(told.members.into_iter().map(Into::into).collect())
        }
        kind::HEARTBEAT => empty(body, skipped, Frame::Heartbeat)?,
        kind::GOODBYE => {
            let Goodbye { restart_within_ms } = read_named(body, skipped)?;
            Frame::Goodbye { restart_within_ms }
        }
        kind::FINISHED => {
            let Finished { lanes } = read_named(body, skipped)?;
            Frame::Finished { lanes }
        }
        _ => return None,
    })
}

pub(super) fn put_lane(lane: u16, into: &mut Encoded) {
    into.put(&named_frame(kind::LANE, &Lane { lane }));
}

pub(super) fn put_gap(lost: u64, into: &mut Encoded) {
    into.put(&named_frame(kind::GAP, &Gap { lost }));
}

pub(super) fn put_message(envelope: &Envelope, into: &mut Encoded) {
    let (topic, payload) = (envelope.topic.as_bytes(), &envelope.payload);
    let head = HEAD_BYTES + topic.len();
    put_header(into, kind::MESSAGE, 4 + head + payload.len());
    into.put(&(head as u32).to_be_bytes());
    into.put(&envelope.kind.0.to_be_bytes());
    into.put(&(topic.len() as u16).to_be_bytes());
    into.put(topic);
    into.put_payload(payload.clone());
}

pub(super) fn read_lane(body: &[u8], skipped: &mut Skipped) -> Option<u16> {
    read_named(body, skipped).map(|Lane { lane }| lane)
}

pub(super) fn read_gap(body: &[u8], skipped: &mut Skipped) -> Option<u64> {
    read_named(body, skipped).map(|Gap { lost }| lost)
}

/// The head, and whether a later version added to it.
pub(super) fn read_head(mut bytes: &[u8]) -> Option<(Head<'_>, bool)> {
    let kind = u16::from_be_bytes(*cut(&mut bytes)?);
    let topic = cut_text(&mut bytes)?;
    let head = Head {
        kind,
        topic,
        pos: 0,
    };
    Some((head, !bytes.is_empty()))
}

fn empty(body: &[u8], skipped: &mut Skipped, frame: Frame) -> Option<Frame> {
    read_named(body, skipped).map(|Empty {}| frame)
}

impl From<&frame::Hello> for Hello {
    fn from(hello: &frame::Hello) -> Self {
        Self {
            protocol: hello.protocol,
            oldest: hello.oldest,
            capabilities: hello.capabilities.clone(),
            cluster: hello.cluster.clone(),
            name: hello.name.clone(),
            incarnation: hello.incarnation,
            instance: hello.instance,
            advertise: hello.advertise.clone(),
            lanes: hello.lanes,
        }
    }
}

impl From<Hello> for frame::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            protocol: hello.protocol,
            oldest: hello.oldest,
            capabilities: hello.capabilities,
            cluster: hello.cluster,
            name: hello.name,
            incarnation: hello.incarnation,
            instance: hello.instance,
            advertise: hello.advertise,
            lanes: hello.lanes,
            clock_ms: None,
            max_message_bytes: None,
        }
    }
}

impl From<&MemberAddress> for Address {
    fn from(member: &MemberAddress) -> Self {
        Self {
            name: member.name.clone(),
            incarnation: member.incarnation,
            address: member.address.clone(),
        }
    }
}

impl From<Address> for MemberAddress {
    fn from(member: Address) -> Self {
        Self {
            name: member.name,
            incarnation: member.incarnation,
            address: member.address,
        }
    }
}
