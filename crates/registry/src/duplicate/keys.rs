//! Which keys have entries at all, as the shards tell it.

use std::hash::{BuildHasher, Hash};

use crate::directory::Directory;
use crate::edges::{Edges, Queued};

/// What all shards of a registry share, where somebody asked for it.
pub(super) struct Keys<K, S> {
    /// There if a key's entries stand in several shards.
    pub(super) directory: Option<Directory<K>>,
    pub(super) edges: Option<Edges<K, S>>,
}

/// What is left to do about a key that appeared or vanished, once its shard is unlocked.
pub(super) struct Outcome<K> {
    edge: Option<Queued<K>>,
    /// The user's to drop.
    _gone: Option<K>,
}

impl<K> Outcome<K> {
    /// Called under no lock.
    pub(super) fn announce(self) {
        if let Some(edge) = self.edge {
            edge.announce();
        }
    }
}

impl<K, S> Keys<K, S>
where
    K: Eq + Hash + Clone,
    S: BuildHasher + Clone,
{
    /// The key has its first entry in a shard, which is locked.
    pub(super) fn appeared(&self, hash: u64, key: &K) -> Outcome<K> {
        let edge = match &self.directory {
            None => self.edge(key),
            Some(directory) => directory.enter(hash, key, || self.edge(key)).flatten(),
        };
        Outcome { edge, _gone: None }
    }

    /// The key has no entry any more in a shard, which is locked.
    pub(super) fn vanished(&self, hash: u64, key: &K) -> Outcome<K> {
        let (edge, _gone) = match &self.directory {
            None => (self.edge(key), None),
            Some(directory) => match directory.leave(hash, key, || self.edge(key)) {
                Some((known, edge)) => (edge, Some(known)),
                None => (None, None),
            },
        };
        Outcome { edge, _gone }
    }

    fn edge(&self, key: &K) -> Option<Queued<K>> {
        let edges = self.edges.as_ref()?;
        Some(edges.queue(key.clone()))
    }
}
