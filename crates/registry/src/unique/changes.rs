//! A name registry as its listeners see it: each shard is read in the moment from which its changes count.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::shard::{Row, Shard};
use super::store::Store;
use crate::chunks::SharedList;
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
        for shard in self.within(scope) {
            let mut table = shard.table();
            let part = |row: &Row<K, V>| (row.key.clone(), Arc::clone(&row.entry));
            match scope {
                Scope::All => found.extend(table.rows.iter().map(part)),
                Scope::Key { key, hash } => {
                    found.extend(table.rows.find(*hash, |row| row.key == *key).map(part));
                }
            }
            if first {
                table.watchers.add(scope, tap);
            }
            tap.start(shard.index());
        }
        // Values of names are the user's to clone, hence here, under no lock.
        let entries = |entry: Arc<Entry<V>>| Entries::new(SharedList::of(Entry::clone(&entry)));
        let parts = found.into_iter();
        Snapshot::new(parts.map(|(key, entry)| (key, entries(entry))).collect())
    }

    fn leave(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) {
        for shard in self.within(scope) {
            let kept = shard.table().watchers.remove(scope, tap);
            drop(kept);
        }
    }
}

impl<K, V, S> Store<K, V, S> {
    fn within(&self, scope: &Scope<K>) -> std::slice::Iter<'_, Arc<Shard<K, V>>> {
        self.shards.range(match scope {
            Scope::All => 0..self.shards.len(),
            Scope::Key { hash, .. } => self.shards.only(*hash),
        })
    }
}
