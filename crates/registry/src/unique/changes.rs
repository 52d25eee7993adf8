//! A name registry as its listeners see it: each shard is read in the moment from which its changes count.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::store::Store;
use crate::list::SharedList;
use crate::listener::Source;
use crate::tap::Tap;
use crate::watchers::Scope;
use crate::{Entries, Entry, Snapshot};

impl<K, V, S> Source<K, V> for Store<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync,
    S: BuildHasher + Send + Sync,
{
    fn join(&self, key: Option<(u64, K)>, tap: &Arc<Tap<K, V>>) -> (Scope<K>, Snapshot<K, V>) {
        let Some((hash, key)) = key else {
            let rows = self.shards.iter().flat_map(|shard| shard.watch_all(tap));
            return (Scope::All, snapshot(rows));
        };
        let (key, entry) = self.shards.of(hash).watch(hash, key, tap);
        let rows = entry.map(|entry| (Arc::clone(&key), entry));
        (Scope::Key { key, hash }, snapshot(rows.into_iter()))
    }

    fn read(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) -> Snapshot<K, V> {
        tap.restart();
        match scope {
            Scope::All => snapshot(self.shards.iter().flat_map(|shard| shard.watched_all(tap))),
            Scope::Key { key, hash } => {
                let entry = self.shards.of(*hash).watched(*hash, key, tap);
                snapshot(entry.map(|entry| (Arc::clone(key), entry)).into_iter())
            }
        }
    }

    fn leave(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) {
        match scope {
            Scope::All => self.shards.iter().for_each(|shard| shard.unwatch_all(tap)),
            Scope::Key { key, hash } => self.shards.of(*hash).unwatch(*hash, key, tap),
        }
    }
}

fn snapshot<K, V>(rows: impl Iterator<Item = (Arc<K>, Arc<Entry<V>>)>) -> Snapshot<K, V> {
    let parts = rows.map(|(key, entry)| (key, Entries::new(SharedList::One(entry))));
    Snapshot::new(parts.collect())
}
