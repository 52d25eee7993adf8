//! What waits to be written to one stream: bounded in bytes, filled without waiting, emptied in batches.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;

use bytes::Bytes;

use super::encoded::{COPY_BYTES, Encoded, Piece};

/// What a run or a payload counts beside its bytes.
const PART_BYTES: usize = 64;
/// A run of copied bytes that is this long is not continued: another one begins.
const RUN_BYTES: usize = 64 * 1024;
/// How many times as long a run becomes that needs more room than was thought.
const GROWTH: usize = 8;
/// A batch is handed out as soon as it has this many bytes.
const BATCH_BYTES: usize = 256 * 1024;
/// An empty queue keeps room for this many runs and payloads; more is given back.
const SPARE: usize = 16;

/// What became of frames that were pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// They will be written.
    Queued {
        /// Nothing waited before: whoever writes has to be woken.
        first: bool,
    },
    /// There was no room for all of them; none was taken.
    Full,
    /// Nothing is taken any more.
    Closed,
}

/// Bytes in the order in which they were pushed, at most so many of them. One push larger than the bound still fits when
/// nothing else waits.
#[derive(Debug)]
pub(crate) struct LaneQueue {
    bound_bytes: usize,
    bytes: usize,
    parts: VecDeque<Bytes>,
    /// The run that is continued; stands behind all `parts`.
    run: Vec<u8>,
    /// How long the run before became, and hence about what room this one needs.
    last_run: usize,
    closed: bool,
}

impl LaneQueue {
    /// An empty one.
    pub(crate) fn new(bound_bytes: usize) -> Self {
        Self {
            bound_bytes,
            bytes: 0,
            parts: VecDeque::new(),
            run: Vec::new(),
            last_run: 0,
            closed: false,
        }
    }

    /// Appends all of the frames, or none.
    pub(crate) fn push(&mut self, frames: &[&Encoded]) -> Pushed {
        if self.closed {
            return Pushed::Closed;
        }
        let first = self.is_empty();
        let bytes: usize = frames.iter().map(|frame| frame.bytes()).sum();
        let parts: usize = frames.iter().map(|frame| frame.payloads()).sum();
        if !first && self.bytes() + bytes + parts * PART_BYTES > self.bound_bytes {
            return Pushed::Full;
        }
        self.bytes += bytes;
        for piece in frames.iter().flat_map(|frame| frame.pieces()) {
            match piece {
                Piece::Run(run) => self.append(run),
                Piece::Payload(payload) if payload.len() <= COPY_BYTES => self.append(payload),
                Piece::Payload(payload) => {
                    self.end_run();
                    self.parts.push_back(payload.clone());
                }
            }
        }
        Pushed::Queued { first }
    }

    /// Takes nothing more; what waits can still be taken.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether nothing is taken any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.run.is_empty()
    }

    /// How much waits, as it counts against the bound.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.parts.len() * PART_BYTES
    }

    /// Moves some of what waits, oldest first, to `batch`; whether there was any.
    pub(crate) fn take_batch(&mut self, batch: &mut Vec<Bytes>) -> bool {
        if self.parts.is_empty() {
            self.end_run();
        }
        let mut taken = 0;
        while taken < BATCH_BYTES {
            let Some(part) = self.parts.pop_front() else {
                break;
            };
            taken += part.len();
            batch.push(part);
            if self.parts.is_empty() {
                self.end_run();
            }
        }
        self.bytes -= taken;
        if self.parts.is_empty() {
            self.parts.shrink_to(SPARE);
        }
        taken > 0
    }

    fn append(&mut self, run: &[u8]) {
        if self.run.len() + run.len() > RUN_BYTES {
            self.end_run();
        }
        if self.run.capacity() - self.run.len() < run.len() {
            self.make_room(run.len());
        }
        self.run.extend_from_slice(run);
    }

    /// In few steps, of which a lane that is busy takes none: growing moves what is there, under a lock that publishers wait for.
    fn make_room(&mut self, bytes: usize) {
        let most = RUN_BYTES.saturating_sub(self.run.len());
        let wanted = match self.run.len() {
            0 => self.last_run,
            here => here * (GROWTH - 1),
        };
        self.run.reserve_exact(wanted.min(most).max(bytes));
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            self.last_run = self.run.len();
            self.parts.push_back(std::mem::take(&mut self.run).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(bytes: usize, fill: u8) -> Encoded {
        let mut frame = Encoded::default();
        frame.put_payload(vec![fill; bytes].into());
        frame
    }

    fn all(queue: &mut LaneQueue) -> Vec<Bytes> {
        let mut batch = Vec::new();
        while queue.take_batch(&mut batch) {}
        batch
    }

    #[test]
    fn small_frames_are_written_together_and_large_payloads_are_not_copied() {
        let mut queue = LaneQueue::new(1_000_000);
        let payload = Bytes::from(vec![7; COPY_BYTES + 1]);
        let mut large = Encoded::default();
        large.put(b"head");
        large.put_payload(payload.clone());
        for frame in [&frame(20, 1), &frame(30, 2), &large, &frame(5, 3)] {
            queue.push(&[frame]);
        }
        let parts = all(&mut queue);
        let sizes: Vec<usize> = parts.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [54, payload.len(), 5]);
        assert_eq!(parts[1].as_ptr(), payload.as_ptr());
    }

    #[test]
    fn a_full_queue_takes_all_or_nothing_and_goes_on_when_there_is_room() {
        let mut queue = LaneQueue::new(1_000);
        assert_eq!(
            queue.push(&[&frame(600, 1)]),
            Pushed::Queued { first: true }
        );
        assert_eq!(queue.push(&[&frame(100, 2), &frame(400, 2)]), Pushed::Full);
        assert_eq!(
            queue.push(&[&frame(300, 3)]),
            Pushed::Queued { first: false }
        );
        assert_eq!(queue.bytes(), 900);
        assert_eq!(
            all(&mut queue).concat(),
            [vec![1; 600], vec![3; 300]].concat()
        );
        assert_eq!((queue.bytes(), queue.is_empty()), (0, true));
        assert_eq!(
            queue.push(&[&frame(100, 4)]),
            Pushed::Queued { first: true }
        );
    }

    #[test]
    fn what_is_larger_than_the_bound_fits_alone() {
        let mut queue = LaneQueue::new(1_000);
        assert_eq!(
            queue.push(&[&frame(50_000, 1)]),
            Pushed::Queued { first: true }
        );
        assert_eq!(queue.push(&[&frame(1, 2)]), Pushed::Full);
        assert_eq!(all(&mut queue).concat().len(), 50_000);
    }

    #[test]
    fn a_closed_queue_gives_out_what_waits_and_takes_nothing() {
        let mut queue = LaneQueue::new(1_000);
        queue.push(&[&frame(1, 1)]);
        queue.close();
        assert_eq!(queue.push(&[&frame(1, 2)]), Pushed::Closed);
        assert_eq!(all(&mut queue).concat(), [1]);
    }

    #[test]
    fn batches_are_limited() {
        let mut queue = LaneQueue::new(usize::MAX);
        for _ in 0..100 {
            queue.push(&[&frame(RUN_BYTES / 2, 1)]);
        }
        let mut batch = Vec::new();
        while queue.take_batch(&mut batch) {
            let bytes: usize = batch.drain(..).map(|part| part.len()).sum();
            assert!(bytes < BATCH_BYTES + 2 * RUN_BYTES);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Against a queue that remembers each push.
        #[test]
        fn what_was_taken_in_comes_out_in_order_and_within_the_bound(
            steps in vec((1_usize..30_000, any::<bool>()), 1..80),
            bound in 1_usize..200_000,
        ) {
            let (mut queue, mut batch) = (LaneQueue::new(bound), Vec::new());
            let (mut pushed, mut taken) = (Vec::new(), Vec::new());
            for (number, (bytes, take)) in steps.into_iter().enumerate() {
                if take {
                    queue.take_batch(&mut batch);
                    taken.extend(batch.drain(..).flatten());
                }
                let (empty, before) = (queue.is_empty(), queue.bytes());
                let fill = number as u8;
                match queue.push(&[&frame(bytes, fill)]) {
                    Pushed::Queued { first } => {
                        prop_assert_eq!(first, empty);
                        prop_assert!(empty || before + bytes <= bound);
                        pushed.extend(vec![fill; bytes]);
                    }
                    Pushed::Full => prop_assert!(!empty && before + bytes + 2 * PART_BYTES > bound),
                    Pushed::Closed => prop_assert!(false),
                }
                prop_assert!(queue.bytes() >= pushed.len() - taken.len());
            }
            taken.extend(all(&mut queue).into_iter().flatten());
            prop_assert_eq!(taken, pushed);
            prop_assert_eq!(queue.bytes(), 0);
        }
    }
}
