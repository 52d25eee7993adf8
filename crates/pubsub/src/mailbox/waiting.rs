//! What waits in a mailbox, in line or by key.
//! Pure: no clock, no I/O, no tasks.

use super::latest::LatestQueue;
use super::queue::Queue;
use super::{Bound, Received};

pub(super) enum Waiting<T> {
    InLine(Queue<T>),
    /// Boxed, so that a mailbox without a key is small.
    PerKey(Box<LatestQueue<T>>),
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self::in_line()
    }
}

impl<T> Waiting<T> {
    pub(super) const fn in_line() -> Self {
        Self::InLine(Queue::new())
    }

    pub(super) fn per_key() -> Self {
        Self::PerKey(Box::default())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::InLine(queue) => queue.len(),
            Self::PerKey(queue) => queue.len(),
        }
    }

    pub(super) fn is_full(&self, bound: &Bound) -> bool {
        let bytes = match self {
            Self::InLine(queue) => queue.bytes(),
            Self::PerKey(queue) => queue.bytes(),
        };
        self.len() >= bound.messages || bytes >= bound.bytes
    }

    pub(super) fn append(&mut self, item: T, bytes: usize, key: u128) {
        match self {
            Self::InLine(queue) => queue.append(item, bytes),
            Self::PerKey(queue) => queue.append(item, bytes, key),
        }
    }

    /// Notes that an item that would stand last is missing.
    pub(super) fn lose_newest(&mut self) {
        match self {
            Self::InLine(queue) => queue.lose_newest(),
            Self::PerKey(queue) => queue.lose_newest(),
        }
    }

    /// Takes an item out to make room for one of that key, and notes in its place that it is missing.
    pub(super) fn lose_for(&mut self, key: u128) -> Option<T> {
        match self {
            Self::InLine(queue) => queue.lose_oldest(),
            Self::PerKey(queue) => queue.lose_for(key),
        }
    }

    pub(super) fn next(&mut self) -> Option<Received<T>> {
        match self {
            Self::InLine(queue) => queue.next(),
            Self::PerKey(queue) => queue.next(),
        }
    }
}
