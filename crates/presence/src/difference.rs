//! What leads from every list that somebody may hold to the list there is now.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::Ordering;
use std::sync::Arc;

use matryoshka_tracker::{Entries, Entry, PresenceRef};

/// Joins and leaves, each in the list's order and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) joins: Vec<Arc<Entry>>,
    pub(crate) leaves: Vec<Arc<Entry>>,
}

impl Difference {
    /// What whoever holds any of the `bases` must be told to hold `now`. What is news to one of them may be old to another, which
    /// changes nothing there: clients tell metas apart by their references.
    pub(crate) fn between<'a>(bases: impl IntoIterator<Item = &'a Entries>, now: &Entries) -> Self {
        let mut all = Self::default();
        let mut many = 0;
        for base in bases {
            many += 1;
            all.add(base, now);
        }
        if many > 1 {
            in_order(&mut all.joins);
            in_order(&mut all.leaves);
        }
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }

    /// The keys on either side, each once, in order.
    pub(crate) fn keys(&self) -> Vec<Arc<str>> {
        let both = self.joins.iter().chain(&self.leaves);
        let mut keys: Vec<Arc<str>> = both.map(|entry| Arc::clone(&entry.key)).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn add(&mut self, base: &Entries, now: &Entries) {
        let (mut before, mut after) = (base.iter().peekable(), now.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (Some(old), Some(new)) => place(old).cmp(&place(new)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            if order != Ordering::Greater {
                let left = before.next().filter(|_| order == Ordering::Less);
                self.leaves.extend(left.cloned());
            }
            if order != Ordering::Less {
                let joined = after.next().filter(|_| order == Ordering::Greater);
                self.joins.extend(joined.cloned());
            }
        }
    }
}

fn in_order(entries: &mut Vec<Arc<Entry>>) {
    entries.sort_by(|a, b| place(a).cmp(&place(b)));
    entries.dedup_by(|a, b| a.reference == b.reference);
}

/// The order of [`Entries`]. A reference names one entry in the whole cluster, so nothing else is needed.
fn place(entry: &Entry) -> (&str, PresenceRef) {
    (&entry.key, entry.reference)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{entry, list};

    fn numbers(entries: &[Arc<Entry>]) -> Vec<Arc<Entry>> {
        entries.to_vec()
    }

    #[test]
    fn of_one_base_it_is_what_came_and_what_went() {
        let (before, now) = (list(&[("a", 1), ("b", 2)]), list(&[("b", 2), ("b", 3)]));
        let difference = Difference::between([&before], &now);
        assert_eq!(numbers(&difference.joins), [entry("b", 3)]);
        assert_eq!(numbers(&difference.leaves), [entry("a", 1)]);
        assert!(Difference::between([&now], &now).is_empty());
    }

    #[test]
    fn what_one_base_has_not_joins_and_what_one_base_has_leaves() {
        let told = list(&[("a", 1)]);
        let given = list(&[("b", 2)]);
        let difference = Difference::between([&told, &given], &told);
        assert_eq!(numbers(&difference.joins), [entry("a", 1)]);
        assert_eq!(numbers(&difference.leaves), [entry("b", 2)]);
        let keys: Vec<_> = difference.keys();
        assert_eq!(keys, ["a".into(), "b".into()]);
    }

    proptest! {
        /// The defining property: applied to each base it gives the list now.
        #[test]
        fn it_leads_from_each_base_to_now(
            bases in proptest::collection::vec(proptest::collection::btree_set((0..4u8, 0..12u64), 0..10), 1..4),
            now in proptest::collection::btree_set((0..4u8, 0..12u64), 0..10),
        ) {
            let keys = ["a", "b", "c", "d"];
            // One number is one entry, so its key follows from it.
            let entries = |set: &std::collections::BTreeSet<(u8, u64)>| -> Entries {
                set.iter().map(|(_, n)| entry(keys[(n % 4) as usize], *n)).collect()
            };
            let (bases, now): (Vec<Entries>, Entries) = (bases.iter().map(entries).collect(), entries(&now));
            let difference = Difference::between(&bases, &now);
            for base in &bases {
                let stay = base.iter().filter(|entry| !difference.leaves.contains(entry));
                let applied: Entries = stay.chain(&difference.joins).cloned().collect();
                prop_assert!(applied.iter().eq(now.iter()), "{applied:?} is not {now:?}");
            }
            for joined in &difference.joins {
                prop_assert!(bases.iter().any(|base| base.iter().all(|entry| entry != joined)));
            }
            for left in &difference.leaves {
                prop_assert!(bases.iter().any(|base| base.iter().any(|entry| entry == left)));
            }
        }
    }
}
