//! A table cut into shards by the hash of the key, each behind its own lock.

use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

/// Most shards a registry makes by itself.
const MOST_SHARDS: usize = 256;

/// The bits of the hash that pick a shard: between those the table takes for its places and for its tags.
const SHARD_SHIFT: u32 = 40;

pub(crate) struct Shards<T, S> {
    hasher: S,
    shards: Box<[Mutex<T>]>,
}

impl<T: Default, S> Shards<T, S> {
    /// `count` is rounded up to a power of two.
    pub(crate) fn new(count: usize, hasher: S) -> Self {
        let count = count.clamp(1, MOST_SHARDS).next_power_of_two();
        let shards = (0..count).map(|_| Mutex::default()).collect();
        Self { hasher, shards }
    }
}

impl<T, S: BuildHasher> Shards<T, S> {
    pub(crate) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl<T, S> Shards<T, S> {
    pub(crate) fn lock(&self, hash: u64) -> MutexGuard<'_, T> {
        let index = (hash >> SHARD_SHIFT) as usize & (self.shards.len() - 1);
        lock(&self.shards[index])
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

/// No change is left half done by a panic (a value's `Clone` is the only foreign code that runs inside),
/// so a poisoned lock guards sound data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
