//! The queue inside a mailbox: items with their sizes, and where items are missing.
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;

use super::Received;

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

    pub(super) fn bytes(&self) -> usize {
        self.bytes
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
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn a_burst_leaves_no_capacity_behind() {
        let mut queue = Queue::new();
        (0..1_000).for_each(|item| queue.append(item, 1));
        while queue.next().is_some() {}
        assert_eq!(queue.slots.capacity(), 0);
        (0..2).for_each(|item| queue.append(item, 1));
        while queue.next().is_some() {}
        let kept = queue.slots.capacity();
        assert_ne!(kept, 0, "a little is kept for the next few");
    }
}
