//! What a handle of a name registry leads to: the shards, and which of them is meant.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::shard::Shard;
use crate::shards::Shards;
use crate::{KeyLocks, Meta};

pub(super) struct Store<K, V, S> {
    hasher: S,
    pub(super) shards: Shards<Arc<Shard<K, V>>>,
    pub(super) locks: KeyLocks<K, S>,
    pub(super) meta: Meta,
}

impl<K: Eq + Hash, V, S: BuildHasher + Clone> Store<K, V, S> {
    pub(super) fn new(shards: usize, hasher: S) -> Self {
        Self {
            locks: KeyLocks::with_shards(shards, hasher.clone()),
            meta: Meta::default(),
            shards: Shards::new(shards, Shard::new),
            hasher,
        }
    }
}

impl<K, V, S: BuildHasher> Store<K, V, S> {
    #[inline(always)]
    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }
}

#[cfg(test)]
impl<K, V, S> Store<K, V, S> {
    /// Whether no table and no index has anything.
    pub(super) fn is_bare(&self) -> bool {
        self.shards.iter().all(|shard| shard.is_bare())
    }
}

/// The last handle went, and all entries go with it; guards and owners keep empty shards.
impl<K, V, S> Drop for Store<K, V, S> {
    fn drop(&mut self) {
        self.shards.iter().for_each(|shard| shard.clear());
    }
}
