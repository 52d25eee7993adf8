//! Which keys have entries at all, where the entries of one key stand in several shards.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::shards::Shards;
use crate::sync::Mutex;

/// How the entries of a registry are spread over its shards. What can be asked and what is answered is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardBy {
    /// The entries of one key stand together: reading a key meets one lock. Right for nearly all.
    #[default]
    Key,
    /// The entries of one owner stand together, so that those who come and go under one giant key seldom meet at a lock,
    /// and copy a part of its list at most; reading a key meets every lock.
    Owner,
}

/// Counts for each key the shards in which it has entries.
pub(crate) struct Directory<K> {
    shards: Shards<Mutex<HashTable<Known<K>>>>,
}

pub(crate) struct Known<K> {
    key: K,
    hash: u64,
    shards: usize,
}

impl<K: Eq + Clone> Directory<K> {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: Shards::locked(shards),
        }
    }

    /// One more shard has it. What `first` returns if no other had; it runs under the lock.
    pub(crate) fn enter<R>(&self, hash: u64, key: &K, first: impl FnOnce() -> R) -> Option<R> {
        let mut known = self.shards.lock(hash);
        match known.entry(hash, |known| known.key == *key, |known| known.hash) {
            Place::Occupied(mut known) => {
                known.get_mut().shards += 1;
                None
            }
            Place::Vacant(place) => {
                place.insert(Known {
                    key: key.clone(),
                    hash,
                    shards: 1,
                });
                Some(first())
            }
        }
    }

    /// One shard less has it. The key and what `last` returns if no other has; it runs under the lock.
    pub(crate) fn leave<R>(&self, hash: u64, key: &K, last: impl FnOnce() -> R) -> Option<(K, R)> {
        let mut shard = self.shards.lock(hash);
        let found = shard.find_entry(hash, |known| known.key == *key);
        let mut known = found.ok().expect("a key that leaves has entered");
        known.get_mut().shards -= 1;
        if known.get().shards > 0 {
            return None;
        }
        let (gone, _) = known.remove();
        Some((gone.key, last()))
    }

    pub(crate) fn contains(&self, hash: u64, is_key: impl Fn(&K) -> bool) -> bool {
        let shard = self.shards.lock(hash);
        shard.find(hash, |known| is_key(&known.key)).is_some()
    }
}

impl<K> Directory<K> {
    pub(crate) fn len(&self) -> usize {
        self.shards.each().map(|shard| shard.len()).sum()
    }
}
