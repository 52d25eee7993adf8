//! Which entry came in place of which, among those of one key.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use matryoshka_tracker::pubsub::NodeName;
use matryoshka_tracker::{Entry, PresenceRef};

/// The new entries of one key, found by those that they came in place of: a key may have thousands.
pub(crate) struct Successors<'a> {
    /// Nothing where one was taken.
    entries: Vec<Option<&'a Arc<Entry>>>,
    by_previous: BTreeMap<PresenceRef, usize>,
    /// An owner has one, but a node that was started again counts its owners anew.
    by_owner: BTreeMap<(NodeName, u64), Vec<usize>>,
}

impl<'a> Successors<'a> {
    pub(crate) fn of(entries: &'a [Arc<Entry>]) -> Self {
        let (mut by_previous, mut by_owner) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for (at, entry) in entries.iter().enumerate() {
            by_previous.extend(entry.previous.map(|previous| (previous, at)));
            let of_owner = by_owner
                .entry((entry.node.clone(), entry.owner))
                .or_default();
            of_owner.push(at);
        }
        Self {
            entries: entries.iter().map(Some).collect(),
            by_previous,
            by_owner,
        }
    }

    /// The one that names it as its previous, or is of its owner in the same life of its node.
    pub(crate) fn take_in_place_of(&mut self, old: &Entry) -> Option<Arc<Entry>> {
        let replaces = |new: &Arc<Entry>| {
            new.previous == Some(old.reference) || new.reference.has_writer_of(old.reference)
        };
        let at = self
            .candidates(old)
            .find(|at| self.entries[*at].is_some_and(replaces))?;
        self.entries[at].take().cloned()
    }

    /// Where those are that alone can be it.
    fn candidates(&self, old: &Entry) -> impl Iterator<Item = usize> {
        let by_previous = self.by_previous.get(&old.reference).into_iter();
        let by_owner = self.by_owner.get(&(old.node.clone(), old.owner));
        by_previous.chain(by_owner.into_iter().flatten()).copied()
    }

    /// Those that came in place of none.
    pub(crate) fn rest(self) -> Vec<Arc<Entry>> {
        self.entries.into_iter().flatten().map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::entry_of;

    /// All who gave no name may have one key.
    #[test]
    fn among_the_many_metas_of_a_key_what_came_in_place_of_one_is_found_at_once() {
        const MANY: u64 = 1_000;
        let old: Vec<_> = (0..MANY).map(|n| entry_of("guest", n, n, None)).collect();
        let anew = |old: &Arc<Entry>| entry_of("guest", MANY + old.owner, old.owner, None);
        let entries: Vec<_> = old.iter().rev().map(anew).collect();
        let mut successors = Successors::of(&entries);
        for old in &old {
            assert_eq!(successors.candidates(old).count(), 1);
            let taken = successors
                .take_in_place_of(old)
                .expect("one of the same owner");
            assert_eq!(taken.owner, old.owner);
        }
        assert!(successors.rest().is_empty());
    }
}
