//! A group registry as its listeners see it: each shard is read in the moment from which its changes count.

use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::sync::Arc;

use super::store::{Row, Store};
use crate::listener::Source;
use crate::tap::Tap;
use crate::watchers::Scope;
use crate::{Entries, Snapshot};

impl<K, V, S> Source<K, V> for Store<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync,
    V: Clone + Send + Sync,
    S: BuildHasher + Clone + Send + Sync,
{
    fn read(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>, first: bool) -> Snapshot<K, V> {
        tap.restart();
        let mut parts = Vec::new();
        for index in self.within(scope) {
            let mut shard = self.shards.lock(index);
            let part = |row: &Row<K, V>| (row.key.clone(), Entries::new(row.list.clone()));
            match scope {
                Scope::All => parts.extend(shard.rows.iter().map(part)),
                Scope::Key { key, hash } => {
                    parts.extend(shard.rows.find(*hash, |row| row.key == *key).map(part));
                }
            }
            if first {
                shard.watchers.add(scope, tap);
            }
            tap.start(index);
        }
        Snapshot::new(parts)
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
            Scope::Key { hash, .. } => self.places(*hash),
        }
    }
}
