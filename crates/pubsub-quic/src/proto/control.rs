//! The control stream's receiving end: bytes in, frames out.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;

use super::codec::{Codec, HEADER_BYTES, Skipped, read_header};
use super::cutter::Cutter;
use super::frame::{Frame, FrameError};

/// Call [`feed`](Self::feed) with what arrived, then [`next`](Self::next) until it gives `None`. After an error the stream is of
/// no more use.
///
/// It goes over to the version that is agreed as soon as it has read the hello. What routers say is kept back until the link
/// is up at this end too: the other end may be the earlier one.
#[derive(Debug)]
pub(crate) struct ControlReader {
    newest: Codec,
    codec: Codec,
    cutter: Cutter,
    skip: usize,
    held: Option<Frame>,
    skipped: Skipped,
}

impl ControlReader {
    /// Of a node whose newest version that is.
    pub(crate) fn new(newest: Codec) -> Self {
        Self {
            newest,
            codec: newest,
            cutter: Cutter::default(),
            skip: 0,
            held: None,
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

    /// Whether a frame waits for the link to come up at this end. Nothing more should be read until it has.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The next whole frame, or `None` when more bytes are needed, or the link has to be `up` first.
    pub(crate) fn next(&mut self, up: bool) -> Result<Option<Frame>, FrameError> {
        let frame = match self.held.take() {
            Some(frame) => Some(frame),
            None => self.read()?,
        };
        if !up && matches!(frame, Some(Frame::Routing(_))) {
            self.held = frame;
            return Ok(None);
        }
        Ok(frame)
    }

    fn read(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            self.skip = self.cutter.skip(self.skip);
            if self.skip > 0 || !self.cutter.has(HEADER_BYTES) {
                return Ok(None);
            }
            let Some((kind, bytes)) = read_header(self.cutter.front()) else {
                return Ok(None);
            };
            let limit = self.codec.max_control_bytes();
            if bytes > limit {
                return Err(FrameError::TooLong { bytes, limit });
            }
            match self.codec.is_of_lanes(kind) {
                None => {
                    self.skipped.frames += 1;
                    self.skip = HEADER_BYTES + bytes;
                }
                Some(true) => return Err(FrameError::Misplaced { kind }),
                Some(false) if !self.cutter.has(HEADER_BYTES + bytes) => return Ok(None),
                Some(false) => {
                    let body = &self.cutter.front()[HEADER_BYTES..HEADER_BYTES + bytes];
                    let frame = self.codec.decode(kind, body, &mut self.skipped)?;
                    self.cutter.consume(HEADER_BYTES + bytes);
                    if let Frame::Hello(hello) = &frame {
                        // Without a version in common the link ends at the hello anyway.
                        self.codec = self.newest.agreed(hello).unwrap_or(self.codec);
                    }
                    return Ok(Some(frame));
                }
            }
        }
    }
}
