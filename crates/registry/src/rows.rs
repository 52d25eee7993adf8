//! A hash table under a lock whose keys are compared under none: `Eq` is the user's, and may take its time or call back.
//!
//! Under the lock rows are told apart by their hash and by the pointer to their key. Who has a key of his own first takes
//! along the keys of the rows with its hash, hardly ever more than one, and compares them with the lock let go. A reader
//! ([`read`]) takes along what he came for too, and is done. A writer ([`find`]) comes back, knowing which pointer he means.
//!
//! Writers come back for nothing where the comparison is the standard library's own code, which neither waits nor calls
//! back. So keys of its plain types are compared at once ([`is_plain`]). The list is closed: a trait by which others could
//! put their keys on it would have them vouch for code that then runs under the lock.

use std::any::TypeId;
use std::borrow::Borrow;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};

use crate::sharable::Sharable;
use crate::sync::{Mutex, MutexGuard, lock};

/// Rows with their keys, each key once.
pub(crate) struct Rows<K, T> {
    table: HashTable<Row<K, T>>,
    /// Whether two rows ever had the same hash, which hardly any table sees.
    has_twins: bool,
}

pub(crate) struct Row<K, T> {
    pub(crate) key: Sharable<K>,
    hash: u64,
    pub(crate) content: T,
}

/// Where a row stands, until rows come or go.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

/// What became of a key that was brought along: it went into a row, or its like was there.
pub(crate) type Spare<K> = Option<K>;

impl<K, T> Default for Rows<K, T> {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            has_twins: false,
        }
    }
}

impl<K, T> Row<K, T> {
    fn is(&self, hash: u64, key: &Arc<K>) -> bool {
        self.hash == hash && self.key.is(key)
    }
}

impl<K, T> Rows<K, T> {
    /// The row that stands there.
    pub(crate) fn at(&mut self, Place(index): Place) -> &mut Row<K, T> {
        let row = self.table.get_bucket_mut(index);
        row.expect("a place is used before rows come or go")
    }

    /// The row of that very key.
    pub(crate) fn get_mut(&mut self, hash: u64, key: &Arc<K>) -> Option<&mut Row<K, T>> {
        self.table.find_mut(hash, |row| row.is(hash, key))
    }

    /// The row of that very key, to be changed or taken out.
    pub(crate) fn entry(
        &mut self,
        hash: u64,
        key: &Arc<K>,
    ) -> Option<OccupiedEntry<'_, Row<K, T>>> {
        self.table.find_entry(hash, |row| row.is(hash, key)).ok()
    }

    /// The row with that hash whose content `is_it`, to be changed or taken out.
    pub(crate) fn entry_where(
        &mut self,
        hash: u64,
        mut is_it: impl FnMut(&T) -> bool,
    ) -> Option<OccupiedEntry<'_, Row<K, T>>> {
        let is_it = |row: &Row<K, T>| row.hash == hash && is_it(&row.content);
        self.table.find_entry(hash, is_it).ok()
    }

    /// Adds a row, whose key is known to have none.
    pub(crate) fn insert(&mut self, hash: u64, key: Sharable<K>, content: T) -> Place {
        self.has_twins |= self.place(hash, |_| true).is_some();
        let row = Row { key, hash, content };
        let row = self.table.insert_unique(hash, row, |row| row.hash);
        Place(row.bucket_index())
    }

    /// The row of a key that is compared at once, made if there is none.
    #[inline(always)]
    pub(crate) fn get_or_insert(&mut self, hash: u64, key: K) -> (Place, Spare<K>)
    where
        K: Eq,
        T: Default,
    {
        let mut has_twin = false;
        let is_it = |row: &Row<K, T>| {
            let is_it = row.hash == hash && *row.key == key;
            has_twin |= row.hash == hash && !is_it;
            is_it
        };
        match self.table.entry(hash, is_it, |row| row.hash) {
            Entry::Occupied(row) => (Place(row.bucket_index()), Some(key)),
            Entry::Vacant(place) => {
                let (key, content) = (Sharable::own(key), T::default());
                let row = place.insert(Row { key, hash, content });
                self.has_twins |= has_twin;
                (Place(row.bucket_index()), None)
            }
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Row<K, T>> {
        self.table.iter_mut()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row<K, T>> {
        self.table.iter()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn place(&self, hash: u64, is_it: impl Fn(&Row<K, T>) -> bool) -> Option<Place> {
        let is_it = |row: &Row<K, T>| row.hash == hash && is_it(row);
        self.table.find_bucket_index(hash, is_it).map(Place)
    }

    /// Where the row of that very key stands.
    pub(crate) fn place_of(&self, hash: u64, key: &Arc<K>) -> Option<Place> {
        self.place(hash, |row| row.key.is(key))
    }

    /// The keys of all rows with that hash, and what there is to be seen of them.
    fn look_at_all<R>(
        &mut self,
        hash: u64,
        look: impl Fn(&mut T) -> Option<R>,
    ) -> Vec<(Arc<K>, R)> {
        let rows = self.table.iter_hash_mut(hash);
        let rows = rows.filter(|row| row.hash == hash);
        let seen = rows.filter_map(|row| {
            let seen = look(&mut row.content)?;
            Some((row.key.share(), seen))
        });
        seen.collect()
    }

    /// The key of a row with that hash, other than those.
    fn stranger(&mut self, hash: u64, known: &[Arc<K>]) -> Option<Arc<K>> {
        let mut rows = self.table.iter_hash_mut(hash);
        let row = rows.find(|row| row.hash == hash && !known.iter().any(|key| row.key.is(key)));
        row.map(|row| row.key.share())
    }
}

/// What a lock guards, rows among it.
pub(crate) trait Table<K> {
    type Content;

    fn rows(&mut self) -> &mut Rows<K, Self::Content>;
}

/// What `look` takes along from the row of `key`, under one lock, and without waiting for anybody's `Eq`.
#[inline]
pub(crate) fn read<K, Q, M, R>(
    table: &Mutex<M>,
    hash: u64,
    key: &Q,
    look: impl Fn(&mut M::Content) -> Option<R>,
) -> Option<R>
where
    M: Table<K>,
    K: Borrow<Q>,
    Q: Eq + ?Sized,
{
    let mut guard = lock(table);
    let rows = guard.rows();
    if rows.has_twins {
        let seen = rows.look_at_all(hash, look);
        drop(guard);
        let mut seen = seen.into_iter();
        return Some(seen.find(|(found, _)| K::borrow(found) == key)?.1);
    }
    let row = rows.table.find_mut(hash, |row| row.hash == hash)?;
    let seen = look(&mut row.content)?;
    let found = row.key.share();
    drop(guard);
    (K::borrow(&found) == key).then_some(seen)
}

/// A table, locked, after a key was found in it, or found to be missing.
///
/// Dropped as a whole it unlocks first: what else is in it may be the last of a key, and the user's to drop.
pub(crate) struct Found<'a, K, M> {
    pub(crate) table: MutexGuard<'a, M>,
    /// The row of the key, if there is one.
    pub(crate) place: Option<Place>,
    /// The keys that were compared on the way, to be dropped after the lock.
    pub(crate) compared: Vec<Arc<K>>,
}

impl<'a, K, M> Found<'a, K, M> {
    /// Without looking for anything.
    pub(crate) fn nothing(table: &'a Mutex<M>) -> Self {
        Self {
            table: lock(table),
            place: None,
            compared: Vec::new(),
        }
    }
}

/// Finds `key`, or makes a row for it, and comes back with the lock held.
#[inline(always)]
pub(crate) fn find_or_insert<K, M>(
    table: &Mutex<M>,
    hash: u64,
    key: K,
) -> (Found<'_, K, M>, Place, Spare<K>)
where
    M: Table<K>,
    M::Content: Default,
    K: Eq + 'static,
{
    if is_plain::<K>() {
        let mut found = Found::nothing(table);
        let (place, spare) = found.table.rows().get_or_insert(hash, key);
        return (found, place, spare);
    }
    let mut found = find_by_comparing(table, hash, &key);
    match found.place {
        Some(place) => (found, place, Some(key)),
        None => {
            let (key, content) = (Sharable::own(key), M::Content::default());
            let place = found.table.rows().insert(hash, key, content);
            (found, place, None)
        }
    }
}

/// Finds `key`, and comes back with the lock held. Whenever it meets a row that it does not know, it lets go and compares.
#[inline]
pub(crate) fn find<'a, K, M>(table: &'a Mutex<M>, hash: u64, key: &K) -> Found<'a, K, M>
where
    M: Table<K>,
    K: Eq + 'static,
{
    if is_plain::<K>() {
        let mut found = Found::nothing(table);
        found.place = found.table.rows().place(hash, |row| *row.key == *key);
        return found;
    }
    find_by_comparing(table, hash, key)
}

/// [`find`] whatever the key is.
pub(crate) fn find_by_comparing<'a, K: Eq, M: Table<K>>(
    table: &'a Mutex<M>,
    hash: u64,
    key: &K,
) -> Found<'a, K, M> {
    let mut compared: Vec<Arc<K>> = Vec::new();
    let mut is_equal = false;
    loop {
        let mut table = lock(table);
        let equal = compared.last().filter(|_| is_equal);
        let place = equal.and_then(|equal| table.rows().place_of(hash, equal));
        let stranger = match place {
            Some(_) => None,
            // If there was an equal one it went meanwhile, and may have come again as another.
            None => table.rows().stranger(hash, &compared),
        };
        let Some(stranger) = stranger else {
            return Found {
                table,
                place,
                compared,
            };
        };
        drop(table);
        is_equal = *stranger == *key;
        compared.push(stranger);
    }
}

/// Whether no comparison of such keys runs anybody's code but the standard library's. The compiler knows the answer.
#[inline(always)]
pub(crate) fn is_plain<K: 'static>() -> bool {
    let key = TypeId::of::<K>();
    let is_number = key == TypeId::of::<u8>()
        || key == TypeId::of::<u16>()
        || key == TypeId::of::<u32>()
        || key == TypeId::of::<u64>()
        || key == TypeId::of::<u128>()
        || key == TypeId::of::<usize>()
        || key == TypeId::of::<i32>()
        || key == TypeId::of::<i64>();
    is_number
        || key == TypeId::of::<&'static str>()
        || key == TypeId::of::<String>()
        || key == TypeId::of::<Box<str>>()
        || key == TypeId::of::<Arc<str>>()
        || key == TypeId::of::<Vec<u8>>()
}
