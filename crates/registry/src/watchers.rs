//! Who listens, to a shard or to one row of it. What nobody listens to pays one null pointer.

use std::sync::Arc;

use crate::Change;
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

/// Dropped, it tells them that the registry is gone, as nothing else drops what is listened to.
pub(crate) struct Watchers<K, V>(Option<Box<Taps<K, V>>>);

struct Taps<K, V>(Vec<Arc<Tap<K, V>>>);

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
    /// Tells `change` to these and to those who listen to the one row that changed.
    #[inline]
    pub(crate) fn tell(
        &self,
        row: &Self,
        shard: usize,
        change: impl FnOnce() -> Change<K, V>,
    ) -> Notices<K, V> {
        if self.is_empty() && row.is_empty() {
            return Notices::none();
        }
        let change = change();
        let taps = self.iter().chain(row.iter());
        let notices = taps.map(|tap| tap.push(shard, change.clone()));
        Notices(Some(notices.collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Tap<K, V>>> {
        self.0.iter().flat_map(|taps| &taps.0)
    }

    pub(crate) fn add(&mut self, tap: &Arc<Tap<K, V>>) {
        let taps = self.0.get_or_insert_with(|| Box::new(Taps(Vec::new())));
        taps.0.push(Arc::clone(tap));
    }

    /// The tap itself is the listener's to drop.
    pub(crate) fn remove(&mut self, tap: &Arc<Tap<K, V>>) {
        let Some(taps) = &mut self.0 else { return };
        taps.0.retain(|other| !Arc::ptr_eq(other, tap));
        if taps.0.is_empty() {
            self.0 = None;
        }
    }
}

impl<K, V> Drop for Taps<K, V> {
    fn drop(&mut self) {
        self.0.iter().for_each(|tap| tap.close());
    }
}
