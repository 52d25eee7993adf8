//! Which keys got their first entry or lost their last one, since somebody asked.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};

use crate::sync::{Mutex, lock};

/// A set of keys: a key stands in it once, however often it came and went, so it is bounded by the keys in use.
pub(crate) struct Edges<K, S> {
    keys: Mutex<HashSet<K, S>>,
    notify: Box<dyn Fn() + Send + Sync>,
}

/// What is left to do about an edge, once the shard is unlocked.
#[must_use]
pub(crate) struct Queued<K> {
    was_empty: bool,
    /// The key that stood there already: the user's to drop.
    _replaced: Option<K>,
}

impl<K: Eq + Hash, S: BuildHasher + Clone> Edges<K, S> {
    pub(crate) fn new(hasher: S, notify: Box<dyn Fn() + Send + Sync>) -> Self {
        let keys = Mutex::new(HashSet::with_hasher(hasher));
        Self { keys, notify }
    }

    /// Called under the lock that guards whether the key has entries, so that the edge is known before the change is.
    pub(crate) fn queue(&self, key: K) -> Queued<K> {
        let mut keys = lock(&self.keys);
        let was_empty = keys.is_empty();
        let _replaced = keys.replace(key);
        Queued {
            was_empty,
            _replaced,
        }
    }

    /// Called under no lock.
    pub(crate) fn announce(&self, queued: Queued<K>) {
        if queued.was_empty {
            (self.notify)();
        }
    }

    pub(crate) fn take(&self) -> HashSet<K, S> {
        let mut keys = lock(&self.keys);
        let hasher = keys.hasher().clone();
        std::mem::replace(&mut *keys, HashSet::with_hasher(hasher))
    }

    pub(crate) fn pending(&self) -> bool {
        !lock(&self.keys).is_empty()
    }
}
