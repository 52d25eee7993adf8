//! One shard of a name registry: entries behind one lock, and what a change of them sets off.

use std::borrow::Borrow;
use std::mem;
use std::sync::Arc;

use super::RegisterError;
use crate::owned::{Note, Owned};
use crate::owner::Life;
use crate::registration::Removal;
use crate::rows::{Row, Rows, find_or_insert, read};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::tap::Tap;
use crate::watchers::{Notices, Watchers};
use crate::{Change, Entry, Owner, OwnerId, Reason, Registration};

/// Guards and owners hold on to the shard; what is in it goes with the registry.
pub(super) struct Shard<K, V> {
    index: usize,
    table: Mutex<Table<K, V>>,
}

pub(super) struct Table<K, V> {
    rows: Rows<K, Name<V>>,
    /// Rows that are held.
    pub(super) names: usize,
    next_serial: u64,
    owned: Owned,
    watchers: Watchers<K, V>,
}

/// What stands under one key. It stays without a holder as long as somebody listens to it.
pub(super) struct Name<V> {
    held: Option<Held<V>>,
}

pub(super) struct Held<V> {
    entry: Arc<Entry<V>>,
    /// Tells whether the holder lives.
    life: Arc<Life>,
}

type Keyed<K, V> = (Arc<K>, Arc<Entry<V>>);

impl<V> Default for Name<V> {
    fn default() -> Self {
        Self { held: None }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            names: 0,
            next_serial: 0,
            owned: Owned::default(),
            watchers: Watchers::default(),
        }
    }
}

impl<K, V> crate::rows::Table<K> for Table<K, V> {
    type Content = Name<V>;

    fn rows(&mut self) -> &mut Rows<K, Name<V>> {
        &mut self.rows
    }
}

impl<V> Name<V> {
    fn entry(&self) -> Option<Arc<Entry<V>>> {
        Some(Arc::clone(&self.held.as_ref()?.entry))
    }
}

impl<K, V> Table<K, V> {
    fn entries(&mut self) -> Vec<Keyed<K, V>> {
        let row = |row: &mut Row<K, Name<V>>| {
            let entry = row.content.entry()?;
            Some((row.key.share(), entry))
        };
        self.rows.iter_mut().filter_map(row).collect()
    }

    /// Takes out the row of a key that is not held, unless somebody listens. What is returned is the user's to drop.
    fn settle(&mut self, hash: u64, key: &Arc<K>) -> impl Sized + use<K, V> {
        let place = self.rows.entry(hash, key)?;
        let row = place.get();
        let is_idle = row.content.held.is_none() && !self.watchers.has(hash, &row.key);
        is_idle.then(|| place.remove().0)
    }
}

impl<K, V> Shard<K, V> {
    pub(super) fn new(index: usize) -> Arc<Self> {
        let table = Mutex::new(Table::default());
        Arc::new(Self { index, table })
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table<K, V>> {
        lock(&self.table)
    }

    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let table = self.table();
        table.rows.is_empty() && table.names == 0 && table.owned.is_empty()
    }

    /// The registry went.
    pub(super) fn clear(&self) {
        let contents = mem::take(&mut *self.table());
        drop(contents);
    }

    /// What stands under `key`, and whether its owner lives.
    pub(super) fn find<Q>(&self, hash: u64, key: &Q) -> Option<(Arc<Entry<V>>, bool)>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        read(&self.table, hash, key, |name| {
            let held = name.held.as_ref()?;
            Some((Arc::clone(&held.entry), held.life.is_alive()))
        })
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

    /// All keys that are held, and by what.
    pub(super) fn rows(&self) -> Vec<Keyed<K, V>> {
        self.table().entries()
    }

    /// As [`rows`](Self::rows), such that every later change reaches `tap`, which is added.
    pub(super) fn watch_all(&self, tap: &Arc<Tap<K, V>>) -> Vec<Keyed<K, V>> {
        let mut table = self.table();
        table.watchers.add(tap);
        tap.start(self.index);
        table.entries()
    }

    /// The same for a tap that was added before.
    pub(super) fn watched_all(&self, tap: &Arc<Tap<K, V>>) -> Vec<Keyed<K, V>> {
        let mut table = self.table();
        tap.start(self.index);
        table.entries()
    }

    pub(super) fn unwatch_all(&self, tap: &Arc<Tap<K, V>>) {
        self.table().watchers.remove(tap);
    }

    /// Adds a listener to the row of `key`, which is made if there is none: the key as it stands there, and its entry.
    pub(super) fn watch(
        &self,
        hash: u64,
        key: K,
        tap: &Arc<Tap<K, V>>,
    ) -> (Arc<K>, Option<Arc<Entry<V>>>)
    where
        K: Eq + 'static,
    {
        let (mut found, place, spare) = find_or_insert(&self.table, hash, key);
        let row = found.table.rows.at(place);
        let (key, entry) = (row.key.share(), row.content.entry());
        found.table.watchers.add_keyed(hash, &key, tap);
        tap.start(self.index);
        drop(found);
        drop(spare);
        (key, entry)
    }

    /// What is under a key that is listened to.
    pub(super) fn watched(
        &self,
        hash: u64,
        key: &Arc<K>,
        tap: &Arc<Tap<K, V>>,
    ) -> Option<Arc<Entry<V>>> {
        let mut table = self.table();
        let entry = table.rows.get_mut(hash, key)?.content.entry();
        tap.start(self.index);
        entry
    }

    /// Takes a listener out of the row of `key`.
    pub(super) fn unwatch(&self, hash: u64, key: &Arc<K>, tap: &Arc<Tap<K, V>>) {
        let mut table = self.table();
        table.watchers.remove_keyed(hash, key, tap);
        let gone = table.settle(hash, key);
        drop(table);
        drop(gone);
    }

    /// Puts `new` in the place of `old`, if `old` is still what stands there.
    pub(super) fn replace(&self, hash: u64, old: &Arc<Entry<V>>, mut new: Arc<Entry<V>>) -> bool {
        let mut guard = self.table();
        let table = &mut *guard;
        let Some(mut row) = table.rows.entry_where(hash, |name| name.has(old)) else {
            return false;
        };
        let row = row.get_mut();
        let Some(held) = &mut row.content.held else {
            return false;
        };
        mem::swap(&mut held.entry, &mut new);
        let updated = |key| Change::Updated {
            key,
            entry: Arc::clone(&held.entry),
        };
        let notices = table.watchers.tell(self.index, hash, &mut row.key, updated);
        drop(guard);
        notices.deliver();
        true
    }

    /// Takes the entry out that is meant; whether it was there.
    pub(super) fn remove(&self, hash: u64, meant: impl Fn(&Arc<Entry<V>>) -> bool) -> bool {
        self.take_out(self.table(), hash, meant, Reason::Explicit)
    }

    fn take_out(
        &self,
        mut guard: MutexGuard<'_, Table<K, V>>,
        hash: u64,
        meant: impl Fn(&Arc<Entry<V>>) -> bool,
        reason: Reason,
    ) -> bool {
        let table = &mut *guard;
        let is_it = |name: &Name<V>| name.held.as_ref().is_some_and(|held| meant(&held.entry));
        let Some(mut place) = table.rows.entry_where(hash, is_it) else {
            return false;
        };
        let row = place.get_mut();
        let Some(held) = row.content.held.take() else {
            return false;
        };
        table.names -= 1;
        if reason != Reason::OwnerDied {
            table.owned.remove(held.entry.slot);
        }
        let unregistered = |key| unregistered(key, &held, reason);
        let notices = table
            .watchers
            .tell(self.index, hash, &mut row.key, unregistered);
        let is_idle = !table.watchers.has(hash, &row.key);
        let gone = is_idle.then(|| place.remove().0);
        drop(guard);
        notices.deliver();
        // The user's keys and values go last: should one panic in its drop, everybody has been told.
        drop((held, gone));
        true
    }
}

impl<V> Name<V> {
    fn has(&self, entry: &Arc<Entry<V>>) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| Arc::ptr_eq(&held.entry, entry))
    }
}

fn unregistered<K, V>(key: Arc<K>, held: &Held<V>, reason: Reason) -> Change<K, V> {
    Change::Unregistered {
        key,
        entry: Arc::clone(&held.entry),
        reason,
    }
}

impl<K, V> Shard<K, V>
where
    K: Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Takes the name if nobody who lives has it.
    ///
    /// An owner that dies meanwhile either finds what was added, or its death is found: then nothing of it stays.
    pub(super) fn insert(
        self: &Arc<Self>,
        owner: &Owner,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Registration, RegisterError> {
        owner.life().check()?;
        let (mut found, place, spare) = find_or_insert(&self.table, hash, key);
        let table = &mut *found.table;
        let row = table.rows.at(place);
        if let Some(held) = &row.content.held
            && held.life.is_alive()
        {
            let owner = held.entry.owner;
            drop(found);
            return Err(RegisterError::AlreadyRegistered { owner });
        }
        let serial = table.next_serial;
        table.next_serial += 1;
        let note = Note { hash, serial };
        let (slot, is_first) = table.owned.insert(owner.id(), note);
        let entry = Arc::new(Entry {
            owner: owner.id(),
            serial,
            slot,
            value,
        });
        let Row { key, content, .. } = row;
        let mut gone = Notices::none();
        let replaced = content.held.take();
        if let Some(held) = &replaced {
            let change = |key| unregistered(key, held, Reason::Replaced);
            gone = table.watchers.tell(self.index, hash, key, change);
            table.owned.remove(held.entry.slot);
            table.names -= 1;
        }
        let registered = |key| Change::Registered {
            key,
            entry: Arc::clone(&entry),
        };
        let come = table.watchers.tell(self.index, hash, key, registered);
        let life = Arc::clone(owner.life());
        content.held = Some(Held { entry, life });
        table.names += 1;
        let shard = Arc::clone(self) as Arc<dyn Removal>;
        let noted = owner.life().note_entry(is_first, || Arc::clone(&shard));
        drop(found);
        gone.deliver();
        come.deliver();
        drop((replaced, spare));
        if let Err(dead) = noted {
            while self.bury(owner.id()) {}
            return Err(dead.into());
        }
        Ok(Registration::new(shard, note, owner.id()))
    }
}

impl<K, V> Removal for Shard<K, V>
where
    K: Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn unregister(&self, note: Note) {
        self.remove(note.hash, |entry| entry.serial == note.serial);
    }

    fn bury(&self, dead: OwnerId) -> bool {
        let mut table = self.table();
        // It is forgotten first, so that not even a panic makes it come up again.
        let Some(note) = table.owned.pop(dead) else {
            return false;
        };
        let is_it = |entry: &Arc<Entry<V>>| entry.serial == note.serial;
        self.take_out(table, note.hash, is_it, Reason::OwnerDied);
        true
    }

    #[cfg(test)]
    fn noted(&self, owner: OwnerId) -> usize {
        self.table().owned.notes(owner).count()
    }
}
