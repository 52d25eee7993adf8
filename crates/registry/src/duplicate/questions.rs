//! What can be asked of a group registry. Closures run on snapshots, under no lock.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use super::DuplicateRegistry;
use crate::list::SharedList;
use crate::{Entries, Entry, OwnerId};

impl<K, V, S> DuplicateRegistry<K, V, S> {
    /// How many entries there are. Shards are read one after another: not a snapshot.
    pub fn count(&self) -> usize {
        let shards = self.store.shards.iter();
        shards.map(|shard| shard.table().entries).sum()
    }

    /// How many keys have entries. Shards are read one after another: not a snapshot.
    pub fn count_keys(&self) -> usize {
        let shards = self.store.shards.iter();
        match self.store.directory() {
            Some(directory) => directory.len(),
            None => shards.map(|shard| shard.table().groups).sum(),
        }
    }
}

impl<K, V, S> DuplicateRegistry<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// A snapshot of the entries under `key`; `None` if there are none.
    pub fn lookup<Q>(&self, key: &Q) -> Option<Entries<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        match self.store.directory() {
            None => self.store.shards.of(hash).snapshot(hash, key),
            Some(_) => SharedList::chain(self.parts_of(key)),
        }
        .map(Entries::new)
    }

    /// The entries under `key`, shard by shard.
    pub(super) fn parts_of<Q>(&self, key: &Q) -> Vec<SharedList<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        let directory = self.store.directory();
        if directory.is_some_and(|known| !known.contains(hash, key)) {
            return Vec::new();
        }
        let places = self.store.places(hash);
        places
            .filter_map(|shard| shard.snapshot(hash, key))
            .collect()
    }

    /// The values that `owner` registered under `key`, in the order of registration.
    pub fn values<Q>(&self, key: &Q, owner: OwnerId) -> Vec<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let hash = self.store.hash(key);
        let entries = self.store.place(hash, owner).snapshot(hash, key);
        let entries = entries.map(Entries::new);
        let own = entries.iter().flatten().filter(|e| e.owner == owner);
        own.map(|entry| entry.value.clone()).collect()
    }

    /// The entries under `key` whose value `matches`.
    pub fn match_values<Q>(&self, key: &Q, matches: impl Fn(&V) -> bool) -> Vec<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let entries = self.lookup(key);
        let entries = entries.iter().flatten();
        entries.filter(|e| matches(&e.value)).cloned().collect()
    }

    /// How many entries under `key` have a value that `matches`.
    pub fn count_match<Q>(&self, key: &Q, matches: impl Fn(&V) -> bool) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let entries = self.lookup(key);
        let entries = entries.iter().flatten();
        entries.filter(|e| matches(&e.value)).count()
    }

    /// What `choose` makes of the entries of all keys, where it makes something of them.
    ///
    /// Shards are read one after another: what one key has is a snapshot, the whole is not.
    pub fn select<T>(&self, mut choose: impl FnMut(&K, &Entry<V>) -> Option<T>) -> Vec<T> {
        let mut chosen = Vec::new();
        self.each_row(|key, entries| {
            chosen.extend(entries.iter().filter_map(|entry| choose(key, entry)));
        });
        chosen
    }

    /// How many entries of all keys `choose` takes. Shards are read one after another.
    pub fn count_select(&self, mut choose: impl FnMut(&K, &Entry<V>) -> bool) -> usize {
        let mut count = 0;
        self.each_row(|key, entries| {
            count += entries.iter().filter(|entry| choose(key, entry)).count();
        });
        count
    }

    fn each_row(&self, mut visit: impl FnMut(&K, &Entries<V>)) {
        for shard in self.store.shards.iter() {
            let mut table = shard.table();
            let shared = table.rows.iter_mut().filter_map(|row| {
                let list = row.content.list.share()?;
                Some((row.key.share(), Entries::new(list)))
            });
            let rows: Vec<_> = shared.collect();
            drop(table);
            rows.iter().for_each(|(key, entries)| visit(key, entries));
        }
    }

    /// The keys of `owner`, once for each registration, in no order. Reads the whole registry: for questions, not for work.
    pub fn keys(&self, owner: OwnerId) -> Vec<K>
    where
        K: Clone,
    {
        self.select(|key, entry| (entry.owner == owner).then(|| key.clone()))
    }

    /// How many entries there are under `key`.
    pub fn count_key<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        let places = self.store.places(hash);
        places.map(|shard| shard.count(hash, key)).sum()
    }

    /// Whether there is any entry under `key`.
    pub fn is_registered<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        match self.store.directory() {
            Some(directory) => directory.contains(hash, key),
            None => self.store.shards.of(hash).count(hash, key) > 0,
        }
    }
}
