//! Cuts a stream of bytes at the places its reader asks for, copying only what lies across two pieces.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::{Buf, Bytes, BytesMut};

/// More than this is not reserved on the word of a header alone: beyond it, memory grows with what arrives.
const RESERVE_BYTES: usize = 128 * 1024;
/// A gathering buffer up to this size is kept for the next time.
const SPARE_BYTES: usize = 4 * 1024;

/// The front of a stream, as far as it has arrived.
///
/// Call [`feed`](Self::feed) with what arrived; then ask whether so many bytes are there in one piece
/// ([`has`](Self::has)), look at them ([`front`](Self::front)) and step over them ([`consume`](Self::consume)).
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    /// What was asked for and lies across two pieces, as far as it is there. Stands before `input`.
    gathered: BytesMut,
    input: Bytes,
}

impl Cutter {
    /// Takes in what arrived next.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            self.input = [&self.input[..], &bytes[..]].concat().into();
        }
    }

    /// Whether the first `count` bytes are there, in one piece. Until they are consumed, never ask for fewer.
    pub(crate) fn has(&mut self, count: usize) -> bool {
        if self.gathered.is_empty() && self.input.len() >= count {
            return true;
        }
        let missing = count.saturating_sub(self.gathered.len());
        let here = missing.min(self.input.len());
        if here > 0 {
            self.gathered.reserve(missing.min(RESERVE_BYTES).max(here));
            self.gathered.extend_from_slice(&self.input[..here]);
            self.input.advance(here);
        }
        here == missing
    }

    /// The same without gathering anything: for whoever can do with pieces.
    pub(crate) fn is_in_one_piece(&self, count: usize) -> bool {
        self.front().len() >= count
    }

    /// What is there in one piece; at least what [`has`](Self::has) said is.
    pub(crate) fn front(&self) -> &[u8] {
        if self.gathered.is_empty() {
            &self.input
        } else {
            &self.gathered
        }
    }

    /// Steps over the first `count` bytes, all of which are there in one piece.
    pub(crate) fn consume(&mut self, count: usize) {
        if self.gathered.is_empty() {
            return self.input.advance(count);
        }
        self.gathered.advance(count);
        if self.gathered.is_empty() && self.gathered.capacity() > SPARE_BYTES {
            self.gathered = BytesMut::new();
        }
    }

    /// Takes out the first `count` bytes, all of which are there in one piece, without a copy. They may keep what
    /// arrived with them in memory.
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        if self.gathered.is_empty() {
            self.input.split_to(count)
        } else if count == self.gathered.len() {
            std::mem::take(&mut self.gathered).freeze()
        } else {
            self.gathered.split_to(count).freeze()
        }
    }

    /// Steps over up to `count` bytes; how many of them are still to come.
    pub(crate) fn skip(&mut self, count: usize) -> usize {
        self.drain(count, |_| {})
    }

    /// Hands up to `count` bytes to `take`, in as many pieces as they lie in; how many of them are still to come.
    pub(crate) fn drain(&mut self, mut count: usize, mut take: impl FnMut(&[u8])) -> usize {
        while count > 0 && !self.front().is_empty() {
            let here = count.min(self.front().len());
            take(&self.front()[..here]);
            self.consume(here);
            count -= here;
        }
        count
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.gathered.len() + self.input.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn whatever_the_pieces_the_cuts_are_the_same(
            cuts in vec((1_usize..300, 0_u8..4), 1..20),
            piece in 1_usize..400,
        ) {
            let total = cuts.iter().map(|(count, _)| count).sum();
            let bytes: Vec<u8> = (0..total).map(|n| (n % 251) as u8).collect();
            let mut pieces = bytes.chunks(piece);
            let (mut cutter, mut seen) = (Cutter::default(), Vec::new());
            for (count, how) in cuts {
                if how < 3 {
                    while !cutter.has(count) {
                        cutter.feed(Bytes::copy_from_slice(pieces.next().expect("all is there")));
                    }
                }
                match how {
                    0 => {
                        seen.extend_from_slice(&cutter.front()[..count]);
                        cutter.consume(count);
                    }
                    1 => seen.extend_from_slice(&cutter.take(count)),
                    _ => {
                        let mut left = cutter.drain(count, |part| seen.extend_from_slice(part));
                        while left > 0 {
                            cutter.feed(Bytes::copy_from_slice(pieces.next().expect("all is there")));
                            left = cutter.drain(left, |part| seen.extend_from_slice(part));
                        }
                    }
                }
            }
            prop_assert_eq!(seen, bytes);
        }
    }

    #[test]
    fn what_is_there_in_one_piece_is_not_copied() {
        let bytes = Bytes::from(vec![7; 100]);
        let mut cutter = Cutter::default();
        cutter.feed(bytes.clone());
        assert!(cutter.has(60));
        assert_eq!(cutter.take(60).as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn memory_is_reserved_for_what_arrives_not_for_what_is_said() {
        let mut cutter = Cutter::default();
        cutter.feed(Bytes::from_static(b"a"));
        assert!(!cutter.has(usize::MAX / 2));
        assert!(cutter.gathered.capacity() <= 2 * RESERVE_BYTES);
        assert_eq!(cutter.held(), 1);
    }
}
