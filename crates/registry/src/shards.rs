//! A table cut into shards, each behind its own lock.

use std::thread::available_parallelism;

use crate::sync::{Mutex, MutexGuard, lock};

/// Most shards of one table. A serial keeps its shard in as many bits.
pub(crate) const MOST_SHARDS: usize = 1 << SERIAL_SHARD_BITS;

const SERIAL_SHARD_BITS: u32 = 8;

/// The bits of the hash that pick a shard: between those the table takes for its places and for its tags.
const SHARD_SHIFT: u32 = 40;

pub(crate) struct Shards<T> {
    shards: Box<[Mutex<T>]>,
}

impl<T: Default> Shards<T> {
    /// `count` is rounded up to a power of two.
    pub(crate) fn new(count: usize) -> Self {
        let count = count.clamp(1, MOST_SHARDS).next_power_of_two();
        let shards = (0..count).map(|_| Mutex::new(T::default())).collect();
        Self { shards }
    }
}

impl<T> Shards<T> {
    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Which shard a hash belongs to.
    pub(crate) fn index(&self, hash: u64) -> usize {
        (hash >> SHARD_SHIFT) as usize & (self.shards.len() - 1)
    }

    pub(crate) fn lock(&self, index: usize) -> MutexGuard<'_, T> {
        lock(&self.shards[index])
    }

    /// Each shard in turn, locked one at a time.
    pub(crate) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(lock)
    }
}

/// Counts the registrations of one shard. A serial says its shard, and grows within it.
#[derive(Default)]
pub(crate) struct Serials(u64);

impl Serials {
    pub(crate) fn next(&mut self, shard: usize) -> u64 {
        let serial = (self.0 << SERIAL_SHARD_BITS) | shard as u64;
        self.0 += 1;
        serial
    }
}

/// The shard in which the entry with that serial stands.
pub(crate) fn shard_of(serial: u64) -> usize {
    serial as usize & (MOST_SHARDS - 1)
}

/// Four shards for each thread that can run at once, so that two seldom meet.
pub(crate) fn default_shards() -> usize {
    available_parallelism().map_or(4, usize::from) * 4
}
