//! What was held and is not shown any more, for good.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::entry::Entry;
use crate::slot::Slot;

/// Which held entries of one life of a node are gone, and in which slots they were: what their connections update them to is gone too,
/// however many updates of that were not seen here.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    numbers: BTreeSet<u64>,
    /// The last number that is gone of each.
    slots: BTreeMap<Slot, u64>,
}

impl Gone {
    pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Self {
        let mut gone = Self::default();
        entries.for_each(|entry| gone.insert(entry));
        gone
    }

    pub(crate) fn insert(&mut self, entry: &Arc<Entry>) {
        let put_seq = entry.reference.put_seq();
        self.numbers.insert(put_seq);
        let last = self.slots.entry(Slot::of(entry)).or_default();
        *last = put_seq.max(*last);
    }

    /// There is a later value in its slot, which may be shown.
    pub(crate) fn insert_replaced(&mut self, put_seq: u64) {
        self.numbers.insert(put_seq);
    }

    /// Whether a held entry is one of these, or came of one by updates. So does what came by updates of what was tracked anew in such a
    /// slot, as far as one can know who saw none of them.
    pub(crate) fn has(&self, entry: &Arc<Entry>) -> bool {
        let slot = self.slots.get(&Slot::of(entry));
        self.numbers.contains(&entry.reference.put_seq())
            || slot.is_some_and(|gone| entry.came_of(*gone))
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn numbers(&self) -> &BTreeSet<u64> {
        &self.numbers
    }
}
