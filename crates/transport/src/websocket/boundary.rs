//! What a client's bytes are made of, told from the headers of its frames alone: where messages end, how much has come of one that is
//! not whole, and which frames are none of a message.
//!
//! A close frame is handed on as a pong, which passes the same checks: the codec would answer it by itself, with the client's reason and
//! codes that are not to be repeated. Only here it is known which pong that is, so whoever gets the pongs asks.
//!
//! Pure: no clock, no I/O, no tasks.

/// A piece of a message below this counts as [small](Boundary::small): 1 KiB.
const SMALL_BYTES: u64 = 1024;

/// What a control frame may have.
const MOST_CONTROL_BYTES: u8 = 125;

const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x08;
const PONG: u8 = 0x0a;

/// Follows the bytes of a client.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// What is still to come of the frame behind its header. While the header comes, the length as far as it has come.
    rest: u64,
    /// How much has come of the message that is not whole. It does not count beyond 4 GiB.
    held: u32,
    /// Frames that were small, since somebody last asked; from 0 again after 65,535.
    small: u16,
    /// Messages that were passed as a whole and not yet handed out, pings and pongs among them. They are few: who is handed the bytes makes
    /// all the messages of them before it is handed more.
    whole: u16,
    /// Pongs that were passed and not yet handed out.
    pongs: u16,
    /// The first two bytes of the last header.
    head: [u8; 2],
    /// How many bytes have come of a header that is not whole.
    have: u8,
    /// Whether more fragments of a message are to come.
    in_message: bool,
    /// Whether the close frame has begun. Nothing behind it counts.
    is_closing: bool,
}

impl Boundary {
    /// Whether all messages that have begun are whole.
    pub(super) fn is_between(&self) -> bool {
        self.rest == 0 && self.have == 0 && !self.in_message
    }

    /// How many bytes have come of the message that is not whole, headers aside.
    pub(super) fn unfinished(&self) -> usize {
        self.held as usize
    }

    /// Whether the message that has begun is more than [small](Self::small), by its headers so far.
    pub(super) fn has_large(&self) -> bool {
        let is_message = self.have == 0 && !self.is_small_control();
        let to_come = if is_message { self.rest } else { 0 };
        u64::from(self.held) + to_come > SMALL_BYTES
    }

    /// How many frames have come that are no message and still cost something: pings, pongs, and small pieces of a message but for its last.
    pub(super) fn small(&self) -> u16 {
        self.small
    }

    /// The same, and begins to count anew.
    pub(super) fn take_small(&mut self) -> u16 {
        std::mem::take(&mut self.small)
    }

    /// Whether a message waits to be handed out.
    pub(super) fn has_whole(&self) -> bool {
        self.whole > 0
    }

    /// A message is handed out, or a ping or pong.
    pub(super) fn take_whole(&mut self) {
        self.whole = self.whole.saturating_sub(1);
    }

    /// A pong is handed out. Whether it was a close frame.
    pub(super) fn is_close(&mut self) -> bool {
        let is_close = self.is_closing && self.pongs == 0;
        self.pongs = self.pongs.saturating_sub(1);
        is_close
    }

    /// These bytes came next.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if self.have == 0 && self.rest > 0 {
                at += self.pass_payload(bytes.len() - at);
            } else if self.is_closing && self.have == 0 {
                return;
            } else {
                self.pass_header(&mut bytes[at]);
                at += 1;
            }
        }
    }

    /// Passes so many bytes, or as many as the frame still has. Tells how many.
    fn pass_payload(&mut self, bytes: usize) -> usize {
        let passed = bytes.min(usize::try_from(self.rest).unwrap_or(usize::MAX));
        self.rest -= passed as u64;
        if !self.is_small_control() {
            let passed = u32::try_from(passed).unwrap_or(u32::MAX);
            self.held = self.held.saturating_add(passed);
        }
        if self.rest == 0 {
            self.end_frame();
        }
        passed
    }

    fn pass_header(&mut self, byte: &mut u8) {
        match self.have {
            0 => {
                self.is_closing = *byte & OPCODE == CLOSE;
                if self.is_closing {
                    *byte = *byte & !OPCODE | PONG;
                }
                self.head[0] = *byte;
            }
            1 => {
                self.head[1] = *byte;
                let length = *byte & 0x7f;
                self.rest = if length < 126 { length.into() } else { 0 };
            }
            have if have < 2 + self.length_bytes() => {
                self.rest = self.rest << 8 | u64::from(*byte);
            }
            _of_the_mask => {}
        }
        self.have += 1;
        if self.have >= 2 && self.have == self.header_bytes() {
            self.begin_frame();
        }
    }

    /// How many bytes a length has that does not fit into the second byte.
    fn length_bytes(&self) -> u8 {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn header_bytes(&self) -> u8 {
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + self.length_bytes() + mask
    }

    fn is_control(&self) -> bool {
        self.head[0] & CONTROL != 0
    }

    /// Whether it is a control frame of a length that such a frame may have. The codec finds out only when all of it has come.
    fn is_small_control(&self) -> bool {
        self.is_control() && self.head[1] & 0x7f <= MOST_CONTROL_BYTES
    }

    fn is_final(&self) -> bool {
        self.head[0] & FINAL != 0
    }

    fn begin_frame(&mut self) {
        self.have = 0;
        let is_small = self.is_control() || !self.is_final() && self.rest < SMALL_BYTES;
        self.small = self.small.wrapping_add(is_small.into());
        if !self.is_control() {
            self.in_message = !self.is_final();
        } else if self.head[0] & OPCODE == PONG && !self.is_closing {
            self.pongs = self.pongs.saturating_add(1);
        }
        if self.rest == 0 {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        if self.is_control() || self.is_final() {
            self.whole = self.whole.saturating_add(1);
        }
        if !self.is_control() && self.is_final() {
            self.held = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of so many bytes.
    fn frame(first: u8, is_masked: bool, length: usize) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0xff; if is_masked { 4 } else { 0 } + length]);
        frame
    }

    proptest! {
        #[test]
        fn it_is_between_messages_wherever_the_bytes_are_cut(
            frames in prop::collection::vec(
                (
                    prop::sample::select(vec![0x81_u8, 0x01, 0x82, 0x00, 0x80, 0x89, 0x8a]),
                    any::<bool>(),
                    prop::sample::select(vec![0_usize, 1, 125, 126, 300, 65_535, 65_536]),
                ),
                0..6,
            ),
            cuts in prop::collection::vec(1..200_usize, 1..20),
        ) {
            let mut bytes = Vec::new();
            // Where messages are whole, and how much of one has come behind each byte.
            let (mut ends, mut in_message) = (vec![0], false);
            let (mut held, mut small) = (vec![0], 0);
            for (first, is_masked, length) in frames {
                let frame = frame(first, is_masked, length);
                let (header, is_final) = (frame.len() - length, first & 0x80 != 0);
                let before = *held.last().expect("one at least");
                held.extend(vec![before; header]);
                let is_control = first & 0x08 != 0;
                let counted = if is_control && length <= 125 { 0 } else { 1 };
                held.extend((1..=length).map(|passed| before + passed * counted));
                if !is_control && is_final {
                    *held.last_mut().expect("one at least") = 0;
                }
                small += u16::from(is_control || !is_final && length < 1024);
                bytes.extend(frame);
                if !is_control {
                    in_message = !is_final;
                }
                if !in_message {
                    ends.push(bytes.len());
                }
            }
            let (mut boundary, mut at) = (Boundary::default(), 0);
            for cut in cuts.iter().cycle() {
                prop_assert_eq!(boundary.is_between(), ends.contains(&at), "at {}", at);
                prop_assert_eq!(boundary.unfinished(), held[at], "at {}", at);
                if at == bytes.len() {
                    break;
                }
                let next = bytes.len().min(at + cut);
                boundary.pass(&mut bytes[at..next]);
                at = next;
            }
            prop_assert_eq!(boundary.take_small(), small);
            prop_assert_eq!(boundary.small(), 0);
        }

        #[test]
        fn a_close_frame_passes_as_the_last_pong_wherever_the_bytes_are_cut(
            pongs in 0..3_usize,
            cut in 1..30_usize,
        ) {
            let mut bytes = frame(0x8a, true, 2).repeat(pongs);
            bytes.extend(frame(0x88, true, 5));
            // What comes behind it is nothing.
            bytes.extend(frame(0x8a, true, 2));
            let mut boundary = Boundary::default();
            bytes.chunks_mut(cut).for_each(|bytes| boundary.pass(bytes));
            prop_assert_eq!(&bytes[..], &frame(0x8a, true, 2).repeat(pongs)
                .into_iter()
                .chain(frame(0x8a, true, 5))
                .chain(frame(0x8a, true, 2))
                .collect::<Vec<_>>()[..]);
            for _ in 0..pongs {
                prop_assert!(!boundary.is_close());
            }
            prop_assert!(boundary.is_close());
        }
    }

    #[test]
    fn a_message_that_is_not_small_is_known_by_its_headers() {
        for (frames, is_large) in [
            (&[(0x82, 1_024)][..], false),
            (&[(0x82, 1_025)], true),
            (&[(0x89, 125)], false),
            (&[(0x01, 1_000), (0x80, 24)], false),
            (&[(0x01, 1_000), (0x80, 25)], true),
            (&[(0x01, 1_025), (0x89, 1)], true),
            (&[(0x82, 1_025), (0x89, 1)], false),
        ] {
            let mut boundary = Boundary::default();
            let mut bytes: Vec<u8> = Vec::new();
            let mut last = 0;
            for &(first, length) in frames {
                bytes.extend(frame(first, true, length));
                last = length;
            }
            let header_end = bytes.len() - last;
            boundary.pass(&mut bytes[..header_end]);
            assert_eq!(boundary.has_large(), is_large, "{frames:?}");
        }
    }

    #[test]
    fn a_close_frame_keeps_what_is_wrong_with_it() {
        let mut broken = [0x78, 0x80];
        Boundary::default().pass(&mut broken);
        assert_eq!(broken, [0x7a, 0x80]);
    }

    #[test]
    fn every_connection_keeps_one_and_it_is_small() {
        assert_eq!(size_of::<Boundary>(), 24);
    }
}
