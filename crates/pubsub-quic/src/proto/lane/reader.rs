//! The other end of a lane: bytes in; messages, and what was lost, out.
//!
//! A message comes in one frame or, from version 2 on, in parts. What is held of a message whose end has not arrived grows
//! with what did arrive, and never beyond what this node said it takes.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::{Bytes, BytesMut};
use matryoshka_pubsub::{Kind, TopicName};

use super::super::codec::{Codec, HEADER_BYTES, Head, Skipped, head_bytes, kind, read_header};
use super::super::cutter::Cutter;
use super::super::frame::FrameError;

/// A payload up to this size is copied out of what was read, so that keeping one small message does not keep its neighbours'
/// memory.
const COPY_BYTES: usize = 4 * 1024;
/// Not more than this is reserved on the word of a message's first bytes.
const RESERVE_BYTES: usize = 1024 * 1024;

/// What a lane brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LaneEvent {
    /// A message.
    Message(Received),
    /// So many messages of this lane were dropped on the sender's side.
    Gap(u64),
}

/// A message of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// Its position; 0 if the link has none.
    pub(crate) pos: u64,
    /// What its payload is.
    pub(crate) kind: Kind,
    /// Its topic.
    pub(crate) topic: TopicName,
    /// What was published.
    pub(crate) payload: Bytes,
}

/// Call [`feed`](Self::feed) with what arrived, then [`next`](Self::next) until it gives `None`. After an error the lane is of
/// no more use, and neither is its link.
#[derive(Debug)]
pub(crate) struct LaneReader {
    codec: Codec,
    max_message_bytes: usize,
    cutter: Cutter,
    state: State,
    lane: Option<u16>,
    assembly: Option<Assembly>,
    /// Most messages of a lane are of the topic of the one before.
    topic: TopicName,
    skipped: Skipped,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At the beginning of a frame.
    Header,
    /// Within a frame of unknown kind.
    Skip { left: usize },
    /// Within the payload, or a part of it.
    Part { left: usize },
}

/// A message in parts or across pieces, as far as it is there.
#[derive(Debug)]
struct Assembly {
    received: Received,
    total: usize,
    payload: BytesMut,
}

impl LaneReader {
    /// Of a lane whose sender writes that version. It was told that this node takes payloads of `max_message_bytes`.
    pub(crate) fn new(codec: Codec, max_message_bytes: usize) -> Self {
        Self {
            codec,
            max_message_bytes,
            cutter: Cutter::default(),
            state: State::Header,
            lane: None,
            assembly: None,
            topic: TopicName::default(),
            skipped: Skipped::default(),
        }
    }

    /// Takes in what arrived next.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.cutter.feed(bytes);
    }

    /// What was stepped over since the last call.
    pub(crate) fn take_skipped(&mut self) -> Skipped {
        self.skipped.take()
    }

    /// The next event, or `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<LaneEvent>, FrameError> {
        loop {
            match self.state {
                State::Header => match self.frame()? {
                    Step::More => return Ok(None),
                    Step::Again => {}
                    Step::Event(event) => return Ok(Some(event)),
                },
                State::Skip { left } => {
                    let left = self.cutter.skip(left);
                    self.state = State::Skip { left };
                    if left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
                State::Part { left } => {
                    let left = self.assemble(left);
                    self.state = State::Part { left };
                    if left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Header;
                    if let Some(received) = self.assembled() {
                        return Ok(Some(LaneEvent::Message(received)));
                    }
                }
            }
        }
    }

    fn frame(&mut self) -> Result<Step, FrameError> {
        if !self.cutter.has(HEADER_BYTES) {
            return Ok(Step::More);
        }
        let Some((kind, bytes)) = read_header(self.cutter.front()) else {
            return Ok(Step::More);
        };
        let limit = self.codec.max_lane_bytes();
        if bytes > limit {
            return Err(FrameError::TooLong { bytes, limit });
        }
        match self.codec.is_of_lanes(kind) {
            None => {
                self.skipped.frames += 1;
                self.cutter.consume(HEADER_BYTES);
                self.state = State::Skip { left: bytes };
                return Ok(Step::Again);
            }
            // The first frame of a lane says which one it is, and no other does.
            Some(true) if self.lane.is_none() == (kind == kind::LANE) => {}
            Some(_) => return Err(FrameError::Misplaced { kind }),
        }
        if kind == kind::CHUNK {
            return self.part(bytes);
        }
        if let Some(assembly) = &self.assembly {
            let at = assembly.payload.len();
            return Err(FrameError::Broken { at, got: 0 });
        }
        if kind == kind::MESSAGE {
            return self.message(bytes);
        }
        if !self.cutter.has(HEADER_BYTES + bytes) {
            return Ok(Step::More);
        }
        let body = &self.cutter.front()[HEADER_BYTES..HEADER_BYTES + bytes];
        let step = if kind == kind::LANE {
            self.lane = Some(self.codec.read_lane(body, &mut self.skipped)?);
            Step::Again
        } else {
            Step::Event(LaneEvent::Gap(
                self.codec.read_gap(body, &mut self.skipped)?,
            ))
        };
        self.cutter.consume(HEADER_BYTES + bytes);
        Ok(step)
    }

    /// A message in one frame. One that lies across pieces is gathered like one in parts.
    fn message(&mut self, bytes: usize) -> Result<Step, FrameError> {
        if self.cutter.is_in_one_piece(HEADER_BYTES + bytes) {
            let received = self.whole_message(bytes)?;
            return Ok(Step::Event(LaneEvent::Message(received)));
        }
        let Some(head_end) = self.head_end(kind::MESSAGE, bytes)? else {
            return Ok(Step::More);
        };
        let head = &self.cutter.front()[HEADER_BYTES..head_end];
        let (head, _) = self.codec.read_head(head, &mut self.skipped)?;
        let left = HEADER_BYTES + bytes - head_end;
        check_size(left, self.max_message_bytes)?;
        self.assembly = Some(Assembly::new(head, &mut self.topic, left));
        self.cutter.consume(head_end);
        self.state = State::Part { left };
        Ok(Step::Again)
    }

    /// All of it is there.
    fn whole_message(&mut self, bytes: usize) -> Result<Received, FrameError> {
        let body = &self.cutter.front()[HEADER_BYTES..HEADER_BYTES + bytes];
        let (head, payload_at) = self.codec.read_head(body, &mut self.skipped)?;
        let mut received = received(head, &mut self.topic);
        let payload = &body[payload_at..];
        check_size(payload.len(), self.max_message_bytes)?;
        if payload.len() <= COPY_BYTES {
            received.payload = Bytes::copy_from_slice(payload);
            self.cutter.consume(HEADER_BYTES + bytes);
        } else {
            let frame = self.cutter.take(HEADER_BYTES + bytes);
            received.payload = frame.slice(HEADER_BYTES + payload_at..);
        }
        Ok(received)
    }

    /// Where the head ends with which the frame begins, once all of it is there.
    fn head_end(&mut self, kind: u16, bytes: usize) -> Result<Option<usize>, FrameError> {
        let begin = HEADER_BYTES + 4;
        if bytes < 4 {
            return Err(FrameError::Malformed { kind });
        }
        if !self.cutter.has(begin) {
            return Ok(None);
        }
        let head_bytes = head_bytes(&self.cutter.front()[HEADER_BYTES..]).unwrap_or(0);
        if head_bytes > bytes - 4 {
            return Err(FrameError::Malformed { kind });
        }
        let end = begin + head_bytes;
        Ok(self.cutter.has(end).then_some(end))
    }

    /// A part of a message; its bytes are still to come.
    fn part(&mut self, bytes: usize) -> Result<Step, FrameError> {
        let Some(head_end) = self.head_end(kind::CHUNK, bytes)? else {
            return Ok(Step::More);
        };
        let left = HEADER_BYTES + bytes - head_end;
        let head = &self.cutter.front()[HEADER_BYTES + 4..head_end];
        let part = self.codec.read_part(head, &mut self.skipped)?;
        let at = self.assembly.as_ref().map_or(0, |it| it.payload.len());
        let broken = FrameError::Broken {
            at,
            got: part.offset,
        };
        match (&self.assembly, part.head) {
            (None, Some(head)) => {
                check_size(part.total, self.max_message_bytes)?;
                self.assembly = Some(Assembly::new(head, &mut self.topic, part.total));
            }
            (Some(assembly), None) if part.offset == at && part.total == assembly.total => {}
            _ => return Err(broken),
        }
        // An empty part would let a message go on for ever, one that is too long would not end where it has to.
        if left == 0 || left > part.total - part.offset.min(part.total) {
            return Err(broken);
        }
        self.cutter.consume(head_end);
        self.state = State::Part { left };
        Ok(Step::Again)
    }

    /// Takes in bytes of a part; how many are still to come.
    fn assemble(&mut self, left: usize) -> usize {
        let Some(Assembly { total, payload, .. }) = &mut self.assembly else {
            return 0;
        };
        self.cutter.drain(left, |bytes| {
            if payload.capacity() - payload.len() < bytes.len() {
                // Twice of what is there at most, and never more than there will be.
                payload.reserve((*total - payload.len()).min(payload.len().max(bytes.len())));
            }
            payload.extend_from_slice(bytes);
        })
    }

    /// The message whose last part is there.
    fn assembled(&mut self) -> Option<Received> {
        let is_whole = |it: &Assembly| it.payload.len() == it.total;
        if !self.assembly.as_ref().is_some_and(is_whole) {
            return None;
        }
        let assembly = self.assembly.take()?;
        Some(Received {
            payload: assembly.payload.freeze(),
            ..assembly.received
        })
    }
}

impl Assembly {
    /// Of a message with so many bytes of payload. `topic` is that of the message before.
    fn new(head: Head<'_>, topic: &mut TopicName, total: usize) -> Self {
        Self {
            received: received(head, topic),
            total,
            payload: BytesMut::with_capacity(total.min(RESERVE_BYTES)),
        }
    }
}

/// What came of looking at a frame.
enum Step {
    /// More bytes are needed.
    More,
    /// It is dealt with.
    Again,
    Event(LaneEvent),
}

/// A message without its payload. `last` is the topic of the one before.
fn received(head: Head<'_>, last: &mut TopicName) -> Received {
    if head.topic != last.as_str() {
        *last = head.topic.into();
    }
    Received {
        pos: head.pos,
        kind: Kind(head.kind),
        topic: last.clone(),
        payload: Bytes::new(),
    }
}

fn check_size(bytes: usize, limit: usize) -> Result<(), FrameError> {
    if bytes > limit {
        return Err(FrameError::TooLarge { bytes, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
