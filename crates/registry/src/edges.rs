//! Which keys got their first entry or lost their last one, since somebody asked.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::sync::{Mutex, lock};

/// Told when there is something to take.
pub(crate) type Notify = Arc<dyn Fn() + Send + Sync>;

/// A set of keys: a key stands in it once, however often it came and went, so it is bounded by the keys in use.
///
/// Keys are told apart by their pointers. So the row of a key that is queued has to stay, even if it is empty, until the
/// key was taken: else it could come again under another pointer.
pub(crate) struct Edges<K> {
    keys: Mutex<HashTable<Edge<K>>>,
    notify: Notify,
}

pub(crate) struct Edge<K> {
    pub(crate) hash: u64,
    pub(crate) key: Arc<K>,
}

/// What is left to do about an edge, once the shard is unlocked.
#[must_use]
pub(crate) struct Queued {
    /// There if this edge is the first.
    notify: Option<Notify>,
}

impl Queued {
    /// Called under no lock.
    pub(crate) fn announce(self) {
        if let Some(notify) = self.notify {
            notify();
        }
    }
}

impl<K> Edges<K> {
    pub(crate) fn new(notify: Notify) -> Self {
        let keys = Mutex::default();
        Self { keys, notify }
    }

    /// Called under the lock that guards whether the key has entries, so that the edge is known before the change is.
    pub(crate) fn queue(&self, hash: u64, key: &Arc<K>) -> Queued {
        let mut keys = lock(&self.keys);
        let notify = keys.is_empty().then(|| Arc::clone(&self.notify));
        let is_it = |edge: &Edge<K>| Arc::ptr_eq(&edge.key, key);
        if keys.find(hash, is_it).is_none() {
            let key = Arc::clone(key);
            keys.insert_unique(hash, Edge { hash, key }, |edge| edge.hash);
        }
        Queued { notify }
    }

    pub(crate) fn take(&self) -> HashTable<Edge<K>> {
        std::mem::take(&mut *lock(&self.keys))
    }

    pub(crate) fn pending(&self) -> bool {
        !lock(&self.keys).is_empty()
    }

    /// Whether that very key is queued.
    pub(crate) fn has(&self, hash: u64, key: &Arc<K>) -> bool {
        let keys = lock(&self.keys);
        keys.find(hash, |edge| Arc::ptr_eq(&edge.key, key))
            .is_some()
    }
}
