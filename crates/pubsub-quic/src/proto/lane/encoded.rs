//! Frames as bytes, made once and put into any number of queues.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;

/// Payloads up to this size are copied together with what stands around them, into each queue: one long run of bytes costs QUIC
/// less than many short ones. Larger ones are shared.
pub(crate) const COPY_BYTES: usize = 8 * 1024;
/// Payloads up to this size are copied here already, which is cheaper than to share them until then.
const COPY_HERE_BYTES: usize = 256;

/// One frame or more, in the form in which they are written: runs of bytes, and between them payloads that are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoded {
    copied: Vec<u8>,
    /// Each with how many copied bytes stand before it.
    shared: Vec<(usize, Bytes)>,
    bytes: usize,
}

/// A piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// To be copied.
    Run(&'a [u8]),
    /// To be copied or shared, as it is large.
    Payload(&'a Bytes),
}

impl Encoded {
    /// Empties it, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.shared.clear();
        self.bytes = 0;
    }

    /// Appends bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
        self.bytes += bytes.len();
    }

    /// Appends a payload.
    pub(crate) fn put_payload(&mut self, payload: Bytes) {
        if payload.len() <= COPY_HERE_BYTES {
            return self.put(&payload);
        }
        self.bytes += payload.len();
        self.shared.push((self.copied.len(), payload));
    }

    /// How many bytes it is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many payloads queues share with it.
    pub(crate) fn payloads(&self) -> usize {
        let is_large = |shared: &&(usize, Bytes)| shared.1.len() > COPY_BYTES;
        self.shared.iter().filter(is_large).count()
    }

    /// All of it, as one run.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn concat(&self) -> Bytes {
        let pieces = self.pieces().map(|piece| match piece {
            Piece::Run(run) => run,
            Piece::Payload(payload) => payload,
        });
        pieces.collect::<Vec<_>>().concat().into()
    }

    /// All of it, in order. Runs may be empty.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut from = 0;
        let before = self.shared.iter().flat_map(move |(at, payload)| {
            let run = &self.copied[std::mem::replace(&mut from, *at)..*at];
            [Piece::Run(run), Piece::Payload(payload)]
        });
        let last = self.shared.last().map_or(0, |(at, _)| *at);
        before.chain([Piece::Run(&self.copied[last..])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_copied_and_what_is_large_is_shared_in_order() {
        let large = Bytes::from(vec![2; COPY_BYTES + 1]);
        let mut encoded = Encoded::default();
        encoded.put(b"a");
        encoded.put_payload(Bytes::from_static(b"small"));
        encoded.put_payload(large.clone());
        encoded.put_payload(large.clone());
        encoded.put(b"z");
        let pieces: Vec<Piece<'_>> = encoded.pieces().collect();
        let (run, payload) = (Piece::Run, Piece::Payload(&large));
        assert_eq!(
            pieces,
            [run(b"asmall"), payload, run(b""), payload, run(b"z")]
        );
        assert_eq!(encoded.bytes(), 7 + 2 * large.len());
        assert_eq!(encoded.payloads(), 2);
        encoded.clear();
        assert_eq!(encoded.bytes(), 0);
        assert!(encoded.pieces().all(|piece| piece == Piece::Run(b"")));
    }
}
