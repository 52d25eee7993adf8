//! What leads from every list that somebody may hold to the list there is now.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::Ordering;
use std::sync::Arc;

use matryoshka_tracker::{Entries, Entry, PresenceRef};

/// Joins and leaves, each in the list's order and without repetition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    pub(crate) joins: Vec<Arc<Entry>>,
    pub(crate) leaves: Vec<Arc<Entry>>,
    /// How many entries were looked at to find it. Pieces of a list that nothing changed are none of them.
    pub(crate) looked: u64,
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

    /// Of joins and leaves that were collected in any order.
    pub(crate) fn of(mut joins: Vec<Arc<Entry>>, mut leaves: Vec<Arc<Entry>>) -> Self {
        in_order(&mut joins);
        in_order(&mut leaves);
        Self {
            joins,
            leaves,
            looked: 0,
        }
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

    /// Of one key: who joins, and who leaves.
    pub(crate) fn of_key(&self, key: &str) -> (&[Arc<Entry>], &[Arc<Entry>]) {
        let part = |entries: &'_ [Arc<Entry>]| {
            let start = entries.partition_point(|entry| entry.key.as_ref() < key);
            let length = entries[start..].partition_point(|entry| entry.key.as_ref() == key);
            start..start + length
        };
        (
            &self.joins[part(&self.joins)],
            &self.leaves[part(&self.leaves)],
        )
    }

    fn add(&mut self, base: &Entries, now: &Entries) {
        let (mut before, mut after) = (Rest::of(base.pieces()), Rest::of(now.pieces()));
        loop {
            let order = match (before.first(), after.first()) {
                // Of one piece the same is left on both sides.
                (Some(_), Some(_)) if std::ptr::eq(before.piece, after.piece) => {
                    before.pass_piece();
                    after.pass_piece();
                    continue;
                }
                (Some(old), Some(new)) => place(old).cmp(&place(new)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            self.looked += 1;
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

/// What is left of a list while it is walked.
struct Rest<'a, P> {
    /// Not empty but at the end.
    piece: &'a [Arc<Entry>],
    pieces: P,
}

impl<'a, P: Iterator<Item = &'a [Arc<Entry>]>> Rest<'a, P> {
    fn of(pieces: P) -> Self {
        let mut rest = Self { piece: &[], pieces };
        rest.pass_piece();
        rest
    }

    fn first(&self) -> Option<&'a Arc<Entry>> {
        self.piece.first()
    }

    fn next(&mut self) -> Option<&'a Arc<Entry>> {
        let (first, others) = self.piece.split_first()?;
        self.piece = others;
        if others.is_empty() {
            self.pass_piece();
        }
        Some(first)
    }

    fn pass_piece(&mut self) {
        self.piece = self.pieces.next().unwrap_or_default();
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
    fn what_lists_share_is_not_looked_at() {
        let one_of = |n: u64| entry(&format!("user-{n:06}"), n);
        let before: Entries = (0..10_000).map(|n| one_of(2 * n)).collect();
        let mut now = before.clone();
        assert_eq!(Difference::between([&before], &now).looked, 0);
        now.extend([one_of(777), one_of(13_001)]);
        let difference = Difference::between([&before], &now);
        assert_eq!(difference.joins, [one_of(777), one_of(13_001)]);
        assert!(difference.leaves.is_empty());
        assert!(difference.looked < 1_000, "{}", difference.looked);
        let back = Difference::between([&now], &before);
        assert_eq!(back.leaves, difference.joins);
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
            more in proptest::collection::vec(100..1_000u64, 0..300),
        ) {
            let keys = ["a", "b", "c", "d"];
            // One number is one entry, so its key follows from it.
            let entries = |set: &std::collections::BTreeSet<(u8, u64)>| -> Entries {
                set.iter().map(|(_, n)| entry(keys[(n % 4) as usize], *n)).collect()
            };
            let (bases, mut now): (Vec<Entries>, Entries) = (bases.iter().map(entries).collect(), entries(&now));
            // The last base shares its pieces with the list now, as a list does that nothing or little happened to since.
            let mut bases = bases;
            let shared = now.clone();
            now.extend(more.iter().map(|n| entry(keys[(n % 4) as usize], *n)));
            bases.push(shared);
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
