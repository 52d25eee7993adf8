//! What can be asked of a name registry. Closures run on snapshots, under no lock.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::UniqueRegistry;
use crate::{Entry, OwnerId};

impl<K, V, S> UniqueRegistry<K, V, S> {
    /// How many entries there are. Shards are read one after another: not a snapshot.
    pub fn count(&self) -> usize {
        let shards = self.store.shards.iter();
        shards.map(|shard| shard.table().names).sum()
    }
}

impl<K, V, S> UniqueRegistry<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// The value under `key`, if its owner lives: one that is dying is found no more, even before its end gets to this entry.
    pub fn whereis<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let (entry, alive) = self.find(key)?;
        alive.then(|| entry.value.clone())
    }

    /// The entry under `key`: value and owner.
    pub fn lookup<Q>(&self, key: &Q) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let (entry, _) = self.find(key)?;
        Some(Entry::clone(&entry))
    }

    /// The value under `key`, if that owner holds it.
    pub fn value<Q>(&self, key: &Q, owner: OwnerId) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let hash = self.store.hash(key);
        let entry = self.store.shards.of(hash).find_own(owner, hash, key)?;
        Some(entry.value.clone())
    }

    /// The entry under `key`, if its value `matches`.
    pub fn match_value<Q>(&self, key: &Q, matches: impl FnOnce(&V) -> bool) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let (entry, _) = self.find(key)?;
        matches(&entry.value).then(|| Entry::clone(&entry))
    }

    /// What stands under `key`, and whether its owner lives.
    fn find<Q>(&self, key: &Q) -> Option<(Arc<Entry<V>>, bool)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        self.store.shards.of(hash).find(hash, key)
    }

    /// What `choose` makes of the entries of all keys, where it makes something of them.
    ///
    /// Shards are read one after another: not a snapshot.
    pub fn select<T>(&self, mut choose: impl FnMut(&K, &Entry<V>) -> Option<T>) -> Vec<T> {
        let mut chosen = Vec::new();
        for shard in self.store.shards.iter() {
            let rows = shard.rows();
            chosen.extend(rows.iter().filter_map(|(key, entry)| choose(key, entry)));
        }
        chosen
    }

    /// How many entries of all keys `choose` takes. Shards are read one after another.
    pub fn count_select(&self, mut choose: impl FnMut(&K, &Entry<V>) -> bool) -> usize {
        let mut count = 0;
        self.select(|key, entry| {
            count += usize::from(choose(key, entry));
            None::<()>
        });
        count
    }

    /// The keys that `owner` holds, in no order. Reads the whole registry: for questions, not for work.
    pub fn keys(&self, owner: OwnerId) -> Vec<K>
    where
        K: Clone,
    {
        self.select(|key, entry| (entry.owner == owner).then(|| key.clone()))
    }
}
