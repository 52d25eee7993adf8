//! Which keys have entries at all, where the entries of one key stand in several shards.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::rows::{Row, Rows, Table, find_or_insert, read};
use crate::shards::Shards;
use crate::sync::{Mutex, MutexGuard};

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

/// Gives each key the one pointer by which all shards know it, and counts the shards in which it has entries.
pub(crate) struct Directory<K> {
    shards: Shards<Mutex<KnownKeys<K>>>,
}

struct KnownKeys<K> {
    rows: Rows<K, Known>,
    with_entries: usize,
}

/// A key that somebody holds: a row of a shard, or who is about to make one.
#[derive(Default)]
pub(crate) struct Known {
    holders: usize,
    /// The shards in which it has entries.
    shards: usize,
}

impl<K> Default for KnownKeys<K> {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            with_entries: 0,
        }
    }
}

impl<K> Table<K> for KnownKeys<K> {
    type Content = Known;

    fn rows(&mut self) -> &mut Rows<K, Known> {
        &mut self.rows
    }
}

/// A key that is known no more: the user's to drop, under no lock.
pub(crate) type Gone<K> = Row<K, Known>;

impl<K> Directory<K> {
    pub(crate) fn new(shards: usize) -> Self {
        let shards = Shards::locked(shards);
        Self { shards }
    }

    /// The pointer of that key, with one more holder. Called under no lock.
    pub(crate) fn hold(&self, hash: u64, key: K) -> Arc<K>
    where
        K: Eq + 'static,
    {
        let (mut found, place, spare) = find_or_insert(self.shards.of(hash), hash, key);
        let row = found.table.rows.at(place);
        row.content.holders += 1;
        let known = row.key.share();
        drop(found);
        drop(spare);
        known
    }

    /// One more holder, by somebody who has it already.
    pub(crate) fn hold_again(&self, hash: u64, key: &Arc<K>) {
        let mut keys = self.shards.lock(hash);
        let row = keys.rows.get_mut(hash, key);
        row.expect(HELD).content.holders += 1;
    }

    /// One holder less. It is known as long as it `is_needed`, even without any.
    pub(crate) fn let_go(
        &self,
        hash: u64,
        key: &Arc<K>,
        is_needed: impl FnOnce() -> bool,
    ) -> Option<Gone<K>> {
        let mut keys = self.shards.lock(hash);
        let row = keys.rows.get_mut(hash, key);
        row.expect(HELD).content.holders -= 1;
        forget_unheld(&mut keys, hash, key, is_needed)
    }

    /// Forgets it if nobody holds it and it is no more needed.
    pub(crate) fn settle(
        &self,
        hash: u64,
        key: &Arc<K>,
        is_needed: impl FnOnce() -> bool,
    ) -> Option<Gone<K>> {
        forget_unheld(&mut self.shards.lock(hash), hash, key, is_needed)
    }

    /// One more shard has entries of it. What `first` returns if no other had; it runs under the lock.
    pub(crate) fn enter<R>(&self, hash: u64, key: &Arc<K>, first: impl FnOnce() -> R) -> Option<R> {
        let mut keys = self.shards.lock(hash);
        let known = &mut keys.rows.get_mut(hash, key).expect(HELD).content;
        known.shards += 1;
        let is_first = known.shards == 1;
        keys.with_entries += usize::from(is_first);
        is_first.then(first)
    }

    /// One shard less has entries of it. What `last` returns if no other has; it runs under the lock.
    pub(crate) fn leave<R>(&self, hash: u64, key: &Arc<K>, last: impl FnOnce() -> R) -> Option<R> {
        let mut keys = self.shards.lock(hash);
        let known = &mut keys.rows.get_mut(hash, key).expect(HELD).content;
        known.shards -= 1;
        let was_last = known.shards == 0;
        keys.with_entries -= usize::from(was_last);
        was_last.then(last)
    }

    /// Whether that key has entries.
    pub(crate) fn contains<Q>(&self, hash: u64, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let has_entries = |known: &mut Known| (known.shards > 0).then_some(());
        read(self.shards.of(hash), hash, key, has_entries).is_some()
    }

    /// How many keys have entries.
    pub(crate) fn len(&self) -> usize {
        self.shards.each().map(|keys| keys.with_entries).sum()
    }

    #[cfg(test)]
    pub(crate) fn is_bare(&self) -> bool {
        self.shards.each().all(|keys| keys.rows.is_empty())
    }
}

/// Who has entries of a key, or is about to, holds it.
const HELD: &str = "a key that is held is known";

fn forget_unheld<K>(
    keys: &mut MutexGuard<'_, KnownKeys<K>>,
    hash: u64,
    key: &Arc<K>,
    is_needed: impl FnOnce() -> bool,
) -> Option<Gone<K>> {
    let row = keys.rows.entry(hash, key)?;
    let unheld = row.get().content.holders == 0 && !is_needed();
    unheld.then(|| row.remove().0)
}
