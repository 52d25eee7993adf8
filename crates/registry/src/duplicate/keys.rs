//! Which keys have entries at all, as the shards tell it.

use std::sync::Arc;

use crate::directory::{Directory, Gone};
use crate::edges::{Edges, Queued};

/// What all shards of a registry share, where somebody asked for it.
pub(super) struct Keys<K> {
    /// There if a key's entries stand in several shards.
    pub(super) directory: Option<Directory<K>>,
    pub(super) edges: Option<Edges<K>>,
}

impl<K> Keys<K> {
    /// The key has its first entry in a shard, which is locked. The edge, if there is one.
    pub(super) fn appeared(&self, hash: u64, key: &Arc<K>) -> Option<Queued> {
        match &self.directory {
            None => self.edge(hash, key),
            Some(directory) => directory
                .enter(hash, key, || self.edge(hash, key))
                .flatten(),
        }
    }

    /// The key has no entry any more in a shard, which is locked. The edge, if there is one.
    pub(super) fn vanished(&self, hash: u64, key: &Arc<K>) -> Option<Queued> {
        match &self.directory {
            None => self.edge(hash, key),
            Some(directory) => directory
                .leave(hash, key, || self.edge(hash, key))
                .flatten(),
        }
    }

    fn edge(&self, hash: u64, key: &Arc<K>) -> Option<Queued> {
        let edges = self.edges.as_ref()?;
        Some(edges.queue(hash, key))
    }

    /// Whether a key has to keep its pointer even without entries.
    pub(super) fn is_queued(&self, hash: u64, key: &Arc<K>) -> bool {
        let edges = self.edges.as_ref();
        edges.is_some_and(|edges| edges.has(hash, key))
    }

    /// Whether a row without entries has to stay in its shard: where there is a directory, that keeps the pointer.
    pub(super) fn needs_row(&self, hash: u64, key: &Arc<K>) -> bool {
        self.directory.is_none() && self.is_queued(hash, key)
    }

    /// A shard, which is locked, has a row less. What is returned is the user's to drop.
    pub(super) fn row_went(&self, hash: u64, key: &Arc<K>) -> Option<Gone<K>> {
        let is_queued = || self.is_queued(hash, key);
        self.directory.as_ref()?.let_go(hash, key, is_queued)
    }
}
