//! One shard of a group registry: entries behind one lock, and what a change of them sets off.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::mem;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::keys::Keys;
use crate::chunks::{ChunkedList, Retired, SharedList};
use crate::owned::{Note, Owned};
use crate::registration::Removal;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::watchers::Watchers;
use crate::{Change, Entry, Owner, OwnerId, Reason, Registration};

/// Guards and owners hold on to the shard; what is in it goes with the registry.
pub(super) struct Shard<K, V, S> {
    index: usize,
    table: Mutex<Table<K, V, S>>,
}

pub(super) struct Table<K, V, S> {
    pub(super) rows: HashTable<Row<K, V>>,
    pub(super) entries: usize,
    next_serial: u64,
    owned: Owned,
    pub(super) watchers: Watchers<K, V>,
    /// There if anybody asked which keys have entries.
    keys: Option<Arc<Keys<K, S>>>,
}

pub(super) struct Row<K, V> {
    pub(super) key: K,
    hash: u64,
    pub(super) list: ChunkedList<V>,
}

impl<K, V, S> Default for Table<K, V, S> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            entries: 0,
            next_serial: 0,
            owned: Owned::default(),
            watchers: Watchers::default(),
            keys: None,
        }
    }
}

impl<K, V, S> Shard<K, V, S> {
    pub(super) fn new(index: usize, keys: Option<Arc<Keys<K, S>>>) -> Arc<Self> {
        let table = Mutex::new(Table {
            keys,
            ..Table::default()
        });
        Arc::new(Self { index, table })
    }

    /// Which one of its registry's shards it is.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table<K, V, S>> {
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

impl<K: Eq, V, S> Shard<K, V, S> {
    /// A snapshot of the entries under `key`.
    pub(super) fn snapshot<Q>(&self, hash: u64, key: &Q) -> Option<SharedList<V>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut table = self.table();
        let row = table.rows.find_mut(hash, |row| row.key.borrow() == key)?;
        Some(row.list.share())
    }

    /// How many entries there are under `key`.
    pub(super) fn count<Q>(&self, hash: u64, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let table = self.table();
        let row = table.rows.find(hash, |row| row.key.borrow() == key);
        row.map_or(0, |row| row.list.len())
    }

    /// What finds those entries of `owner` under `key` again that `matches` chooses, in the order of registration.
    ///
    /// They are sought among the owner's entries or among the key's, whichever are fewer: neither an owner with many keys
    /// nor a key with many owners makes it long.
    pub(super) fn own<Q>(
        &self,
        owner: OwnerId,
        hash: u64,
        key: &Q,
        matches: impl Fn(&V) -> bool,
    ) -> Vec<Note>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut guard = self.table();
        let table = &mut *guard;
        let row = table.rows.find_mut(hash, |row| row.key.borrow() == key);
        let Some(row) = row else {
            return Vec::new();
        };
        let mut notes = table.owned.notes(owner);
        let noted: Vec<Note> = notes.by_ref().take(row.list.len()).collect();
        let is_all = notes.next().is_none();
        drop(notes);
        let list = row.list.share();
        drop(guard);
        if is_all {
            let noted = noted.into_iter().filter(|note| note.hash == hash);
            let chosen = |note: &Note| list.get(note.serial).is_some_and(|e| matches(&e.value));
            return noted.filter(chosen).collect();
        }
        let entries = list.chunks().iter().flat_map(|chunk| chunk.iter());
        let own = entries.filter(|entry| entry.owner == owner && matches(&entry.value));
        let note = |entry: &Entry<V>| Note {
            hash,
            serial: entry.serial,
        };
        own.map(note).collect()
    }
}

impl<K, V, S> Shard<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    pub(super) fn insert(
        self: &Arc<Self>,
        owner: &Owner,
        hash: u64,
        key: K,
        value: V,
    ) -> Registration {
        let mut retired = Retired::default();
        let mut guard = self.table();
        let table = &mut *guard;
        let serial = table.next_serial;
        table.next_serial += 1;
        let note = Note { hash, serial };
        let (slot, is_first) = table.owned.insert(owner.id(), note);
        let entry = Entry {
            owner: owner.id(),
            serial,
            slot,
            value,
        };
        let registered = || Change::Registered {
            key: key.clone(),
            entry: Arc::new(entry.clone()),
        };
        let notices = table.watchers.tell(self.index, hash, &key, registered);
        let mut outcome = None;
        let _spare;
        match table.rows.entry(hash, |row| row.key == key, |row| row.hash) {
            Place::Occupied(mut row) => {
                row.get_mut().list.push(entry, &mut retired);
                _spare = key;
            }
            Place::Vacant(place) => {
                outcome = table.keys.as_ref().map(|keys| keys.appeared(hash, &key));
                let list = ChunkedList::new(entry);
                place.insert(Row { key, hash, list });
            }
        }
        table.entries += 1;
        drop(guard);
        let shard = Arc::clone(self) as Arc<dyn Removal>;
        if is_first {
            owner.life().note(Arc::clone(&shard));
        }
        if let Some(outcome) = outcome {
            outcome.announce();
        }
        notices.deliver();
        Registration::new(shard, note, owner.id())
    }

    /// Takes that entry out; whether it was there.
    pub(super) fn remove(&self, note: Note, reason: Reason) -> bool {
        self.take_out(self.table(), note, reason)
    }

    fn take_out(
        &self,
        mut guard: MutexGuard<'_, Table<K, V, S>>,
        note: Note,
        reason: Reason,
    ) -> bool {
        let Note { hash, serial } = note;
        let table = &mut *guard;
        let mut place = None;
        let found = table.rows.find_entry(hash, |row| {
            place = (row.hash == hash).then(|| row.list.find(serial)).flatten();
            place.is_some()
        });
        let (Ok(mut row), Some(place)) = (found, place) else {
            return false;
        };
        let mut retired = Retired::default();
        let unregistered = || Change::Unregistered {
            key: row.get().key.clone(),
            entry: Arc::new(row.get().list.at(place).clone()),
            reason,
        };
        let notices = table
            .watchers
            .tell(self.index, hash, &row.get().key, unregistered);
        let entry = row.get_mut().list.remove(place, &mut retired);
        if reason != Reason::OwnerDied {
            table.owned.remove(entry.slot);
        }
        let emptied = row.get().list.is_empty().then(|| row.remove().0);
        let vanished = emptied.as_ref().zip(table.keys.as_ref());
        let outcome = vanished.map(|(row, keys)| keys.vanished(hash, &row.key));
        table.entries -= 1;
        drop(guard);
        // The user's values go last: should one panic in its drop, everybody has been told.
        if let Some(outcome) = outcome {
            outcome.announce();
        }
        notices.deliver();
        true
    }
}

impl<K, V, S> Removal for Shard<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    fn unregister(&self, note: Note) {
        self.remove(note, Reason::Explicit);
    }

    fn bury(&self, dead: OwnerId) -> bool {
        let mut table = self.table();
        // It is forgotten first, so that not even a panic makes it come up again.
        let Some(note) = table.owned.pop(dead) else {
            return false;
        };
        self.take_out(table, note, Reason::OwnerDied);
        true
    }

    #[cfg(test)]
    fn noted(&self, owner: OwnerId) -> usize {
        self.table().owned.notes(owner).count()
    }
}
