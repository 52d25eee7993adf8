//! What the clients of a topic are told: everybody, numbers alone, or the first few and a number.
//!
//! Pure: no clock, no I/O, no tasks.

use matryoshka_tracker::Entries;

use crate::difference::Difference;

/// What the clients of a topic are told of its list. The server's own list is whole in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// The whole list: `presence_state` after the join, then every change as `presence_diff`.
    #[default]
    Full,
    /// How many are here, and no names: `presence_count` with `{"count": keys, "metas": metas}` after the join, and at most once
    /// a second when the numbers have changed. A room of any size costs a client the same.
    Count,
    /// The first so many keys of the list, which is in the order of its keys, and how many are here. The part is told as a whole
    /// list would be, by `presence_state` and `presence_diff`, so a client's `Presence` class holds exactly that part; the number as in
    /// [`Count`](Self::Count).
    Window(usize),
}

impl Mode {
    /// Whether clients are told names.
    pub(crate) fn lists(self) -> bool {
        self != Self::Count
    }

    /// Whether clients are told numbers.
    pub(crate) fn counts(self) -> bool {
        self != Self::Full
    }

    /// The part of a list that clients hold. It shares the list's pieces, so that of two such parts only what differs is looked at.
    pub(crate) fn view(self, list: &Entries) -> Entries {
        match self {
            Self::Full => list.clone(),
            Self::Count => Entries::default(),
            Self::Window(most) => first_keys(list, most),
        }
    }
}

/// How many are on a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) keys: usize,
    pub(crate) metas: usize,
}

impl Count {
    pub(crate) fn of(list: &Entries) -> Self {
        let mut last = None;
        let keys = list.iter().filter(|entry| {
            let key = Some(entry.key.as_ref());
            std::mem::replace(&mut last, key) != key
        });
        Self {
            keys: keys.count(),
            metas: list.len(),
        }
    }
}

/// A list and how many are on it, so that of the next list only what is new has to be counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    list: Entries,
    count: Count,
}

impl Counted {
    /// Counts this list, and gives how many entries were looked at for that.
    pub(crate) fn follow(&mut self, list: &Entries) -> (Count, u64) {
        let looked = match self.list.is_empty() {
            true => {
                self.count = Count::of(list);
                list.len() as u64
            }
            false => self.walk(list),
        };
        self.list = list.clone();
        (self.count, looked)
    }

    /// Whether there is nobody to count.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn walk(&mut self, list: &Entries) -> u64 {
        let changes = Difference::between([&self.list], list);
        for key in changes.keys() {
            let has = |list: &Entries| list.by_key(&key).next().is_some();
            match (has(&self.list), has(list)) {
                (false, true) => self.count.keys += 1,
                (true, false) => self.count.keys -= 1,
                _ => {}
            }
        }
        self.count.metas = list.len();
        changes.looked
    }
}

fn first_keys(list: &Entries, most: usize) -> Entries {
    let (mut keys, mut last) = (0, None);
    let first = list.iter().take_while(|entry| {
        let key = Some(entry.key.as_ref());
        if std::mem::replace(&mut last, key) != key {
            keys += 1;
        }
        keys <= most
    });
    list.first(first.count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{entry, list};

    proptest! {
        #[test]
        fn a_count_that_follows_is_the_count(
            lists in proptest::collection::vec(proptest::collection::btree_set(0..12u64, 0..10), 1..6),
        ) {
            let keys = ["a", "b", "c", "d"];
            let mut counted = Counted::default();
            for set in &lists {
                let list: Entries = set.iter().map(|n| entry(keys[(n % 4) as usize], *n)).collect();
                prop_assert_eq!(counted.follow(&list).0, Count::of(&list));
                prop_assert_eq!(counted.is_empty(), list.is_empty());
            }
        }
    }

    #[test]
    fn a_window_ends_between_keys() {
        let all = list(&[("a", 1), ("a", 2), ("b", 3), ("c", 4)]);
        assert_eq!(Mode::Window(0).view(&all).len(), 0);
        assert_eq!(Mode::Window(1).view(&all).len(), 2);
        assert_eq!(Mode::Window(2).view(&all).len(), 3);
        assert_eq!(Mode::Window(9).view(&all).len(), 4);
        assert_eq!(Mode::Full.view(&all).len(), 4);
        assert!(Mode::Count.view(&all).is_empty());
    }

    /// So that of two windows of one list only what differs is looked at.
    #[test]
    fn a_window_has_the_lists_own_pieces() {
        let all: Entries = (0..1_000)
            .map(|n| entry(&format!("user-{n:04}"), n))
            .collect();
        let view = Mode::Window(700).view(&all);
        assert!(view.iter().eq(all.iter().take(700)));
        let looked = |now: &Entries| Difference::between([&view], now).looked;
        assert!(looked(&Mode::Window(700).view(&all)) < 200);
    }

    #[test]
    fn a_count_has_keys_and_metas() {
        let count = Count::of(&list(&[("a", 1), ("a", 2), ("b", 3)]));
        assert_eq!(count, Count { keys: 2, metas: 3 });
        assert_eq!(Count::of(&list(&[])), Count { keys: 0, metas: 0 });
    }
}
