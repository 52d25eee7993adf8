//! Bytes to frames and back: what two nodes say to each other, versioned, skippable and limited in size.
//!
//! Every frame is `kind: u16, length: u32` (big endian) and `length` bytes of body. A kind that is not known is
//! skipped without being held in memory. Bodies of control frames are MessagePack maps with named fields, so a
//! later version may add fields. A message carries its head's length, for the same reason: what a later version
//! writes there (a position, say) is stepped over.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The protocol version this code speaks.
pub(crate) const PROTOCOL: u16 = 1;
/// The oldest protocol version this code still understands.
pub(crate) const OLDEST_PROTOCOL: u16 = 1;

/// The largest payload of one message.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
/// The largest frame on a lane: a largest payload, its head and a longest topic.
pub(crate) const MAX_LANE_FRAME_BYTES: usize = MAX_PAYLOAD_BYTES + 128 * 1024;
/// The largest frame on the control stream.
pub(crate) const MAX_CONTROL_FRAME_BYTES: usize = 64 * 1024;
/// How many addresses one frame carries at most; a longer list is sent in several.
pub(crate) const MAX_ADDRESSES: usize = 128;

const HEADER_BYTES: usize = 6;
/// Kind, topic length: what a message head holds beside the topic.
const MESSAGE_HEAD_BYTES: usize = 4;
/// A received body up to this size is copied out of the read buffer, so that keeping one small message does not
/// keep its neighbours' memory.
const COPY_BODY_BYTES: usize = 4 * 1024;
const MAX_DEPTH: usize = 16;

mod kind {
    pub(super) const HELLO: u16 = 1;
    pub(super) const WELCOME: u16 = 2;
    pub(super) const ACCEPT: u16 = 3;
    pub(super) const ADDRESSES: u16 = 4;
    pub(super) const HEARTBEAT: u16 = 5;
    pub(super) const GOODBYE: u16 = 6;
    pub(super) const FINISHED: u16 = 7;
    pub(super) const LANE: u16 = 16;
    pub(super) const GAP: u16 = 17;
    pub(super) const MESSAGE: u16 = 18;
}

/// One thing a node says to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// First frame of the control stream, in both directions.
    Hello(Hello),
    /// The node with the larger name has nothing against the other's hello.
    Welcome(Welcome),
    /// The node with the smaller name has nothing against it either, and has settled on this connection.
    Accept(Accept),
    /// Where other members are to be found.
    Addresses(Addresses),
    /// Still here.
    Heartbeat(Heartbeat),
    /// This node is about to go.
    Goodbye(GoodbyeFrame),
    /// Nothing more will be sent: once so many lanes have been read to their ends, the connection may be closed.
    Finished(Finished),
    /// First frame of a lane's stream.
    Lane(Lane),
    /// So many messages of this lane were dropped here, on the sender's side.
    Gap(Gap),
    /// A published message.
    Message(MessageFrame),
}

/// Who is speaking, and which versions of the protocol it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The newest protocol version spoken.
    pub(crate) protocol: u16,
    /// The oldest protocol version understood.
    pub(crate) oldest: u16,
    /// Optional parts of the protocol that the node offers; used if both do.
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The node's name.
    pub(crate) name: String,
    /// The node's incarnation.
    pub(crate) incarnation: u64,
    /// A random number of this process: tells a node from another one with the same name.
    pub(crate) instance: u64,
    /// Where the node is to be dialled; absent: where its packets come from.
    #[serde(default)]
    pub(crate) advertise: Option<String>,
    /// How many user lanes the node will open towards the other.
    #[serde(default)]
    pub(crate) lanes: u16,
}

/// See [`Frame::Welcome`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {}

/// See [`Frame::Accept`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accept {}

/// See [`Frame::Heartbeat`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heartbeat {}

/// See [`Frame::Addresses`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// The members and where they are.
    pub(crate) members: Vec<MemberAddress>,
}

/// Where one member is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberAddress {
    /// The member's name.
    pub(crate) name: String,
    /// The incarnation that was seen there.
    pub(crate) incarnation: u64,
    /// Host and port.
    pub(crate) address: String,
}

/// See [`Frame::Goodbye`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoodbyeFrame {
    /// Milliseconds within which the node means to be back; absent: it leaves for good.
    #[serde(default)]
    pub(crate) restart_within_ms: Option<u64>,
}

/// See [`Frame::Finished`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// How many lanes were opened.
    pub(crate) lanes: u16,
}

/// See [`Frame::Lane`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// The lane's number among those of its sender.
    pub(crate) lane: u16,
}

/// See [`Frame::Gap`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// How many messages.
    pub(crate) lost: u64,
}

/// See [`Frame::Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageFrame {
    /// Which dispatcher the payload is for.
    pub(crate) kind: u16,
    /// The topic.
    pub(crate) topic: ByteString,
    /// The payload, opaque here.
    pub(crate) payload: Bytes,
}

/// Why bytes are not a frame. The connection they came from must end; nothing else is affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The frame says it is longer than allowed here.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// What its header says.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The body of a known kind does not have that kind's form.
    #[error("the body of a frame of kind {kind} is malformed")]
    Malformed {
        /// The kind in its header.
        kind: u16,
    },
}

impl Frame {
    /// The frame's bytes, but for a message's payload, which [`message_head`] leaves to the caller.
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Hello(body) => encode_body(kind::HELLO, body),
            Self::Welcome(body) => encode_body(kind::WELCOME, body),
            Self::Accept(body) => encode_body(kind::ACCEPT, body),
            Self::Addresses(body) => encode_body(kind::ADDRESSES, body),
            Self::Heartbeat(body) => encode_body(kind::HEARTBEAT, body),
            Self::Goodbye(body) => encode_body(kind::GOODBYE, body),
            Self::Finished(body) => encode_body(kind::FINISHED, body),
            Self::Lane(body) => encode_body(kind::LANE, body),
            Self::Gap(body) => encode_body(kind::GAP, body),
            Self::Message(message) => {
                let head = message_head(
                    message.kind,
                    message.topic.as_bytes(),
                    message.payload.len(),
                );
                [&head[..], &message.payload[..]].concat().into()
            }
        }
    }

    /// What kind of frame it is, for the log.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Welcome(_) => "welcome",
            Self::Accept(_) => "accept",
            Self::Addresses(_) => "addresses",
            Self::Heartbeat(_) => "heartbeat",
            Self::Goodbye(_) => "goodbye",
            Self::Finished(_) => "finished",
            Self::Lane(_) => "lane",
            Self::Gap(_) => "gap",
            Self::Message(_) => "message",
        }
    }

    fn decode(kind: u16, body: Bytes) -> Result<Option<Self>, FrameError> {
        let frame = match kind {
            kind::HELLO => Self::Hello(decode_body(kind, &body)?),
            kind::WELCOME => Self::Welcome(decode_body(kind, &body)?),
            kind::ACCEPT => Self::Accept(decode_body(kind, &body)?),
            kind::ADDRESSES => Self::Addresses(decode_body(kind, &body)?),
            kind::HEARTBEAT => Self::Heartbeat(decode_body(kind, &body)?),
            kind::GOODBYE => Self::Goodbye(decode_body(kind, &body)?),
            kind::FINISHED => Self::Finished(decode_body(kind, &body)?),
            kind::LANE => Self::Lane(decode_body(kind, &body)?),
            kind::GAP => Self::Gap(decode_body(kind, &body)?),
            kind::MESSAGE => Self::Message(decode_message(body)?),
            _ => return Ok(None),
        };
        Ok(Some(frame))
    }
}

/// Everything of a message frame that stands before its payload.
pub(crate) fn message_head(message_kind: u16, topic: &[u8], payload_bytes: usize) -> Bytes {
    let head_bytes = MESSAGE_HEAD_BYTES + topic.len();
    let mut head = BytesMut::with_capacity(HEADER_BYTES + 4 + head_bytes);
    put_header(&mut head, kind::MESSAGE, 4 + head_bytes + payload_bytes);
    head.put_u32(head_bytes as u32);
    head.put_u16(message_kind);
    head.put_u16(topic.len() as u16);
    head.put_slice(topic);
    head.freeze()
}

fn decode_message(mut body: Bytes) -> Result<MessageFrame, FrameError> {
    let malformed = FrameError::Malformed {
        kind: kind::MESSAGE,
    };
    if body.len() < 4 {
        return Err(malformed);
    }
    let head_bytes = body.get_u32() as usize;
    if head_bytes < MESSAGE_HEAD_BYTES || head_bytes > body.len() {
        return Err(malformed);
    }
    let mut head = body.split_to(head_bytes);
    let kind = head.get_u16();
    let topic_bytes = head.get_u16() as usize;
    if topic_bytes > head.len() {
        return Err(malformed);
    }
    let topic = ByteString::try_from(head.split_to(topic_bytes)).map_err(|_| malformed)?;
    Ok(MessageFrame {
        kind,
        topic,
        payload: body,
    })
}

fn put_header(buffer: &mut BytesMut, kind: u16, body_bytes: usize) {
    buffer.put_u16(kind);
    buffer.put_u32(body_bytes as u32);
}

fn encode_body(kind: u16, body: &impl Serialize) -> Bytes {
    let body = rmp_serde::to_vec_named(body).expect("plain structs always serialise");
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + body.len());
    put_header(&mut frame, kind, body.len());
    frame.put_slice(&body);
    frame.freeze()
}

fn decode_body<T: DeserializeOwned>(kind: u16, body: &[u8]) -> Result<T, FrameError> {
    decode_named(body).ok_or(FrameError::Malformed { kind })
}

/// Reads one MessagePack value that must fill `bytes` entirely.
pub(crate) fn decode_named<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut deserializer).ok()?;
    rest.is_empty().then_some(value)
}

/// Cuts a stream of bytes into frames.
///
/// Call [`feed`](Self::feed) with what arrived, then [`next`](Self::next) until it gives `None`. After an error
/// the stream is of no more use.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    buffer: BytesMut,
    limit_bytes: usize,
    skip_bytes: usize,
    skipped: u64,
}

impl FrameDecoder {
    /// A decoder that refuses frames with a body of more than `limit_bytes`.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit_bytes,
            skip_bytes: 0,
            skipped: 0,
        }
    }

    /// How many frames of unknown kind were stepped over.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes in what arrived next.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        let skip = self.skip_bytes.min(bytes.len());
        self.skip_bytes -= skip;
        bytes = &bytes[skip..];
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        while let Some((kind, body_bytes)) = self.header()? {
            if !is_known(kind) {
                self.skip(body_bytes);
                continue;
            }
            if self.buffer.len() < HEADER_BYTES + body_bytes {
                return Ok(None);
            }
            self.buffer.advance(HEADER_BYTES);
            let body = self.take_body(body_bytes);
            return Frame::decode(kind, body);
        }
        Ok(None)
    }

    fn header(&self) -> Result<Option<(u16, usize)>, FrameError> {
        if self.skip_bytes > 0 || self.buffer.len() < HEADER_BYTES {
            return Ok(None);
        }
        let mut header = &self.buffer[..HEADER_BYTES];
        let kind = header.get_u16();
        let length = header.get_u32() as usize;
        let limit = self.limit_bytes;
        if length > limit {
            return Err(FrameError::TooLong { length, limit });
        }
        Ok(Some((kind, length)))
    }

    fn take_body(&mut self, body_bytes: usize) -> Bytes {
        if body_bytes > COPY_BODY_BYTES {
            return self.buffer.split_to(body_bytes).freeze();
        }
        let body = Bytes::copy_from_slice(&self.buffer[..body_bytes]);
        self.buffer.advance(body_bytes);
        body
    }

    fn skip(&mut self, body_bytes: usize) {
        self.skipped += 1;
        let here = (HEADER_BYTES + body_bytes).min(self.buffer.len());
        self.skip_bytes = HEADER_BYTES + body_bytes - here;
        self.buffer.advance(here);
    }
}

fn is_known(kind: u16) -> bool {
    matches!(kind, kind::HELLO..=kind::FINISHED | kind::LANE..=kind::MESSAGE)
}

#[cfg(test)]
mod tests;
