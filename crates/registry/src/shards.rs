//! A table cut into shards, each behind a lock of its own.

use std::ops::Range;
use std::thread::available_parallelism;

use crate::sync::{Mutex, MutexGuard, lock};

/// Most shards of one table.
pub(crate) const MOST_SHARDS: usize = 256;

/// The bits of the hash that pick a shard: between those the table takes for its places and for its tags.
const SHARD_SHIFT: u32 = 40;

pub(crate) struct Shards<T> {
    shards: Box<[T]>,
}

impl<T> Shards<T> {
    /// `count` is rounded up to a power of two; `shard` makes each by its index.
    pub(crate) fn new(count: usize, shard: impl FnMut(usize) -> T) -> Self {
        let count = count.clamp(1, MOST_SHARDS).next_power_of_two();
        let shards = (0..count).map(shard).collect();
        Self { shards }
    }

    /// Which shard a hash belongs to.
    fn index(&self, hash: u64) -> usize {
        (hash >> SHARD_SHIFT) as usize & (self.shards.len() - 1)
    }

    /// The shard a hash belongs to.
    pub(crate) fn of(&self, hash: u64) -> &T {
        &self.shards[self.index(hash)]
    }

    /// That shard alone, for [`range`](Self::range).
    pub(crate) fn only(&self, hash: u64) -> Range<usize> {
        self.index(hash)..self.index(hash) + 1
    }

    /// Each shard in turn.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.shards.iter()
    }

    /// Those of a range.
    pub(crate) fn range(&self, range: Range<usize>) -> std::slice::Iter<'_, T> {
        self.shards[range].iter()
    }
}

impl<T: Default> Shards<Mutex<T>> {
    /// Each empty.
    pub(crate) fn locked(count: usize) -> Self {
        Self::new(count, |_| Mutex::default())
    }
}

impl<T> Shards<Mutex<T>> {
    pub(crate) fn lock(&self, hash: u64) -> MutexGuard<'_, T> {
        lock(self.of(hash))
    }

    /// Each shard in turn, locked one at a time.
    pub(crate) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(lock)
    }
}

/// Four shards for each thread that can run at once, so that two seldom meet.
pub(crate) fn default_shards() -> usize {
    available_parallelism().map_or(4, usize::from) * 4
}
