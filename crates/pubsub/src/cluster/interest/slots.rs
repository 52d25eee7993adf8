//! Sets of link slots, as bits. The first 64 need no memory of their own.
//! Pure: no clock, no I/O, no tasks.

/// The number of a link within a router: small, and used again once nothing remembers it.
pub(super) type Slot = usize;

const BITS: usize = u64::BITS as usize;

/// A set of slots, in 16 bytes: there is one for every topic that any peer wants.
#[derive(Clone, Debug)]
pub(super) enum SlotSet {
    Few(u64),
    Many(Box<Box<[u64]>>),
}

impl SlotSet {
    pub(super) const EMPTY: Self = Self::Few(0);

    pub(super) fn one(slot: Slot) -> Self {
        let mut set = Self::EMPTY;
        set.insert(slot);
        set
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.word(slot / BITS) & bit(slot) != 0
    }

    /// Whether it is news.
    pub(super) fn insert(&mut self, slot: Slot) -> bool {
        self.reserve(slot / BITS + 1);
        let word = &mut self.words_mut()[slot / BITS];
        let news = *word & bit(slot) == 0;
        *word |= bit(slot);
        news
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        let there = self.contains(slot);
        if there {
            self.words_mut()[slot / BITS] &= !bit(slot);
        }
        there
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words().iter().all(|word| *word == 0)
    }

    pub(super) fn len(&self) -> usize {
        let count = |word: &u64| word.count_ones() as usize;
        self.words().iter().map(count).sum()
    }

    pub(super) fn retain_all(&mut self, other: &Self) {
        for (at, word) in self.words_mut().iter_mut().enumerate() {
            *word &= other.word(at);
        }
    }

    pub(super) fn remove_all(&mut self, other: &Self) {
        for (at, word) in self.words_mut().iter_mut().enumerate() {
            *word &= !other.word(at);
        }
    }

    pub(super) fn first(&self) -> Option<Slot> {
        self.iter().next()
    }

    /// From the lowest.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words().iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let lowest = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at * BITS + lowest)
            })
        })
    }

    fn words(&self) -> &[u64] {
        match self {
            Self::Few(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        match self {
            Self::Few(word) => std::slice::from_mut(word),
            Self::Many(words) => words,
        }
    }

    fn word(&self, at: usize) -> u64 {
        self.words().get(at).copied().unwrap_or(0)
    }

    fn reserve(&mut self, count: usize) {
        if self.words().len() < count {
            let words = (0..count).map(|at| self.word(at)).collect();
            *self = Self::Many(Box::new(words));
        }
    }
}

fn bit(slot: Slot) -> u64 {
    1 << (slot % BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::SlotSet;

    fn set(slots: &BTreeSet<usize>) -> SlotSet {
        let mut set = SlotSet::EMPTY;
        for slot in slots {
            assert!(set.insert(*slot));
        }
        set
    }

    fn slots(set: &SlotSet) -> BTreeSet<usize> {
        set.iter().collect()
    }

    #[test]
    fn is_small() {
        assert_eq!(size_of::<SlotSet>(), 16);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn is_a_set(a in btree_set(0_usize..200, 0..20), b in btree_set(0_usize..200, 0..20)) {
            let (mut left, mut both) = (set(&a), set(&a));
            left.remove_all(&set(&b));
            both.retain_all(&set(&b));
            prop_assert_eq!(slots(&left), &a - &b);
            prop_assert_eq!(slots(&both), &a & &b);
            prop_assert_eq!(set(&a).first(), a.first().copied());
            prop_assert_eq!(set(&a).len(), a.len());
            for slot in 0..200 {
                let mut rest = set(&a);
                prop_assert_eq!(rest.contains(slot), a.contains(&slot));
                prop_assert_eq!(rest.remove(slot), a.contains(&slot));
                prop_assert!(!rest.contains(slot));
            }
            prop_assert_eq!(left.is_empty(), a.is_subset(&b));
        }
    }
}
