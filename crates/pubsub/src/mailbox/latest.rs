//! The queue of a mailbox that keeps the latest item of each key.
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Received;

/// Items in the order in which they came, by number. Everything here costs O(log n) of what waits.
pub(super) struct LatestQueue<T> {
    slots: BTreeMap<u64, Slot<T>>,
    /// The number of the last waiting item of each key.
    latest: HashMap<u128, u64>,
    /// The waiting items that have a later one of their key behind them.
    stale: BTreeSet<u64>,
    /// The number of the next item.
    next: u64,
    bytes: usize,
    /// Items lost after the last one inside.
    missed: u64,
}

struct Slot<T> {
    item: T,
    key: u128,
    bytes: usize,
    /// Items lost just before this one.
    missed: u64,
}

impl<T> Default for LatestQueue<T> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            latest: HashMap::new(),
            stale: BTreeSet::new(),
            next: 0,
            bytes: 0,
            missed: 0,
        }
    }
}

impl<T> LatestQueue<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn append(&mut self, item: T, bytes: usize, key: u128) {
        let number = self.next;
        self.next += 1;
        self.stale.extend(self.latest.insert(key, number));
        self.bytes += bytes;
        let missed = std::mem::take(&mut self.missed);
        let slot = Slot {
            item,
            key,
            bytes,
            missed,
        };
        self.slots.insert(number, slot);
    }

    /// Notes that an item that would stand last is missing.
    pub(super) fn lose_newest(&mut self) {
        self.missed += 1;
    }

    /// Takes an item out to make room for one of that key, and notes in its place that it is missing.
    pub(super) fn lose_for(&mut self, key: u128) -> Option<T> {
        let first = || self.slots.first_key_value().map(|(&number, _)| number);
        let same = || self.latest.get(&key).copied();
        let number = self.stale.first().copied().or_else(same).or_else(first)?;
        let slot = self.take(number)?;
        let missed = match self.slots.range_mut(number..).next() {
            Some((_, behind)) => &mut behind.missed,
            None => &mut self.missed,
        };
        *missed += slot.missed + 1;
        Some(slot.item)
    }

    fn take(&mut self, number: u64) -> Option<Slot<T>> {
        let slot = self.slots.remove(&number)?;
        self.bytes -= slot.bytes;
        if !self.stale.remove(&number) {
            self.latest.remove(&slot.key);
        }
        if self.slots.is_empty() {
            // A burst's capacity is given back; the trees hold none.
            self.latest = HashMap::new();
        }
        Some(slot)
    }

    pub(super) fn next(&mut self) -> Option<Received<T>> {
        let first = self.slots.first_key_value().map(|(&number, _)| number);
        let missed = match self.slots.first_entry() {
            Some(slot) => &mut slot.into_mut().missed,
            None => &mut self.missed,
        };
        match std::mem::take(missed) {
            0 => Some(Received::Item(self.take(first?)?.item)),
            missed => Some(Received::Lagged(missed)),
        }
    }
}
