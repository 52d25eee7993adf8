//! Which keys got their first entry or lost their last one, since somebody asked.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use crate::sync::{Mutex, lock};

/// Told when there is something to take.
pub(crate) type Notify = Arc<dyn Fn() + Send + Sync>;

/// A set of keys: a key stands in it once, however often it came and went, so it is bounded by the keys in use.
pub(crate) struct Edges<K, S> {
    keys: Mutex<HashSet<K, S>>,
    notify: Notify,
}

/// What is left to do about an edge, once the shard is unlocked.
#[must_use]
pub(crate) struct Queued<K> {
    /// There if this edge is the first.
    notify: Option<Notify>,
    /// The key that stood there already: the user's to drop.
    _replaced: Option<K>,
}

impl<K> Queued<K> {
    /// Called under no lock.
    pub(crate) fn announce(self) {
        if let Some(notify) = self.notify {
            notify();
        }
    }
}

impl<K: Eq + Hash, S: BuildHasher + Clone> Edges<K, S> {
    pub(crate) fn new(hasher: S, notify: Notify) -> Self {
        let keys = Mutex::new(HashSet::with_hasher(hasher));
        Self { keys, notify }
    }

    /// Called under the lock that guards whether the key has entries, so that the edge is known before the change is.
    pub(crate) fn queue(&self, key: K) -> Queued<K> {
        let mut keys = lock(&self.keys);
        let notify = keys.is_empty().then(|| Arc::clone(&self.notify));
        let _replaced = keys.replace(key);
        Queued { notify, _replaced }
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
