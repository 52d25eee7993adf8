//! Who listens to one shard. A shard that nobody listens to pays one null pointer.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::Change;
use crate::tap::{Notice, Tap};

/// What a listener listens to.
pub(crate) enum Scope<K> {
    All,
    Key { key: K, hash: u64 },
}

pub(crate) struct Watchers<K, V>(Option<Box<Watching<K, V>>>);

struct Watching<K, V> {
    all: Vec<Arc<Tap<K, V>>>,
    keyed: HashTable<Keyed<K, V>>,
}

struct Keyed<K, V> {
    key: K,
    hash: u64,
    taps: Vec<Arc<Tap<K, V>>>,
}

impl<K, V> Default for Watchers<K, V> {
    fn default() -> Self {
        Self(None)
    }
}

/// What is left to do about a change, once the shard is unlocked: nothing, nearly always, and that is not even an empty list.
#[must_use]
pub(crate) struct Notices<K, V>(Option<Vec<Notice<K, V>>>);

impl<K, V> Notices<K, V> {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Called under no lock.
    #[inline]
    pub(crate) fn deliver(self) {
        if let Some(notices) = self.0 {
            notices.into_iter().for_each(Notice::deliver);
        }
    }
}

impl<K: Eq + Clone, V> Watchers<K, V> {
    /// Tells `change` to whoever listens to all keys or to this one.
    #[inline]
    pub(crate) fn tell(
        &self,
        shard: usize,
        hash: u64,
        key: &K,
        change: impl FnOnce() -> Change<K, V>,
    ) -> Notices<K, V> {
        match &self.0 {
            None => Notices::none(),
            Some(watching) => watching.tell(shard, hash, key, change),
        }
    }

    pub(crate) fn add(&mut self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) {
        let watching = self.0.get_or_insert_with(|| {
            Box::new(Watching {
                all: Vec::new(),
                keyed: HashTable::new(),
            })
        });
        match scope {
            Scope::All => watching.all.push(Arc::clone(tap)),
            Scope::Key { key, hash } => watching.add_keyed(key, *hash, tap),
        }
    }

    /// What was kept for that listener: the caller's to drop once the shard is unlocked.
    pub(crate) fn remove(
        &mut self,
        scope: &Scope<K>,
        tap: &Arc<Tap<K, V>>,
    ) -> impl Sized + use<K, V> {
        let watching = self.0.as_mut()?;
        let gone = match scope {
            Scope::All => {
                watching.all.retain(|other| !Arc::ptr_eq(other, tap));
                None
            }
            Scope::Key { key, hash } => watching.remove_keyed(key, *hash, tap),
        };
        if watching.all.is_empty() && watching.keyed.is_empty() {
            self.0 = None;
        }
        gone
    }
}

impl<K: Eq + Clone, V> Watching<K, V> {
    fn tell(
        &self,
        shard: usize,
        hash: u64,
        key: &K,
        change: impl FnOnce() -> Change<K, V>,
    ) -> Notices<K, V> {
        let keyed = self.keyed.find(hash, |keyed| keyed.key == *key);
        let keyed = keyed.map_or(&[][..], |keyed| &keyed.taps);
        if self.all.is_empty() && keyed.is_empty() {
            return Notices::none();
        }
        let change = change();
        let taps = self.all.iter().chain(keyed);
        let notices = taps.map(|tap| tap.push(shard, change.clone()));
        Notices(Some(notices.collect()))
    }

    fn add_keyed(&mut self, key: &K, hash: u64, tap: &Arc<Tap<K, V>>) {
        let place = self.keyed.entry(hash, |k| k.key == *key, |k| k.hash);
        match place {
            Place::Occupied(mut keyed) => keyed.get_mut().taps.push(Arc::clone(tap)),
            Place::Vacant(place) => {
                place.insert(Keyed {
                    key: key.clone(),
                    hash,
                    taps: vec![Arc::clone(tap)],
                });
            }
        }
    }

    fn remove_keyed(&mut self, key: &K, hash: u64, tap: &Arc<Tap<K, V>>) -> Option<Keyed<K, V>> {
        let mut keyed = self.keyed.find_entry(hash, |k| k.key == *key).ok()?;
        let taps = &mut keyed.get_mut().taps;
        taps.retain(|other| !Arc::ptr_eq(other, tap));
        let unheard = taps.is_empty();
        unheard.then(|| keyed.remove().0)
    }
}

/// The registry goes, as nothing else drops a shard that is listened to.
impl<K, V> Drop for Watching<K, V> {
    fn drop(&mut self) {
        let keyed = self.keyed.iter().flat_map(|keyed| &keyed.taps);
        for tap in self.all.iter().chain(keyed) {
            tap.close();
        }
    }
}
