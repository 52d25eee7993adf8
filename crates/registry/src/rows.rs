//! A hash table under a lock whose keys are compared under none: `Eq` is the user's, and may take its time or call back.
//!
//! Under the lock rows are told apart by their hash and by the pointer to their key. Who has a key of his own first takes
//! along the keys of the rows with its hash, hardly ever more than one, and compares them with the lock let go. A reader
//! ([`read`]) takes along what he came for too, and is done. A writer ([`find`]) comes back, knowing which pointer he means.

use std::borrow::Borrow;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry as Place, OccupiedEntry};

use crate::sync::{Mutex, MutexGuard, lock};

/// Rows with their keys, each key once.
pub(crate) struct Rows<K, T> {
    table: HashTable<Row<K, T>>,
}

pub(crate) struct Row<K, T> {
    pub(crate) key: Arc<K>,
    hash: u64,
    pub(crate) content: T,
}

impl<K, T> Default for Rows<K, T> {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
        }
    }
}

impl<K, T> Row<K, T> {
    fn is(&self, hash: u64, key: &Arc<K>) -> bool {
        self.hash == hash && Arc::ptr_eq(&self.key, key)
    }
}

impl<K, T> Rows<K, T> {
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

    /// The row of that very key, made if there is none.
    pub(crate) fn get_or_insert(
        &mut self,
        hash: u64,
        key: &Arc<K>,
        content: impl FnOnce() -> T,
    ) -> &mut Row<K, T> {
        let place = self
            .table
            .entry(hash, |row| row.is(hash, key), |row| row.hash);
        match place {
            Place::Occupied(row) => row.into_mut(),
            Place::Vacant(place) => {
                let (key, content) = (Arc::clone(key), content());
                place.insert(Row { key, hash, content }).into_mut()
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row<K, T>> {
        self.table.iter()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The key of a row with that hash, other than those.
    fn stranger(&self, hash: u64, known: &[Arc<K>]) -> Option<&Arc<K>> {
        let rows = self.table.iter_hash(hash).filter(|row| row.hash == hash);
        let mut keys = rows.map(|row| &row.key);
        keys.find(|key| !known.iter().any(|known| Arc::ptr_eq(known, key)))
    }
}

/// What a lock guards, rows among it.
pub(crate) trait Table<K> {
    type Content;

    fn rows(&mut self) -> &mut Rows<K, Self::Content>;
}

/// What `look` takes along from the row of `key`, under one lock, and without waiting for anybody's `Eq`.
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
    let rows = guard.rows().table.iter_hash_mut(hash);
    let mut seen = rows
        .filter(|row| row.hash == hash)
        .filter_map(|row| Some((look(&mut row.content)?, Arc::clone(&row.key))));
    let first = seen.next();
    let others: Vec<(R, Arc<K>)> = seen.collect();
    drop(guard);
    let mut all = first.into_iter().chain(others);
    let (seen, _) = all.find(|(_, found)| K::borrow(found) == key)?;
    Some(seen)
}

/// A table, locked, after the key was found in it, or found to be missing.
///
/// Dropped as a whole it unlocks first: what else is in it may be the last of a key, and the user's to drop.
pub(crate) struct Found<'a, K, M> {
    pub(crate) table: MutexGuard<'a, M>,
    /// The key as it stands in the table, whose row is there as long as the lock is held.
    pub(crate) key: Option<Arc<K>>,
    #[expect(dead_code, reason = "kept to be dropped")]
    others: Vec<Arc<K>>,
    /// The key that was sought, where its like is there.
    spare: Option<K>,
}

impl<'a, K, M> Found<'a, K, M> {
    /// The table, locked, without looking for anything.
    pub(crate) fn locked(table: &'a Mutex<M>) -> Self {
        Self {
            table: lock(table),
            key: None,
            others: Vec::new(),
            spare: None,
        }
    }

    /// The key as it stands in the table, or else as it is to stand there.
    pub(crate) fn key_or(&mut self, key: K) -> Arc<K> {
        match self.key.take() {
            Some(known) => {
                self.spare = Some(key);
                known
            }
            None => Arc::new(key),
        }
    }
}

/// Finds `key`, and comes back with the lock held. Whenever it meets a row that it does not know, it lets go and compares.
pub(crate) fn find<'a, K, Q, M>(table: &'a Mutex<M>, hash: u64, key: &Q) -> Found<'a, K, M>
where
    M: Table<K>,
    K: Borrow<Q>,
    Q: Eq + ?Sized,
{
    let mut equal = None;
    let mut others = Vec::new();
    loop {
        let mut guard = lock(table);
        if let Some(equal) = equal.take() {
            if guard.rows().get_mut(hash, &equal).is_some() {
                return Found {
                    table: guard,
                    key: Some(equal),
                    others,
                    spare: None,
                };
            }
            // It went meanwhile, and may have come again as another.
            others.push(equal);
        }
        let Some(stranger) = guard.rows().stranger(hash, &others) else {
            return Found {
                table: guard,
                key: None,
                others,
                spare: None,
            };
        };
        let stranger = Arc::clone(stranger);
        drop(guard);
        if K::borrow(&stranger) == key {
            equal = Some(stranger);
        } else {
            others.push(stranger);
        }
    }
}
