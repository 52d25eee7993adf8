//! One shard of a group registry: entries behind one lock, and what a change of them sets off.

use std::borrow::Borrow;
use std::mem;
use std::sync::Arc;

use super::keys::Keys;
use crate::edges::Queued;
use crate::list::{List, SharedList};
use crate::owned::{Note, Owned};
use crate::owner::OwnerDead;
use crate::registration::Removal;
use crate::rows::{Found, Place, Row, Rows, Spare, find, find_or_insert, is_plain, read};
use crate::sharable::Sharable;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::tap::Tap;
use crate::watchers::{Notices, Watchers};
use crate::{Change, Entry, Owner, OwnerId, Reason, Registration};

/// Guards and owners hold on to the shard; what is in it goes with the registry.
pub(super) struct Shard<K, V> {
    index: usize,
    /// Whether there is a directory of keys, in which a key is looked up first.
    is_by_owner: bool,
    table: Mutex<Table<K, V>>,
}

pub(super) struct Table<K, V> {
    pub(super) rows: Rows<K, Group<V>>,
    pub(super) entries: usize,
    /// Rows with entries.
    pub(super) groups: usize,
    next_serial: u64,
    owned: Owned,
    pub(super) watchers: Watchers<K, V>,
    /// There if anybody asked which keys have entries.
    keys: Option<Arc<Keys<K>>>,
}

/// What stands under one key. It stays without entries as long as somebody listens to it, or its edge was not taken.
pub(super) struct Group<V> {
    pub(super) list: List<V>,
}

impl<V> Default for Group<V> {
    fn default() -> Self {
        Self {
            list: List::default(),
        }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            entries: 0,
            groups: 0,
            next_serial: 0,
            owned: Owned::default(),
            watchers: Watchers::default(),
            keys: None,
        }
    }
}

impl<K, V> crate::rows::Table<K> for Table<K, V> {
    type Content = Group<V>;

    fn rows(&mut self) -> &mut Rows<K, Group<V>> {
        &mut self.rows
    }
}

impl<K, V> Shard<K, V> {
    pub(super) fn new(index: usize, keys: Option<Arc<Keys<K>>>) -> Arc<Self> {
        let is_by_owner = keys.as_ref().is_some_and(|keys| keys.directory.is_some());
        let table = Mutex::new(Table {
            keys,
            ..Table::default()
        });
        Arc::new(Self {
            index,
            is_by_owner,
            table,
        })
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
        let groups = table.rows.iter().filter(|row| !row.content.list.is_empty());
        let is_counted = (table.groups, table.entries) == (0, 0);
        let edges = table.keys.as_ref().and_then(|keys| keys.edges.as_ref());
        let rows_may_stay = edges.is_some_and(|edges| edges.pending());
        let has_none = groups.count() == 0 && (rows_may_stay || table.rows.is_empty());
        has_none && is_counted && table.owned.is_empty()
    }

    /// The registry went.
    pub(super) fn clear(&self) {
        let contents = mem::take(&mut *self.table());
        drop(contents);
    }

    /// A snapshot of the entries under `key`.
    pub(super) fn snapshot<Q>(&self, hash: u64, key: &Q) -> Option<SharedList<V>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        read(&self.table, hash, key, |group| group.list.share())
    }

    /// How many entries there are under `key`.
    pub(super) fn count<Q>(&self, hash: u64, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        read(&self.table, hash, key, |group| Some(group.list.len())).unwrap_or(0)
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
        // What came after this was not there at the call.
        let Some(list) = self.snapshot(hash, key) else {
            return Vec::new();
        };
        let table = self.table();
        let mut notes = table.owned.notes(owner);
        let noted: Vec<Note> = notes.by_ref().take(list.len()).collect();
        let is_all = notes.next().is_none();
        drop(notes);
        drop(table);
        if is_all {
            let noted = noted.into_iter().filter(|note| note.hash == hash);
            let chosen = |note: &Note| list.get(note.serial).is_some_and(|e| matches(&e.value));
            return noted.filter(chosen).collect();
        }
        let own = list.iter();
        let own = own.filter(|entry| entry.owner == owner && matches(&entry.value));
        let note = |entry: &Entry<V>| Note {
            hash,
            serial: entry.serial,
        };
        own.map(note).collect()
    }

    /// Adds a listener to the row of `key`, which is made if there is none: the key as it stands there, and its entries.
    ///
    /// Where there is a directory, `key` is held by the caller, and the same in all shards.
    pub(super) fn watch(
        &self,
        hash: u64,
        key: &Arc<K>,
        tap: &Arc<Tap<K, V>>,
    ) -> (Arc<K>, Option<SharedList<V>>)
    where
        K: Eq + 'static,
    {
        let mut found = find(&self.table, hash, &**key);
        let row = match found.place {
            Some(place) => found.table.rows.at(place),
            None => {
                if let Some(keys) = found.table.directory() {
                    let directory = keys.directory.iter();
                    directory.for_each(|directory| directory.hold_again(hash, key));
                }
                let (key, group) = (Sharable::Shared(Arc::clone(key)), Group::default());
                let place = found.table.rows.insert(hash, key, group);
                found.table.rows.at(place)
            }
        };
        let (key, list) = (row.key.share(), row.content.list.share());
        found.table.watchers.add_keyed(hash, &key, tap);
        tap.start(self.index);
        drop(found);
        (key, list)
    }

    /// What is under a key that is listened to.
    pub(super) fn watched(
        &self,
        hash: u64,
        key: &Arc<K>,
        tap: &Arc<Tap<K, V>>,
    ) -> Option<SharedList<V>> {
        let mut table = self.table();
        let row = table.rows.get_mut(hash, key)?;
        let list = row.content.list.share();
        tap.start(self.index);
        list
    }

    /// Takes a listener out of the row of `key`.
    pub(super) fn unwatch(&self, hash: u64, key: &Arc<K>, tap: &Arc<Tap<K, V>>) {
        let mut table = self.table();
        table.watchers.remove_keyed(hash, key, tap);
        let gone = table.settle(hash, key);
        drop(table);
        drop(gone);
    }

    /// Takes out the row of a key that has no entries, unless something keeps it.
    pub(super) fn settle(&self, hash: u64, key: &Arc<K>) {
        let gone = self.table().settle(hash, key);
        drop(gone);
    }
}

impl<K, V> Table<K, V> {
    /// There if a key's entries stand in several shards.
    fn directory(&self) -> Option<Arc<Keys<K>>> {
        let keys = self.keys.as_ref()?;
        keys.directory.is_some().then(|| Arc::clone(keys))
    }

    /// Takes out the row of a key that has no entries, unless something keeps it. What is returned is the user's to drop.
    fn settle(&mut self, hash: u64, key: &Arc<K>) -> impl Sized + use<K, V> {
        let keys = self.keys.as_deref();
        let place = self.rows.entry(hash, key)?;
        let row = place.get();
        let is_idle = row.content.list.is_empty() && !self.watchers.has(hash, &row.key);
        if !is_idle || keys.is_some_and(|keys| keys.needs_row(hash, key)) {
            return None;
        }
        let (row, _) = place.remove();
        Some((row, keys.map(|keys| keys.row_went(hash, key))))
    }
}

/// A table, locked, with the row of a key in it; before it the keys that are the user's to drop.
type Placed<'a, K, V> = ((Spare<K>, Vec<Arc<K>>), MutexGuard<'a, Table<K, V>>, Place);

impl<K, V> Shard<K, V>
where
    K: Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Adds an entry.
    ///
    /// An owner that dies meanwhile either finds what was added, or its death is found: then nothing of it stays.
    pub(super) fn insert(
        self: &Arc<Self>,
        owner: &Owner,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Registration, OwnerDead> {
        owner.life().check()?;
        let (spare, mut guard, place) = self.place(hash, key);
        let table = &mut *guard;
        let serial = table.next_serial;
        table.next_serial += 1;
        let (slot, is_first) = table.owned.insert(owner.id(), Note { hash, serial });
        // Made where it is put: on the way it would be copied.
        let entry = |value| Entry {
            owner: owner.id(),
            serial,
            slot,
            value,
        };
        let Row { key, content, .. } = table.rows.at(place);
        let mut edge = None;
        if content.list.is_empty() {
            table.groups += 1;
            let keys = table.keys.as_ref();
            edge = keys.and_then(|keys| keys.appeared(hash, &key.share()));
        }
        table.entries += 1;
        let mut notices = Notices::none();
        if table.watchers.is_empty() {
            match content.list.room() {
                Some(room) => room.push(entry(value)),
                None => content.list.push(entry(value)),
            }
        } else {
            let entry = Arc::new(entry(value));
            content.list.push_shared(Arc::clone(&entry));
            let registered = |key| Change::Registered { key, entry };
            notices = table.watchers.tell(self.index, hash, key, registered);
        }
        let place = || Arc::clone(self) as Arc<dyn Removal>;
        let noted = owner.life().note_entry(is_first, place);
        drop(guard);
        drop(spare);
        edge.into_iter().for_each(Queued::announce);
        notices.deliver();
        if let Err(dead) = noted {
            while self.bury(owner.id()) {}
            return Err(dead);
        }
        let shard = Arc::clone(self);
        let note = Note { hash, serial };
        Ok(Registration::new(shard, note, owner.id()))
    }

    /// Locks the table, in which `key` has a row or gets one now; what comes first is to be dropped after the lock.
    #[inline(always)]
    fn place(&self, hash: u64, key: K) -> Placed<'_, K, V> {
        if is_plain::<K>() && !self.is_by_owner {
            let mut table = self.table();
            let (place, spare) = table.rows.get_or_insert(hash, key);
            return ((spare, Vec::new()), table, place);
        }
        // Taken apart and put together, which keeps what is above in registers.
        let (found, place, spare) = self.place_by_steps(hash, key);
        ((spare, found.compared), found.table, place)
    }

    #[inline(never)]
    fn place_by_steps(&self, hash: u64, key: K) -> (Found<'_, K, Table<K, V>>, Place, Spare<K>) {
        if !self.is_by_owner {
            return find_or_insert(&self.table, hash, key);
        }
        let found = find(&self.table, hash, &key);
        if let Some(place) = found.place {
            return (found, place, Some(key));
        }
        let Some(keys) = found.table.directory() else {
            // The registry went, while this came.
            drop(found);
            return find_or_insert(&self.table, hash, key);
        };
        // Another lock, and with it another order: who is in the directory goes there first.
        drop(found);
        let directory = keys.directory.as_ref().expect("asked for just now");
        let known = directory.hold(hash, key);
        let mut found = Found::nothing(&self.table);
        let rows = &mut found.table.rows;
        let place = match rows.place_of(hash, &known) {
            Some(place) => {
                // A row came meanwhile, which holds it.
                drop(directory.let_go(hash, &known, || true));
                place
            }
            None => rows.insert(hash, Sharable::Shared(known), Group::default()),
        };
        (found, place, None)
    }

    /// Takes that entry out; whether it was there.
    pub(super) fn remove(&self, note: Note, reason: Reason) -> bool {
        self.take_out(self.table(), note, reason)
    }

    #[inline]
    fn take_out(&self, mut guard: MutexGuard<'_, Table<K, V>>, note: Note, reason: Reason) -> bool {
        let Note { hash, serial } = note;
        let table = &mut *guard;
        let holds = |group: &Group<V>| group.list.contains(serial);
        let Some(mut place) = table.rows.entry_where(hash, holds) else {
            return false;
        };
        let Row { key, content, .. } = place.get_mut();
        let Some(mut entry) = content.list.remove(serial) else {
            return false;
        };
        if reason != Reason::OwnerDied {
            table.owned.remove(entry.slot);
        }
        table.entries -= 1;
        let unregistered = |key| Change::Unregistered {
            key,
            entry: entry.share(),
            reason,
        };
        let notices = table.watchers.tell(self.index, hash, key, unregistered);
        let (mut edge, mut _vanished, mut _gone) = (None, None, None);
        if content.list.is_empty() {
            table.groups -= 1;
            match &table.keys {
                None if !table.watchers.has(hash, key) => _gone = Some(place.remove().0),
                None => {}
                Some(keys) => {
                    let key = key.share();
                    edge = keys.vanished(hash, &key);
                    _vanished = Some((table.settle(hash, &key), key));
                }
            }
        }
        drop(guard);
        edge.into_iter().for_each(Queued::announce);
        notices.deliver();
        // The user's keys and values go last, here: should one panic in its drop, everybody has been told.
        true
    }
}

impl<K, V> Removal for Shard<K, V>
where
    K: Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
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
