//! The queue inside a mailbox: items with their sizes, and where items are missing.
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;

use super::{Bound, Received};

/// Capacity that an emptied queue may keep, in items: more than that was a burst, and is given back.
const KEPT_CAPACITY: usize = 8;

pub(super) struct Queue<T> {
    slots: VecDeque<Slot<T>>,
    bytes: usize,
    /// Items lost after the last one inside.
    missed: u64,
}

struct Slot<T> {
    item: T,
    bytes: usize,
    /// Items lost just before this one.
    missed: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            bytes: 0,
            missed: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_full(&self, bound: &Bound) -> bool {
        self.slots.len() >= bound.messages || self.bytes >= bound.bytes
    }

    pub(super) fn append(&mut self, item: T, bytes: usize) {
        let missed = std::mem::take(&mut self.missed);
        self.bytes += bytes;
        self.slots.push_back(Slot {
            item,
            bytes,
            missed,
        });
    }

    /// Notes that an item that would stand last is missing.
    pub(super) fn lose_newest(&mut self) {
        self.missed += 1;
    }

    /// Takes the oldest item out, and notes in its place that it is missing.
    pub(super) fn lose_oldest(&mut self) -> Option<T> {
        let slot = self.slots.pop_front()?;
        self.bytes -= slot.bytes;
        *self.first_gap() += slot.missed + 1;
        Some(slot.item)
    }

    /// The number of items missing before the first one inside.
    fn first_gap(&mut self) -> &mut u64 {
        match self.slots.front_mut() {
            Some(first) => &mut first.missed,
            None => &mut self.missed,
        }
    }

    pub(super) fn next(&mut self) -> Option<Received<T>> {
        let missed = std::mem::take(self.first_gap());
        if missed > 0 {
            return Some(Received::Lagged(missed));
        }
        let slot = self.slots.pop_front()?;
        self.bytes -= slot.bytes;
        if self.slots.is_empty() && self.slots.capacity() > KEPT_CAPACITY {
            self.slots = VecDeque::new();
        }
        Some(Received::Item(slot.item))
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }
}
