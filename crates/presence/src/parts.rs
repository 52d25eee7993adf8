//! A difference in parts that can be sent.
//!
//! A broadcast has a largest size, and so has what a client over long polling is sent. A node that dies takes all its users from
//! a list at once, and their metas may be large.
//!
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use matryoshka_tracker::Entry;

use crate::difference::Difference;
use crate::extras::Extras;

/// The most bytes of one `presence_diff`: below what a client is sent at once over long polling, unless that was set lower.
pub(crate) const MAX_DIFF_BYTES: usize = 7 * 1024 * 1024;

/// Cuts a difference into parts of at most so many bytes of JSON; an empty one into none. A key is in one part, unless it alone has
/// more: then its joins come before its leaves, so that it is not seen to go in between. A meta that alone has more is a part of
/// its own: if that cannot be sent, all others can.
pub(crate) fn parts(news: Difference, extras: &Extras, most: usize) -> Vec<Difference> {
    if bytes_of(&news, extras) <= most {
        return Vec::from_iter((!news.is_empty()).then_some(news));
    }
    let mut parts = Parts {
        all: vec![Difference::default()],
        most,
        room: most,
    };
    for key in news.keys() {
        let (joins, leaves) = news.of_key(&key);
        parts.make_room(weigh(joins, extras) + weigh(leaves, extras));
        for entry in joins {
            let part = parts.take_room(bytes(entry, extras));
            part.joins.push(Arc::clone(entry));
        }
        for entry in leaves {
            let part = parts.take_room(bytes(entry, extras));
            part.leaves.push(Arc::clone(entry));
        }
    }
    parts.all
}

/// Parts of which the last one is being filled.
struct Parts {
    all: Vec<Difference>,
    most: usize,
    /// Bytes that still fit into the last one.
    room: usize,
}

impl Parts {
    /// Begins another part if so much does not fit into the last one, unless that is empty.
    fn make_room(&mut self, bytes: usize) {
        let is_empty = self.last().is_empty();
        if bytes > self.room && !is_empty {
            self.all.push(Difference::default());
            self.room = self.most;
        }
    }

    fn take_room(&mut self, bytes: usize) -> &mut Difference {
        self.make_room(bytes);
        self.room = self.room.saturating_sub(bytes);
        self.last()
    }

    fn last(&mut self) -> &mut Difference {
        self.all.last_mut().expect("it begins with one")
    }
}

/// No less than what a difference takes as JSON.
pub(crate) fn bytes_of(news: &Difference, extras: &Extras) -> usize {
    weigh(&news.joins, extras) + weigh(&news.leaves, extras)
}

fn weigh(entries: &[Arc<Entry>], extras: &Extras) -> usize {
    entries.iter().map(|entry| bytes(entry, extras)).sum()
}

/// No less than what an entry adds to the JSON of a diff, its key and what was fetched for that included.
fn bytes(entry: &Entry, extras: &Extras) -> usize {
    let added = extras.fields(&entry.key).map_or(0, str::len);
    quoted_bytes(&entry.key) + added + entry.meta.len() + AROUND_ENTRY
}

/// No less than a text's length as a JSON string, without the quotes.
fn quoted_bytes(text: &str) -> usize {
    let each = text.bytes().map(|byte| match byte {
        b'"' | b'\\' => 2,
        ..b' ' => 6,
        _ => 1,
    });
    each.sum()
}

/// What stands around a key, its metas and their two references, and a share of what stands around a diff.
const AROUND_ENTRY: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::list::PresenceDiff;
    use crate::testing::{entry_of, list};
    use matryoshka_tracker::Entries;

    /// By key and whether it leaves, in which parts it is.
    type Places = BTreeMap<(Arc<str>, bool), Vec<usize>>;

    fn places(parts: &[Difference]) -> Places {
        let mut places = Places::new();
        for (at, part) in parts.iter().enumerate() {
            let joins = part.joins.iter().map(|entry| (entry, false));
            for (entry, leaves) in joins.chain(part.leaves.iter().map(|entry| (entry, true))) {
                let place = places.entry((Arc::clone(&entry.key), leaves)).or_default();
                place.push(at);
            }
        }
        places
    }

    #[test]
    fn what_fits_is_one_part_and_nothing_is_none() {
        let news = Difference::between([&list(&[("a", 1)])], &list(&[("b", 2)]));
        let parts = |news, most| parts(news, &Extras::default(), most);
        let whole = parts(news.clone(), MAX_DIFF_BYTES);
        assert_eq!(whole.len(), 1);
        assert_eq!(
            (&whole[0].joins, &whole[0].leaves),
            (&news.joins, &news.leaves)
        );
        assert!(parts(Difference::default(), 1).is_empty());
    }

    #[test]
    fn the_largest_meta_fits() {
        let key = "\u{1}".repeat(matryoshka_tracker::Tracker::MAX_KEY_BYTES);
        let mut extras = Extras::default();
        let wide = "x".repeat(crate::extras::MAX_EXTRA_BYTES - r#"{"a":""}"#.len());
        extras
            .add(key.as_str().into(), &json!({ "a": wide }))
            .unwrap();
        let mut largest =
            (*entry_of(&key, 1, 1, Some(entry_of(&key, 0, 1, None).reference))).clone();
        let filled = matryoshka_tracker::Tracker::MAX_META_BYTES - r#"{"a":""}"#.len();
        largest.meta = format!(r#"{{"a":"{}"}}"#, "y".repeat(filled)).into();
        assert!(bytes(&largest, &extras) < MAX_DIFF_BYTES);
    }

    proptest! {
        #[test]
        fn together_they_say_the_same_and_each_is_small(
            before in proptest::collection::btree_set(0..60u64, 0..40),
            now in proptest::collection::btree_set(0..60u64, 0..40),
            named in any::<bool>(),
            most in 1..3_000usize,
        ) {
            let keys = ["a", "b\"", "\u{2}\u{3}", "d", "e"];
            let owners = 7;
            let entries = |set: &std::collections::BTreeSet<u64>| -> Entries {
                let entry = |n: &u64| entry_of(keys[(n % 5) as usize], *n, n % owners, None);
                set.iter().map(entry).collect()
            };
            let mut extras = Extras::default();
            for key in keys.iter().filter(|_| named) {
                extras.add((*key).into(), &json!({ "name": key.repeat(9) })).unwrap();
            }
            let news = Difference::between([&entries(&before)], &entries(&now));
            let all = parts(news.clone(), &extras, most);
            let joins = all.iter().flat_map(|part| part.joins.clone()).collect::<Vec<_>>();
            let leaves = all.iter().flat_map(|part| part.leaves.clone()).collect::<Vec<_>>();
            prop_assert_eq!((&joins, &leaves), (&news.joins, &news.leaves));
            for part in &all {
                let count = part.joins.len() + part.leaves.len();
                let written = PresenceDiff::new(part.clone(), &extras).to_json();
                prop_assert!(count > 0);
                prop_assert!(count == 1 || written.as_str().len() <= most, "{written:?}");
            }
            // A key that is in more than one part has more than one may have, and comes before it goes.
            for ((key, _), _) in places(&all) {
                let (joins, leaves) = news.of_key(&key);
                let whole: usize = joins.iter().chain(leaves).map(|entry| bytes(entry, &extras)).sum();
                let of_key = |leaves| places(&all).remove(&(Arc::clone(&key), leaves)).unwrap_or_default();
                let (joined, left) = (of_key(false), of_key(true));
                let (first, last) = (joined.iter().chain(&left).min(), joined.iter().chain(&left).max());
                prop_assert!(first == last || whole > most);
                prop_assert!(joined.last() <= left.first() || left.is_empty());
            }
        }
    }
}
