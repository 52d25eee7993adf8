//! The table behind a name registry: where an entry stands, and what a change of it sets off.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Weak};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::AlreadyRegistered;
use crate::owner::Life;
use crate::registration::Removal;
use crate::shards::{Serials, Shards};
use crate::watchers::{Notices, Watchers};
use crate::{Change, Entry, KeyLocks, Meta, Owner, OwnerId, Reason, Registration};

pub(super) struct Store<K, V, S> {
    pub(super) hasher: S,
    pub(super) shards: Shards<Shard<K, V>>,
    pub(super) locks: KeyLocks<K, S>,
    pub(super) meta: Meta,
}

pub(super) struct Shard<K, V> {
    pub(super) rows: HashTable<Row<K, V>>,
    serials: Serials,
    pub(super) watchers: Watchers<K, V>,
}

pub(super) struct Row<K, V> {
    pub(super) key: K,
    hash: u64,
    pub(super) entry: Arc<Entry<V>>,
    /// Tells whether the holder lives.
    pub(super) life: Arc<Life>,
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            serials: Serials::default(),
            watchers: Watchers::default(),
        }
    }
}

impl<K: Clone, V> Row<K, V> {
    fn unregistered(&self, reason: Reason) -> Change<K, V> {
        Change::Unregistered {
            key: self.key.clone(),
            entry: Arc::clone(&self.entry),
            reason,
        }
    }
}

impl<K, V, S> Store<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    pub(super) fn new(shards: usize, hasher: S) -> Self {
        Self {
            locks: KeyLocks::with_shards(shards, hasher.clone()),
            meta: Meta::default(),
            shards: Shards::new(shards),
            hasher,
        }
    }

    /// Takes the name if nobody who lives has it.
    pub(super) fn insert(
        self: &Arc<Self>,
        owner: &Owner,
        key: K,
        value: V,
    ) -> Result<Registration, AlreadyRegistered> {
        let hash = self.hasher.hash_one(&key);
        let index = self.shards.index(hash);
        let mut guard = self.shards.lock(index);
        let shard = &mut *guard;
        let place = match shard.rows.entry(hash, |row| row.key == key, |row| row.hash) {
            Place::Occupied(row) if row.get().life.is_alive() => {
                let owner = row.get().entry.owner;
                return Err(AlreadyRegistered { owner });
            }
            place => place,
        };
        let record = Arc::new(Record {
            store: Arc::downgrade(self),
            key: key.clone(),
            hash,
            serial: shard.serials.next(index),
        });
        let entry = Arc::new(Entry {
            owner: owner.id(),
            serial: record.serial,
            slot: owner.life().note(Arc::clone(&record) as Arc<dyn Removal>),
            value,
        });
        let (watchers, life) = (&shard.watchers, Arc::clone(owner.life()));
        let registered = || Change::Registered {
            key: key.clone(),
            entry: Arc::clone(&entry),
        };
        let (told, replaced) = match place {
            Place::Vacant(place) => {
                let (key, entry) = (key.clone(), Arc::clone(&entry));
                place.insert(Row {
                    key,
                    hash,
                    entry,
                    life,
                });
                (Notices::none(), None)
            }
            Place::Occupied(mut row) => {
                let change = || row.get().unregistered(Reason::Replaced);
                let told = watchers.tell(index, hash, &key, change);
                let before = std::mem::replace(&mut row.get_mut().entry, Arc::clone(&entry));
                row.get_mut().life = life;
                (told, Some(before))
            }
        };
        let notices = watchers.tell(index, hash, &key, registered);
        drop(guard);
        drop(replaced);
        told.deliver();
        notices.deliver();
        Ok(Registration::new(record, Arc::clone(owner.life())))
    }

    /// Puts `new` in the place of `old`, if `old` is still what stands there.
    pub(super) fn replace<Q>(&self, key: &Q, old: &Arc<Entry<V>>, mut new: Arc<Entry<V>>) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let index = self.shards.index(hash);
        let mut guard = self.shards.lock(index);
        let shard = &mut *guard;
        let row = shard.rows.find_mut(hash, |row| row.key.borrow() == key);
        let Some(row) = row.filter(|row| Arc::ptr_eq(&row.entry, old)) else {
            return false;
        };
        std::mem::swap(&mut row.entry, &mut new);
        let notices = shard
            .watchers
            .tell(index, hash, &row.key, || Change::Updated {
                key: row.key.clone(),
                entry: Arc::clone(&row.entry),
            });
        drop(guard);
        notices.deliver();
        true
    }

    /// Takes the entry under `key` out if it is the one meant; its owner's slot.
    pub(super) fn remove<Q>(
        &self,
        hash: u64,
        key: &Q,
        reason: Reason,
        meant: impl Fn(&Arc<Entry<V>>) -> bool,
    ) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let index = self.shards.index(hash);
        let mut guard = self.shards.lock(index);
        let shard = &mut *guard;
        let row = shard.rows.find_entry(hash, |row| row.key.borrow() == key);
        let row = row.ok().filter(|row| meant(&row.get().entry))?;
        let (row, _) = row.remove();
        let change = || row.unregistered(reason);
        let notices = shard.watchers.tell(index, hash, &row.key, change);
        drop(guard);
        let slot = row.entry.slot;
        drop(row);
        notices.deliver();
        Some(slot)
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Store<K, V, S> {
    /// What stands under `key`, and whether its owner lives.
    pub(super) fn find<Q>(&self, key: &Q) -> Option<(Arc<Entry<V>>, bool)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let shard = self.shards.lock(self.shards.index(hash));
        let row = shard.rows.find(hash, |row| row.key.borrow() == key)?;
        Some((Arc::clone(&row.entry), row.life.is_alive()))
    }

    /// What stands under `key`, if it is that owner's.
    pub(super) fn find_own<Q>(&self, owner: OwnerId, key: &Q) -> Option<Arc<Entry<V>>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (entry, _) = self.find(key)?;
        (entry.owner == owner).then_some(entry)
    }
}

/// Where an entry stands, for its guard and its owner.
struct Record<K, V, S> {
    store: Weak<Store<K, V, S>>,
    key: K,
    hash: u64,
    serial: u64,
}

impl<K, V, S> Removal for Record<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    fn remove(&self, reason: Reason) -> Option<usize> {
        let store = self.store.upgrade()?;
        let meant = |entry: &Arc<Entry<V>>| entry.serial == self.serial;
        store.remove(self.hash, &self.key, reason, meant)
    }

    fn serial(&self, registry: *const (), hash: u64) -> Option<u64> {
        let own = std::ptr::eq(self.store.as_ptr().cast(), registry);
        (own && self.hash == hash).then_some(self.serial)
    }
}
