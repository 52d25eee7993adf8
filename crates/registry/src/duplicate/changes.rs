//! A group registry as its listeners see it: each shard is read in the moment from which its changes count.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use super::shard::Shard;
use super::store::Store;
use crate::list::SharedList;
use crate::listener::Source;
use crate::tap::Tap;
use crate::watchers::Scope;
use crate::{Entries, Snapshot};

type Part<K, V> = (Arc<K>, Entries<V>);

impl<K, V, S> Source<K, V> for Store<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync,
    S: BuildHasher + Send + Sync,
{
    fn join(&self, key: Option<(u64, K)>, tap: &Arc<Tap<K, V>>) -> (Scope<K>, Snapshot<K, V>) {
        let Some((hash, key)) = key else {
            let parts = self.shards.iter().flat_map(|shard| all(shard, tap, true));
            return (Scope::All, Snapshot::new(parts.collect()));
        };
        let mut key = self.hold(hash, key);
        let mut lists = Vec::new();
        for shard in self.places(hash) {
            let (known, list) = shard.watch(hash, &key, tap);
            lists.extend(list);
            key = known;
        }
        self.let_go(hash, &key);
        let parts = lists.into_iter().map(|list| part(&key, list)).collect();
        (Scope::Key { key, hash }, Snapshot::new(parts))
    }

    fn read(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) -> Snapshot<K, V> {
        tap.restart();
        let parts = match scope {
            Scope::All => self
                .shards
                .iter()
                .flat_map(|s| all(s, tap, false))
                .collect(),
            Scope::Key { key, hash } => {
                let lists = self
                    .places(*hash)
                    .filter_map(|s| s.watched(*hash, key, tap));
                lists.map(|list| part(key, list)).collect()
            }
        };
        Snapshot::new(parts)
    }

    fn leave(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) {
        match scope {
            Scope::All => self
                .shards
                .iter()
                .for_each(|s| s.table().watchers.remove(tap)),
            Scope::Key { key, hash } => {
                let places = self.places(*hash);
                places.for_each(|shard| shard.unwatch(*hash, key, tap));
            }
        }
    }
}

fn part<K, V>(key: &Arc<K>, list: SharedList<V>) -> Part<K, V> {
    (Arc::clone(key), Entries::new(list))
}

/// All entries of a shard, such that every later change of it reaches `tap`; `first` adds the tap.
fn all<K, V>(shard: &Shard<K, V>, tap: &Arc<Tap<K, V>>, first: bool) -> Vec<Part<K, V>> {
    let mut table = shard.table();
    if first {
        table.watchers.add(tap);
    }
    tap.start(shard.index());
    let rows = table.rows.iter_mut();
    let shared = rows.filter_map(|row| {
        let list = row.content.list.share()?;
        Some((row.key.share(), Entries::new(list)))
    });
    shared.collect()
}
