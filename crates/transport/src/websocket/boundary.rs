//! Where the frames of a client end, told from their headers alone.
//!
//! Pure: no clock, no I/O, no tasks.

/// The most bytes that a header has: two, eight of a length, four of a mask.
const HEADER_BYTES: usize = 14;

/// Follows the bytes of a client.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// What is still to come of the frame behind its header.
    rest: u64,
    /// What has come of a header that is not whole.
    header: [u8; HEADER_BYTES],
    have: u8,
    /// Whether more fragments of a message are to come.
    in_message: bool,
}

impl Boundary {
    /// Whether all messages that have begun are whole.
    pub(super) fn is_between(&self) -> bool {
        self.rest == 0 && self.have == 0 && !self.in_message
    }

    /// These bytes came next.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, behind)) = bytes.split_first() {
            if self.rest > 0 {
                let passed = bytes
                    .len()
                    .min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                self.rest -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            self.header[usize::from(self.have)] = byte;
            self.have += 1;
            bytes = behind;
            if usize::from(self.have) >= 2 && usize::from(self.have) == self.header_bytes() {
                self.begin_frame();
            }
        }
    }

    /// How many bytes the header has that begins as this one.
    fn header_bytes(&self) -> usize {
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn begin_frame(&mut self) {
        let [first, second, behind @ ..] = &self.header;
        self.rest = match second & 0x7f {
            126 => behind[..2]
                .iter()
                .fold(0, |length, &byte| length << 8 | u64::from(byte)),
            127 => behind[..8]
                .iter()
                .fold(0, |length, &byte| length << 8 | u64::from(byte)),
            length => u64::from(length),
        };
        let is_control = first & 0x08 != 0;
        if !is_control {
            self.in_message = first & 0x80 == 0;
        }
        self.have = 0;
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
            let (mut ends, mut in_message) = (vec![0], false);
            for (first, is_masked, length) in frames {
                bytes.extend(frame(first, is_masked, length));
                if first & 0x08 == 0 {
                    in_message = first & 0x80 == 0;
                }
                if !in_message {
                    ends.push(bytes.len());
                }
            }
            let (mut boundary, mut at) = (Boundary::default(), 0);
            for cut in cuts.iter().cycle() {
                prop_assert_eq!(boundary.is_between(), ends.contains(&at), "at {}", at);
                if at == bytes.len() {
                    break;
                }
                let next = bytes.len().min(at + cut);
                boundary.pass(&bytes[at..next]);
                at = next;
            }
        }
    }
}
