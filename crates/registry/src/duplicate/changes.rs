//! A group registry as its listeners see it: each shard is read in the moment from which its changes count.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::shard::{Row, Shard};
use super::store::Store;
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
        for shard in self.within(scope) {
            let mut table = shard.table();
            let part = |row: &mut Row<K, V>| (row.key.clone(), Entries::new(row.list.share()));
            match scope {
                Scope::All => parts.extend(table.rows.iter_mut().map(part)),
                Scope::Key { key, hash } => {
                    let row = table.rows.find_mut(*hash, |row| row.key == *key);
                    parts.extend(row.map(part));
                }
            }
            if first {
                table.watchers.add(scope, tap);
            }
            tap.start(shard.index());
        }
        Snapshot::new(parts)
    }

    fn leave(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) {
        for shard in self.within(scope) {
            let kept = shard.table().watchers.remove(scope, tap);
            drop(kept);
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Store<K, V, S> {
    fn within(&self, scope: &Scope<K>) -> std::slice::Iter<'_, Arc<Shard<K, V, S>>> {
        match scope {
            Scope::All => self.shards.iter(),
            Scope::Key { hash, .. } => self.places(*hash),
        }
    }
}
