//! What a handle of a group registry leads to: the shards, and which of them is meant.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::keys::Keys;
use super::shard::Shard;
use crate::directory::{Directory, ShardBy};
use crate::edges::{Edge, Edges};
use crate::shards::Shards;
use crate::{KeyLocks, Meta, OwnerId};

pub(super) struct Store<K, V, S> {
    hasher: S,
    pub(super) shards: Shards<Arc<Shard<K, V>>>,
    shard_by: ShardBy,
    /// There if a key's entries stand in several shards, or edges were asked for.
    keys: Option<Arc<Keys<K>>>,
    pub(super) locks: KeyLocks<K, S>,
    pub(super) meta: Meta,
}

impl<K: Eq + Hash, V, S: BuildHasher + Clone> Store<K, V, S> {
    pub(super) fn new(
        shards: usize,
        hasher: S,
        shard_by: ShardBy,
        edges: Option<Edges<K>>,
    ) -> Self {
        let directory = (shard_by == ShardBy::Owner).then(|| Directory::new(shards));
        let keys =
            (directory.is_some() || edges.is_some()).then(|| Arc::new(Keys { directory, edges }));
        Self {
            locks: KeyLocks::with_shards(shards, hasher.clone()),
            meta: Meta::default(),
            shards: Shards::new(shards, |index| Shard::new(index, keys.clone())),
            shard_by,
            keys,
            hasher,
        }
    }
}

impl<K, V, S> Store<K, V, S> {
    pub(super) fn directory(&self) -> Option<&Directory<K>> {
        self.keys.as_ref()?.directory.as_ref()
    }

    pub(super) fn edges(&self) -> Option<&Edges<K>> {
        self.keys.as_ref()?.edges.as_ref()
    }

    /// Takes all keys whose edges wait, and forgets those of them that have no entries.
    pub(super) fn take_edges(&self) -> Vec<Arc<K>> {
        let edges = self.edges().map(Edges::take);
        let edges = edges.into_iter().flatten().map(|Edge { hash, key }| {
            match self.directory() {
                None => self.shards.of(hash).settle(hash, &key),
                Some(directory) => {
                    drop(directory.settle(hash, &key, || self.is_queued(hash, &key)))
                }
            }
            key
        });
        edges.collect()
    }

    fn is_queued(&self, hash: u64, key: &Arc<K>) -> bool {
        let keys = self.keys.as_ref();
        keys.is_some_and(|keys| keys.is_queued(hash, key))
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Store<K, V, S> {
    /// A pointer to that key; where several shards know it by one, that one, to be [let go](Self::let_go).
    pub(super) fn hold(&self, hash: u64, key: K) -> Arc<K>
    where
        K: 'static,
    {
        match self.directory() {
            None => Arc::new(key),
            Some(directory) => directory.hold(hash, key),
        }
    }

    pub(super) fn let_go(&self, hash: u64, key: &Arc<K>) {
        let directory = self.directory();
        let gone = directory.map(|d| d.let_go(hash, key, || self.is_queued(hash, key)));
        drop(gone);
    }

    #[inline(always)]
    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The shard in which the entries of `owner` under a key of that hash stand.
    pub(super) fn place(&self, hash: u64, owner: OwnerId) -> &Arc<Shard<K, V>> {
        match self.shard_by {
            ShardBy::Key => self.shards.of(hash),
            ShardBy::Owner => self.shards.of(self.hasher.hash_one(owner)),
        }
    }

    /// The shards in which entries under a key of that hash may stand.
    pub(super) fn places(&self, hash: u64) -> std::slice::Iter<'_, Arc<Shard<K, V>>> {
        match self.shard_by {
            ShardBy::Key => self.shards.range(self.shards.only(hash)),
            ShardBy::Owner => self.shards.iter(),
        }
    }
}

#[cfg(test)]
impl<K, V, S> Store<K, V, S> {
    /// Whether no table and no index has anything, but for keys whose edges wait.
    pub(super) fn is_bare(&self) -> bool {
        let edges_wait = self.edges().is_some_and(Edges::pending);
        let directory = self.directory();
        let has_none = directory.is_none_or(|known| match edges_wait {
            true => known.len() == 0,
            false => known.is_bare(),
        });
        has_none && self.shards.iter().all(|shard| shard.is_bare())
    }
}

/// The last handle went, and all entries go with it; guards and owners keep empty shards.
impl<K, V, S> Drop for Store<K, V, S> {
    fn drop(&mut self) {
        self.shards.iter().for_each(|shard| shard.clear());
    }
}
