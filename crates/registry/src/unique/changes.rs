//! A name registry as its listeners see it: each shard is read in the moment from which its changes count.

use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::sync::Arc;

use super::store::{Row, Store};
use crate::chunks::ChunkedList;
use crate::listener::Source;
use crate::tap::Tap;
use crate::watchers::Scope;
use crate::{Entries, Entry, Snapshot};

impl<K, V, S> Source<K, V> for Store<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync,
    V: Clone + Send + Sync,
    S: BuildHasher + Send + Sync,
{
    fn read(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>, first: bool) -> Snapshot<K, V> {
        tap.restart();
        let mut found = Vec::new();
        for index in self.within(scope) {
            let mut shard = self.shards.lock(index);
            let part = |row: &Row<K, V>| (row.key.clone(), Arc::clone(&row.entry));
            match scope {
                Scope::All => found.extend(shard.rows.iter().map(part)),
                Scope::Key { key, hash } => {
                    found.extend(shard.rows.find(*hash, |row| row.key == *key).map(part));
                }
            }
            if first {
                shard.watchers.add(scope, tap);
            }
            tap.start(index);
        }
        // Values of names are the user's to clone, hence here, under no lock.
        let entries = |entry: Arc<Entry<V>>| Entries::new(ChunkedList::new(Entry::clone(&entry)));
        let parts = found.into_iter();
        Snapshot::new(parts.map(|(key, entry)| (key, entries(entry))).collect())
    }

    fn leave(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) {
        for index in self.within(scope) {
            let mut shard = self.shards.lock(index);
            let kept = shard.watchers.remove(scope, tap);
            drop(shard);
            drop(kept);
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Store<K, V, S> {
    fn within(&self, scope: &Scope<K>) -> Range<usize> {
        match scope {
            Scope::All => 0..self.shards.len(),
            Scope::Key { hash, .. } => self.shards.index(*hash)..self.shards.index(*hash) + 1,
        }
    }
}
