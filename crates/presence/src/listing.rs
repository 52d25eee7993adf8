//! Which topics' lists were given to clients lately, and the order between those lists and a resync.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Notify;

/// From how many topics on they are to be forgotten although no diff comes. Clients choose topics: where nobody is
/// ever tracked, they would pile up.
pub(crate) const CROWDED_TOPICS: usize = 1_024;

/// Shared by those who give a client a list and by the task that tells all clients of changes.
///
/// A resync sends whole lists, so one read earlier must not reach a client later: it would bring back what is gone.
/// Giving a list therefore excludes a resync, from before the list is read until it is on its way.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    order: RwLock<()>,
    /// Topics whose lists were given since all diffs were last told.
    topics: Mutex<BTreeSet<Arc<str>>>,
    crowded: Notify,
}

impl Listing {
    /// Runs what reads a topic's list and gives it to a client.
    pub(crate) fn give<T>(&self, topic: &str, give: impl FnOnce() -> T) -> T {
        let _beside_others = self.order.read().unwrap_or_else(PoisonError::into_inner);
        let mut topics = self.topics();
        if !topics.contains(topic) {
            topics.insert(topic.into());
        }
        let is_crowded = topics.len() >= CROWDED_TOPICS;
        drop(topics);
        if is_crowded {
            self.crowded.notify_one();
        }
        give()
    }

    /// Runs a resync, handing it the topics whose lists were given since all diffs were last told, and forgets them.
    pub(crate) fn resync<T>(&self, resync: impl FnOnce(BTreeSet<Arc<str>>) -> T) -> T {
        let _alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        let topics = std::mem::take(&mut *self.topics());
        resync(topics)
    }

    /// Forgets the topics if `next` finds no diff waiting: then all lists given so far named only what has been told.
    pub(crate) fn forget_unless<T>(&self, next: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.topics().is_empty() {
            return None;
        }
        let _alone = self.order.write().unwrap_or_else(PoisonError::into_inner);
        let next = next();
        if next.is_none() {
            self.topics().clear();
        }
        next
    }

    /// Waits until there are so many topics that [`forget_unless`](Self::forget_unless) should be called.
    pub(crate) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    fn topics(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn given(listing: &Listing) -> usize {
        listing.topics().len()
    }

    #[test]
    fn topics_are_remembered_until_nothing_waits() {
        let listing = Listing::default();
        listing.give("a", || ());
        listing.give("a", || ());
        listing.give("b", || ());
        assert_eq!(listing.forget_unless(|| Some("a diff")), Some("a diff"));
        assert_eq!(given(&listing), 2);
        assert_eq!(listing.forget_unless(|| None::<()>), None);
        assert_eq!(given(&listing), 0);
    }

    #[test]
    fn a_resync_takes_the_topics() {
        let listing = Listing::default();
        listing.give("a", || ());
        assert_eq!(listing.resync(|topics| topics.len()), 1);
        assert_eq!(listing.resync(|topics| topics.len()), 0);
    }
}
