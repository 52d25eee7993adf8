//! Names: at most one entry under one key.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Weak};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use thiserror::Error;

use crate::registration::Removal;
use crate::shards::{Shards, default_shards};
use crate::{Entry, Owner, OwnerId, RandomState, Registration};

/// The key has an entry already. Nothing changed: choose another key, or wait for that owner to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key is already registered by owner {owner}")]
pub struct AlreadyRegistered {
    /// Who holds the key; it may be the caller itself.
    pub owner: OwnerId,
}

/// A registry in which each key has one entry at most.
///
/// A cheap handle: clones mean the same registry. A key's `Eq`, `Hash` and `Clone` run under a lock and must not call the
/// registry; closures given to it, and whatever is done to values, run under none.
pub struct UniqueRegistry<K, V, S = RandomState> {
    inner: Arc<Inner<K, V, S>>,
}

struct Inner<K, V, S> {
    shards: Shards<Shard<K, V>, S>,
}

struct Shard<K, V> {
    rows: HashTable<Row<K, V>>,
    next_serial: u64,
}

struct Row<K, V> {
    key: K,
    hash: u64,
    entry: Arc<Entry<V>>,
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            next_serial: 0,
        }
    }
}

impl<K, V, S> Clone for UniqueRegistry<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K, V, S> fmt::Debug for UniqueRegistry<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UniqueRegistry")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl<K, V> Default for UniqueRegistry<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> UniqueRegistry<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// An empty registry, with four shards for each thread that can run at once.
    pub fn new() -> Self {
        Self::with_hasher(RandomState::default())
    }
}

impl<K, V, S> UniqueRegistry<K, V, S> {
    /// How many entries there are. Shards are read one after another: not a snapshot.
    pub fn count(&self) -> usize {
        self.inner.shards.each().map(|shard| shard.rows.len()).sum()
    }
}

impl<K, V, S> UniqueRegistry<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// An empty registry that hashes its keys with `hasher`.
    pub fn with_hasher(hasher: S) -> Self {
        Self::with_shards(default_shards(), hasher)
    }

    /// An empty registry with `shards` shards, rounded up to a power of two and at most 256. More shards cost memory and
    /// save waiting; nothing else can be told from outside.
    pub fn with_shards(shards: usize, hasher: S) -> Self {
        let shards = Shards::new(shards, hasher);
        Self {
            inner: Arc::new(Inner { shards }),
        }
    }

    /// Takes `key` for `owner`, until the guard is dropped or `owner` dies.
    ///
    /// # Errors
    ///
    /// [`AlreadyRegistered`] if the key has an entry, be it the same owner's. Of several who try at once exactly one succeeds.
    pub fn register(
        &self,
        owner: &Owner,
        key: K,
        value: V,
    ) -> Result<Registration, AlreadyRegistered> {
        let hash = self.inner.shards.hash(&key);
        let mut shard = self.inner.shards.lock(hash);
        let serial = shard.next_serial;
        shard.next_serial += 1;
        let place = match shard.rows.entry(hash, |row| row.key == key, |row| row.hash) {
            Place::Occupied(row) => {
                let owner = row.get().entry.owner;
                return Err(AlreadyRegistered { owner });
            }
            Place::Vacant(place) => place,
        };
        let record = Arc::new(Record {
            registry: Arc::downgrade(&self.inner),
            key: key.clone(),
            hash,
            serial,
        });
        let entry = Arc::new(Entry {
            owner: owner.id(),
            serial,
            slot: owner.life().note(Arc::clone(&record) as Arc<dyn Removal>),
            value,
        });
        place.insert(Row { key, hash, entry });
        drop(shard);
        Ok(Registration::new(record, Arc::clone(owner.life())))
    }

    /// The value under `key`, if its owner lives.
    pub fn whereis<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        self.inner.find(key).map(|entry| entry.value.clone())
    }

    /// The entry under `key`: value and owner.
    pub fn lookup<Q>(&self, key: &Q) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        self.inner.find(key).map(|entry| Entry::clone(&entry))
    }

    /// Puts `change(old)` in place of the value under `key`, if `owner` holds it, and returns the new value; else `None`, and
    /// `change` is not called.
    ///
    /// `change` runs under no lock. It runs again if another thread with the same owner changed the value meanwhile.
    pub fn update_value<Q>(
        &self,
        owner: &Owner,
        key: &Q,
        mut change: impl FnMut(&V) -> V,
    ) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        loop {
            let old = self
                .inner
                .find(key)
                .filter(|entry| entry.owner == owner.id())?;
            let new = Arc::new(Entry {
                value: change(&old.value),
                ..*old
            });
            if self.inner.replace(key, &old, Arc::clone(&new)) {
                return Some(new.value.clone());
            }
        }
    }

    /// Removes the entry under `key` if `owner` holds it; whether it did. Its guard does nothing any more.
    pub fn unregister<Q>(&self, owner: &Owner, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.inner.shards.hash(key);
        let removed = self
            .inner
            .remove(hash, key, |entry| entry.owner == owner.id());
        if let Some(slot) = removed {
            owner.life().forget(slot);
        }
        removed.is_some()
    }

    /// The keys that `owner` holds, in no order. Reads the whole registry: for questions, not for work.
    pub fn keys(&self, owner: OwnerId) -> Vec<K> {
        let mut keys = Vec::new();
        for shard in self.inner.shards.each() {
            let own = shard.rows.iter().filter(|row| row.entry.owner == owner);
            keys.extend(own.map(|row| row.key.clone()));
        }
        keys
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Inner<K, V, S> {
    fn find<Q>(&self, key: &Q) -> Option<Arc<Entry<V>>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.shards.hash(key);
        let shard = self.shards.lock(hash);
        let row = shard.rows.find(hash, |row| row.key.borrow() == key)?;
        Some(Arc::clone(&row.entry))
    }

    /// Puts `new` in the place of `old`, if `old` is still what stands there.
    fn replace<Q>(&self, key: &Q, old: &Arc<Entry<V>>, mut new: Arc<Entry<V>>) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.shards.hash(key);
        let mut shard = self.shards.lock(hash);
        let row = shard.rows.find_mut(hash, |row| row.key.borrow() == key);
        let Some(row) = row.filter(|row| Arc::ptr_eq(&row.entry, old)) else {
            return false;
        };
        std::mem::swap(&mut row.entry, &mut new);
        true
    }

    /// Takes the entry under `key` out if it is the one meant; its owner's slot.
    fn remove<Q>(&self, hash: u64, key: &Q, meant: impl Fn(&Entry<V>) -> bool) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut shard = self.shards.lock(hash);
        let row = shard.rows.find_entry(hash, |row| row.key.borrow() == key);
        let row = row.ok().filter(|row| meant(&row.get().entry))?;
        let (row, _) = row.remove();
        drop(shard);
        Some(row.entry.slot)
    }
}

/// Where an entry stands, for its guard and its owner.
struct Record<K, V, S> {
    registry: Weak<Inner<K, V, S>>,
    key: K,
    hash: u64,
    serial: u64,
}

impl<K, V, S> Removal for Record<K, V, S>
where
    K: Eq + Hash + Send + Sync,
    V: Send + Sync,
    S: BuildHasher + Send + Sync,
{
    fn remove(&self) -> Option<usize> {
        let registry = self.registry.upgrade()?;
        registry.remove(self.hash, &self.key, |entry| entry.serial == self.serial)
    }
}
