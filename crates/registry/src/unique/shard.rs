//! One shard of a name registry: entries behind one lock, and what a change of them sets off.

use std::borrow::Borrow;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::AlreadyRegistered;
use crate::owned::{Note, Owned};
use crate::owner::Life;
use crate::registration::Removal;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::watchers::{Notices, Watchers};
use crate::{Change, Entry, Owner, OwnerId, Reason, Registration};

/// Guards and owners hold on to the shard; what is in it goes with the registry.
pub(super) struct Shard<K, V> {
    index: usize,
    table: Mutex<Table<K, V>>,
}

pub(super) struct Table<K, V> {
    pub(super) rows: HashTable<Row<K, V>>,
    next_serial: u64,
    owned: Owned,
    pub(super) watchers: Watchers<K, V>,
}

pub(super) struct Row<K, V> {
    pub(super) key: K,
    hash: u64,
    pub(super) entry: Arc<Entry<V>>,
    /// Tells whether the holder lives.
    life: Arc<Life>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            next_serial: 0,
            owned: Owned::default(),
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

impl<K, V> Shard<K, V> {
    pub(super) fn new(index: usize) -> Arc<Self> {
        let table = Mutex::new(Table::default());
        Arc::new(Self { index, table })
    }

    /// Which one of its registry's shards it is.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table<K, V>> {
        lock(&self.table)
    }

    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let table = self.table();
        table.rows.is_empty() && table.owned.is_empty()
    }

    /// The registry went.
    pub(super) fn clear(&self) {
        let contents = mem::take(&mut *self.table());
        drop(contents);
    }
}

impl<K: Eq, V> Shard<K, V> {
    /// What stands under `key`, and whether its owner lives.
    pub(super) fn find<Q>(&self, hash: u64, key: &Q) -> Option<(Arc<Entry<V>>, bool)>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let table = self.table();
        let row = table.rows.find(hash, |row| row.key.borrow() == key)?;
        Some((Arc::clone(&row.entry), row.life.is_alive()))
    }

    /// What stands under `key`, if it is that owner's.
    pub(super) fn find_own<Q>(&self, owner: OwnerId, hash: u64, key: &Q) -> Option<Arc<Entry<V>>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let (entry, _) = self.find(hash, key)?;
        (entry.owner == owner).then_some(entry)
    }
}

impl<K, V> Shard<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Takes the name if nobody who lives has it.
    pub(super) fn insert(
        self: &Arc<Self>,
        owner: &Owner,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Registration, AlreadyRegistered> {
        let mut guard = self.table();
        let table = &mut *guard;
        let place = match table.rows.entry(hash, |row| row.key == key, |row| row.hash) {
            Place::Occupied(row) if row.get().life.is_alive() => {
                let owner = row.get().entry.owner;
                return Err(AlreadyRegistered { owner });
            }
            place => place,
        };
        let serial = table.next_serial;
        let note = Note { hash, serial };
        let (slot, is_first) = table.owned.insert(owner.id(), note);
        table.next_serial += 1;
        let entry = Arc::new(Entry {
            owner: owner.id(),
            serial,
            slot,
            value,
        });
        let (watchers, life) = (&table.watchers, Arc::clone(owner.life()));
        let (row, gone, replaced) = match place {
            Place::Vacant(place) => {
                let row = place.insert(Row {
                    key,
                    hash,
                    entry,
                    life,
                });
                (row.into_mut(), Notices::none(), None)
            }
            Place::Occupied(row) => {
                let row = row.into_mut();
                let change = || row.unregistered(Reason::Replaced);
                let gone = watchers.tell(self.index, hash, &row.key, change);
                let before = mem::replace(&mut row.entry, entry);
                row.life = life;
                table.owned.remove(before.slot);
                (row, gone, Some((before, key)))
            }
        };
        let registered = || Change::Registered {
            key: row.key.clone(),
            entry: Arc::clone(&row.entry),
        };
        let come = watchers.tell(self.index, hash, &row.key, registered);
        drop(guard);
        let shard = Arc::clone(self) as Arc<dyn Removal>;
        if is_first {
            owner.life().note(Arc::clone(&shard));
        }
        drop(replaced);
        gone.deliver();
        come.deliver();
        Ok(Registration::new(shard, note, owner.id()))
    }

    /// Puts `new` in the place of `old`, if `old` is still what stands there.
    pub(super) fn replace<Q>(
        &self,
        hash: u64,
        key: &Q,
        old: &Arc<Entry<V>>,
        mut new: Arc<Entry<V>>,
    ) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut guard = self.table();
        let table = &mut *guard;
        let row = table.rows.find_mut(hash, |row| row.key.borrow() == key);
        let Some(row) = row.filter(|row| Arc::ptr_eq(&row.entry, old)) else {
            return false;
        };
        mem::swap(&mut row.entry, &mut new);
        let updated = || Change::Updated {
            key: row.key.clone(),
            entry: Arc::clone(&row.entry),
        };
        let notices = table.watchers.tell(self.index, hash, &row.key, updated);
        drop(guard);
        notices.deliver();
        true
    }

    /// Takes the entry under `key` out if it is the one meant; whether it was.
    pub(super) fn remove<Q>(
        &self,
        hash: u64,
        key: &Q,
        meant: impl Fn(&Arc<Entry<V>>) -> bool,
    ) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let is_it = |row: &Row<K, V>| row.key.borrow() == key && meant(&row.entry);
        self.take_out(self.table(), hash, is_it, Reason::Explicit)
    }

    fn take_out(
        &self,
        mut guard: MutexGuard<'_, Table<K, V>>,
        hash: u64,
        is_it: impl Fn(&Row<K, V>) -> bool,
        reason: Reason,
    ) -> bool {
        let table = &mut *guard;
        let Ok(found) = table.rows.find_entry(hash, is_it) else {
            return false;
        };
        let (row, _) = found.remove();
        if reason != Reason::OwnerDied {
            table.owned.remove(row.entry.slot);
        }
        let change = || row.unregistered(reason);
        let notices = table.watchers.tell(self.index, hash, &row.key, change);
        drop(guard);
        drop(row);
        notices.deliver();
        true
    }
}

impl<K, V> Removal for Shard<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn unregister(&self, note: Note) {
        let is_it = |row: &Row<K, V>| row.entry.serial == note.serial;
        self.take_out(self.table(), note.hash, is_it, Reason::Explicit);
    }

    fn bury(&self, dead: OwnerId) -> bool {
        let mut table = self.table();
        // It is forgotten first, so that not even a panic makes it come up again.
        let Some(note) = table.owned.pop(dead) else {
            return false;
        };
        let is_it = |row: &Row<K, V>| row.entry.serial == note.serial;
        self.take_out(table, note.hash, is_it, Reason::OwnerDied);
        true
    }

    #[cfg(test)]
    fn noted(&self, owner: OwnerId) -> usize {
        self.table().owned.notes(owner).count()
    }
}
