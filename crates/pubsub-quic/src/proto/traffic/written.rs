//! Messages as bytes, written once for each version of the protocol in use, whatever the number of peers.
//!
//! Pure: no clock, no I/O, no tasks.

use matryoshka_pubsub::Envelope;
use matryoshka_pubsub::cluster::interest::LaneFrame;

use crate::proto::codec::Codec;
use crate::proto::lane::Encoded;

/// The last message as each version has it: copies of one message go out one after another, so it is written once.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Positions begin at 1.
    v1: (u64, Encoded),
    v2: (u64, Encoded),
    /// What goes before the message.
    before: Encoded,
    nothing: Encoded,
    count: u64,
}

impl Written {
    /// Writes the frames, a gap, a message, or both in this order, as that version has them; `begins` is the lane if nothing was
    /// written to it before.
    pub(super) fn write(&mut self, codec: Codec, begins: Option<u16>, frames: &[LaneFrame]) {
        self.before.clear();
        if let Some(lane) = begins {
            codec.put_lane(lane, &mut self.before);
        }
        for frame in frames {
            match frame {
                LaneFrame::Gap(lost) => codec.put_gap(*lost, &mut self.before),
                LaneFrame::Message { pos, envelope } => self.write_message(codec, *pos, envelope),
            }
        }
    }

    fn write_message(&mut self, codec: Codec, pos: u64, envelope: &Envelope) {
        let (written, encoded) = self.version(codec);
        if *written == pos {
            return;
        }
        *written = pos;
        encoded.clear();
        codec.put_message(pos, envelope, encoded);
        self.count += 1;
    }

    /// What was written of them, in order.
    pub(super) fn parts(&self, codec: Codec, frames: &[LaneFrame]) -> [&Encoded; 2] {
        let message = match (frames.last(), codec) {
            (Some(LaneFrame::Message { .. }), Codec::V1) => &self.v1.1,
            (Some(LaneFrame::Message { .. }), Codec::V2) => &self.v2.1,
            _ => &self.nothing,
        };
        [&self.before, message]
    }

    fn version(&mut self, codec: Codec) -> &mut (u64, Encoded) {
        match codec {
            Codec::V1 => &mut self.v1,
            Codec::V2 => &mut self.v2,
        }
    }

    /// Messages written so far, each version of one counted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Lets go of the payload.
    pub(super) fn forget(&mut self) {
        for (written, encoded) in [&mut self.v1, &mut self.v2] {
            *written = 0;
            encoded.clear();
        }
    }
}
