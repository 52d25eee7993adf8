//! Who listens to one shard, to all of it or to one row. A shard that nobody listens to pays one null pointer.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::Change;
use crate::sharable::Sharable;
use crate::tap::{Notice, Tap};

/// What a listener listens to.
pub(crate) enum Scope<K> {
    All,
    /// One key, as it stands in the table once somebody listens: its row stays as long as that is so.
    Key {
        key: Arc<K>,
        hash: u64,
    },
}

pub(crate) struct Watchers<K, V>(Option<Box<Watching<K, V>>>);

struct Watching<K, V> {
    all: Vec<Arc<Tap<K, V>>>,
    keyed: HashTable<Keyed<K, V>>,
}

struct Keyed<K, V> {
    /// Told apart by the pointer, under which its row stands too.
    key: Arc<K>,
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

impl<K, V> Watchers<K, V> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether somebody listens to that row, and not just to all.
    #[inline]
    pub(crate) fn has(&self, hash: u64, key: &Sharable<K>) -> bool {
        let watching = self.0.as_ref();
        watching.is_some_and(|watching| watching.keyed(hash, key).is_some())
    }

    /// Tells of a change of the row of that key whoever listens to all or to it.
    #[inline]
    pub(crate) fn tell(
        &self,
        shard: usize,
        hash: u64,
        key: &mut Sharable<K>,
        change: impl FnOnce(Arc<K>) -> Change<K, V>,
    ) -> Notices<K, V> {
        match &self.0 {
            None => Notices::none(),
            Some(watching) => watching.tell(shard, hash, key, change),
        }
    }

    fn watching(&mut self) -> &mut Watching<K, V> {
        self.0.get_or_insert_with(|| {
            Box::new(Watching {
                all: Vec::new(),
                keyed: HashTable::new(),
            })
        })
    }

    pub(crate) fn add(&mut self, tap: &Arc<Tap<K, V>>) {
        self.watching().all.push(Arc::clone(tap));
    }

    pub(crate) fn add_keyed(&mut self, hash: u64, key: &Arc<K>, tap: &Arc<Tap<K, V>>) {
        let keyed = &mut self.watching().keyed;
        match keyed.find_mut(hash, |keyed| Arc::ptr_eq(&keyed.key, key)) {
            Some(keyed) => keyed.taps.push(Arc::clone(tap)),
            None => {
                let (key, taps) = (Arc::clone(key), vec![Arc::clone(tap)]);
                keyed.insert_unique(hash, Keyed { key, hash, taps }, |keyed| keyed.hash);
            }
        }
    }

    /// The tap itself is the listener's to drop.
    pub(crate) fn remove(&mut self, tap: &Arc<Tap<K, V>>) {
        if let Some(watching) = &mut self.0 {
            watching.all.retain(|other| !Arc::ptr_eq(other, tap));
        }
        self.settle();
    }

    /// The tap and the key are the listener's to drop.
    pub(crate) fn remove_keyed(&mut self, hash: u64, key: &Arc<K>, tap: &Arc<Tap<K, V>>) {
        if let Some(watching) = &mut self.0
            && let Ok(mut keyed) = watching
                .keyed
                .find_entry(hash, |keyed| Arc::ptr_eq(&keyed.key, key))
        {
            let taps = &mut keyed.get_mut().taps;
            taps.retain(|other| !Arc::ptr_eq(other, tap));
            if taps.is_empty() {
                keyed.remove();
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        let is_alone = |watching: &mut Box<Watching<K, V>>| {
            watching.all.is_empty() && watching.keyed.is_empty()
        };
        drop(self.0.take_if(is_alone));
    }
}

impl<K, V> Watching<K, V> {
    fn keyed(&self, hash: u64, key: &Sharable<K>) -> Option<&Keyed<K, V>> {
        self.keyed.find(hash, |keyed| key.is(&keyed.key))
    }

    fn tell(
        &self,
        shard: usize,
        hash: u64,
        key: &mut Sharable<K>,
        change: impl FnOnce(Arc<K>) -> Change<K, V>,
    ) -> Notices<K, V> {
        let keyed = self.keyed(hash, key).map_or(&[][..], |keyed| &keyed.taps);
        if self.all.is_empty() && keyed.is_empty() {
            return Notices::none();
        }
        let change = change(key.share());
        let taps = self.all.iter().chain(keyed);
        let notices = taps.map(|tap| tap.push(shard, change.clone()));
        Notices(Some(notices.collect()))
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
