//! What waits to be written to one stream: bounded in bytes, filled without waiting, emptied in batches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::proto::frame::{Frame, Gap};

/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 64;
/// A batch is handed out as soon as it has this many bytes.
const BATCH_BYTES: usize = 256 * 1024;
/// An empty queue keeps room for this many entries; more is given back.
const SPARE_ENTRIES: usize = 64;

/// One frame in two parts: what stands before the payload, and the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) head: Bytes,
    pub(crate) payload: Bytes,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It will be written.
    Queued,
    /// There was no room.
    Full,
    /// Nothing is taken any more.
    Closed,
}

/// Many may push; one may take batches.
#[derive(Debug)]
pub(crate) struct Queue {
    bound_bytes: usize,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    gap: u64,
    closed: bool,
}

impl Queue {
    /// A queue of at most `bound_bytes`. One larger entry still fits when nothing else waits.
    pub(crate) fn new(bound_bytes: usize) -> Self {
        Self {
            bound_bytes,
            state: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Queues the entry, or does nothing.
    pub(crate) fn push(&self, entry: Entry) -> Pushed {
        let mut state = self.lock();
        let pushed = state.push(entry, self.bound_bytes);
        drop(state);
        if pushed == Pushed::Queued {
            self.filled.notify_one();
        }
        pushed
    }

    /// Queues the entry, or counts it as lost; the reader is told of the loss ahead of what comes after it.
    pub(crate) fn push_or_lose(&self, entry: Entry) -> Pushed {
        let mut state = self.lock();
        let pushed = state.push_after_gap(entry, self.bound_bytes);
        if pushed == Pushed::Full {
            state.gap += 1;
        }
        drop(state);
        if pushed == Pushed::Queued {
            self.filled.notify_one();
        }
        pushed
    }

    /// Takes nothing more; what waits can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits for entries and moves some, oldest first, to `batch`. False: the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next_batch(&self, batch: &mut Vec<Entry>) -> bool {
        loop {
            let closed = {
                let mut state = self.lock();
                state.take_batch(batch);
                state.closed
            };
            if !batch.is_empty() {
                return true;
            }
            if closed {
                return false;
            }
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, entry: Entry, bound_bytes: usize) -> Pushed {
        if self.closed {
            return Pushed::Closed;
        }
        let bytes = entry.bytes();
        if self.bytes + bytes > bound_bytes && !self.entries.is_empty() {
            return Pushed::Full;
        }
        self.bytes += bytes;
        self.entries.push_back(entry);
        Pushed::Queued
    }

    fn push_after_gap(&mut self, entry: Entry, bound_bytes: usize) -> Pushed {
        if self.gap == 0 {
            return self.push(entry, bound_bytes);
        }
        let gap = gap_entry(self.gap);
        let bytes = gap.bytes() + entry.bytes();
        if self.bytes + bytes > bound_bytes && !self.entries.is_empty() {
            return if self.closed {
                Pushed::Closed
            } else {
                Pushed::Full
            };
        }
        if self.closed {
            return Pushed::Closed;
        }
        self.gap = 0;
        self.bytes += bytes;
        self.entries.extend([gap, entry]);
        Pushed::Queued
    }

    fn take_batch(&mut self, batch: &mut Vec<Entry>) {
        let mut taken = 0;
        while taken < BATCH_BYTES {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            taken += entry.bytes();
            batch.push(entry);
        }
        self.bytes -= taken;
        if self.entries.is_empty() {
            self.entries.shrink_to(SPARE_ENTRIES);
            if self.gap > 0 {
                batch.push(gap_entry(std::mem::take(&mut self.gap)));
            }
        }
    }
}

impl Entry {
    /// An entry without a payload.
    pub(crate) fn of(frame: &Frame) -> Self {
        Self {
            head: frame.encode(),
            payload: Bytes::new(),
        }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.head.len() + self.payload.len()
    }
}

fn gap_entry(lost: u64) -> Entry {
    Entry::of(&Frame::Gap(Gap { lost }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry {
            head: Bytes::new(),
            payload: Bytes::from(vec![7; bytes]),
        }
    }

    async fn batch(queue: &Queue) -> Vec<Entry> {
        let mut batch = Vec::new();
        queue.next_batch(&mut batch).await;
        batch
    }

    #[tokio::test]
    async fn a_full_queue_loses_the_newest_and_says_how_many_before_the_next() {
        let queue = Queue::new(1000);
        assert_eq!(queue.push_or_lose(entry(400)), Pushed::Queued);
        assert_eq!(queue.push_or_lose(entry(400)), Pushed::Queued);
        assert_eq!(queue.push_or_lose(entry(400)), Pushed::Full);
        assert_eq!(queue.push_or_lose(entry(401)), Pushed::Full);
        assert_eq!(
            batch(&queue).await,
            [entry(400), entry(400), gap_entry(2)],
            "an emptied queue tells of the loss at once"
        );
        assert_eq!(queue.push_or_lose(entry(5)), Pushed::Queued);
        assert_eq!(batch(&queue).await, [entry(5)]);
    }

    #[test]
    fn the_gap_stands_before_what_fits_again() {
        let mut state = State::default();
        assert_eq!(state.push_after_gap(entry(900), 1000), Pushed::Queued);
        assert_eq!(state.push_after_gap(entry(900), 1000), Pushed::Full);
        state.gap += 1;
        let first = state.entries.pop_front().unwrap();
        state.bytes -= first.bytes();
        assert_eq!(state.push_after_gap(entry(3), 1000), Pushed::Queued);
        assert_eq!(state.entries, [gap_entry(1), entry(3)]);
        assert_eq!(state.gap, 0);
    }

    #[tokio::test]
    async fn an_entry_over_the_bound_fits_alone() {
        let queue = Queue::new(1000);
        assert_eq!(queue.push(entry(5000)), Pushed::Queued);
        assert_eq!(queue.push(entry(1)), Pushed::Full);
        assert_eq!(batch(&queue).await, [entry(5000)]);
        assert_eq!(queue.push(entry(1)), Pushed::Queued);
    }

    #[tokio::test]
    async fn batches_are_limited_and_in_order() {
        let queue = Queue::new(10 * BATCH_BYTES);
        for size in 0..40 {
            queue.push(entry(BATCH_BYTES / 8 + size));
        }
        let mut seen = Vec::new();
        while seen.len() < 40 {
            let batch = batch(&queue).await;
            assert!(batch.len() <= 9);
            seen.extend(batch.into_iter().map(|entry| entry.payload.len()));
        }
        assert!(seen.is_sorted());
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_waits_and_then_ends() {
        let queue = Queue::new(1000);
        queue.push(entry(1));
        queue.close();
        assert_eq!(queue.push(entry(1)), Pushed::Closed);
        assert_eq!(queue.push_or_lose(entry(1)), Pushed::Closed);
        assert_eq!(batch(&queue).await, [entry(1)]);
        assert!(!queue.next_batch(&mut Vec::new()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken() {
        let queue = std::sync::Arc::new(Queue::new(1000));
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { batch(&queue).await }
        });
        tokio::task::yield_now().await;
        queue.push(entry(9));
        assert_eq!(waiting.await.unwrap(), [entry(9)]);
    }
}
