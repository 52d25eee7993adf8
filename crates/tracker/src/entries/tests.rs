//! The chunked list against a plain sorted map.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::chunks::CHUNK_ENTRIES;
use super::*;
use crate::life::Life;
use crate::reference::Writer;

fn entry(node: &str, key: &str, seq: u64) -> Arc<Entry> {
    let writer = Writer::new(node, 0, Life::first_of(1));
    Arc::new(Entry {
        topic: "t".into(),
        key: key.into(),
        meta: Bytes::new(),
        reference: PresenceRef::new(writer, seq),
        previous: None,
        node: NodeName::new(node).unwrap(),
        owner: 1,
        verdict: crate::entry::Verdict::default(),
    })
}

type Model = BTreeMap<(Arc<str>, PresenceRef, NodeName), Arc<Entry>>;

fn place(entry: &Entry) -> (Arc<str>, PresenceRef, NodeName) {
    (Arc::clone(&entry.key), entry.reference, entry.node.clone())
}

fn assert_same(entries: &Entries, model: &Model) {
    let sizes: Vec<usize> = entries.pieces().map(<[_]>::len).collect();
    let sound = sizes.iter().all(|size| (1..=CHUNK_ENTRIES).contains(size));
    assert!(sound, "no chunk is empty, none too long: {sizes:?}");
    assert_eq!(entries.len(), model.len());
    assert_eq!(entries.is_empty(), model.is_empty());
    assert!(entries.iter().eq(model.values()), "same entries in order");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Changes, and lists that were taken before them.
    #[test]
    fn entries_are_a_sorted_set(
        changes in prop::collection::vec((any::<bool>(), 0..2usize, 0..6usize, 0..200u64), 0..700)
    ) {
        let mut entries = Entries::default();
        let mut model = Model::new();
        let mut taken = Vec::new();
        for (step, (add, node, key, seq)) in changes.into_iter().enumerate() {
            let entry = entry(["a", "b"][node], &format!("k{key}"), seq);
            if add || model.len() < 100 {
                let replaced = entries.insert(Arc::clone(&entry));
                prop_assert_eq!(replaced, model.insert(place(&entry), entry));
            } else {
                prop_assert_eq!(entries.remove(&entry), model.remove(&place(&entry)));
            }
            if step % 100 == 0 {
                taken.push((entries.clone(), model.clone()));
            }
        }
        assert_same(&entries, &model);
        for (then, model_then) in &taken {
            assert_same(then, model_then);
        }
        for key in (0..6).map(|key| format!("k{key}")) {
            let expected = model.values().filter(|entry| *entry.key == *key);
            prop_assert!(entries.by_key(&key).eq(expected));
        }
        for entry in model.values() {
            prop_assert!(entries.get(&Place::of(entry)).is_some());
        }
    }
}

#[test]
fn collected_entries_stand_in_order_whatever_order_they_came_in() {
    let mut model = Model::new();
    let entries: Vec<_> = (0..300)
        .map(|n| {
            entry(
                ["a", "b"][n % 2],
                ["k", "l", "m"][n % 3],
                (n as u64 * 7) % 300,
            )
        })
        .collect();
    for entry in &entries {
        model.insert(place(entry), Arc::clone(entry));
    }
    assert_same(&entries.into_iter().rev().collect(), &model);
}

#[test]
fn the_first_entries_of_a_list_share_its_pieces() {
    let all: Entries = (0..1_000).map(|seq| entry("a", "k", seq)).collect();
    for most in [0, 1, CHUNK_ENTRIES, CHUNK_ENTRIES + 1, 999, 1_000, 2_000] {
        let first = all.first(most);
        assert!(first.iter().eq(all.iter().take(most)), "{most}");
        let model = first.iter().map(|entry| (place(entry), Arc::clone(entry)));
        assert_same(&first, &model.collect());
        let shared = |(a, b): &(&[Arc<Entry>], &[Arc<Entry>])| std::ptr::eq(*a, *b);
        let shared = first.pieces().zip(all.pieces()).filter(shared).count();
        assert_eq!(
            shared,
            most.min(1_000) / CHUNK_ENTRIES + usize::from(most >= 1_000)
        );
    }
}

#[test]
fn s8_by_key_gives_all_of_the_key_and_nothing_else() {
    let mut entries = Entries::default();
    for entry in [entry("a", "k", 1), entry("b", "k", 1), entry("a", "kk", 2)] {
        entries.insert(entry);
    }
    assert_eq!(entries.by_key("k").count(), 2);
    assert_eq!(entries.by_key("kk").count(), 1);
    assert_eq!(entries.by_key("").count() + entries.by_key("z").count(), 0);
}

#[test]
fn a_list_that_grows_in_order_has_full_chunks_and_one_that_shrinks_few() {
    let mut entries = Entries::default();
    let all: Vec<_> = (0..1_000).map(|seq| entry("a", "k", seq)).collect();
    all.iter()
        .for_each(|entry| drop(entries.insert(Arc::clone(entry))));
    assert_eq!(entries.pieces().count(), 1_000usize.div_ceil(CHUNK_ENTRIES));
    for entry in all.iter().skip(10) {
        assert_eq!(entries.remove(entry).as_ref(), Some(entry));
    }
    assert_eq!((entries.len(), entries.pieces().count()), (10, 1));
}

#[test]
fn a_list_that_shrinks_everywhere_has_few_chunks_in_whatever_order() {
    let all: Vec<_> = (0..1_000).map(|seq| entry("a", "k", seq)).collect();
    let gone: Vec<_> = (0..1_000).filter(|n| n % 50 != 0).collect();
    let backwards: Vec<_> = gone.iter().copied().rev().collect();
    for order in [gone, backwards] {
        let mut entries: Entries = all.iter().cloned().collect();
        for n in order {
            assert!(entries.remove(&all[n]).is_some());
        }
        assert_eq!((entries.len(), entries.pieces().count()), (20, 1));
    }
}

#[test]
fn i21_entries_of_two_nodes_with_one_reference_are_two() {
    let ours = entry("a", "k", 1);
    let theirs = Arc::new(Entry {
        node: NodeName::new("b").unwrap(),
        ..Entry::clone(&ours)
    });
    let mut entries: Entries = [&theirs, &ours].into_iter().cloned().collect();
    assert!(entries.iter().eq([&ours, &theirs]));
    assert_eq!(entries.remove(&ours), Some(ours));
    assert!(entries.iter().eq([&theirs]));
}

#[test]
fn a_list_and_what_became_of_it_share_what_did_not_change() {
    let of = |n: u64| entry("a", &format!("k{n:05}"), n);
    let before: Entries = (0..5_000).map(|n| of(2 * n)).collect();
    let mut now = before.clone();
    now.extend([of(777)]);
    now.remove(&of(8_000));
    let shared = |piece: &&[Arc<Entry>]| before.pieces().any(|other| std::ptr::eq(*piece, other));
    let (all, kept) = (now.pieces().count(), now.pieces().filter(shared).count());
    assert!(kept + 3 >= all && kept < all, "{kept} of {all}");
    assert!(now.pieces().flatten().eq(now.iter()));
}

/// Where each has a topic of its own there are as many lists as entries.
#[test]
fn a_list_of_one_takes_no_room_beside_its_entry() {
    assert_eq!(size_of::<Entries>(), 2 * size_of::<usize>());
    let (one, two) = (entry("a", "k", 1), entry("a", "k", 2));
    let mut entries: Entries = [&one, &two].into_iter().cloned().collect();
    assert!(matches!(entries.0, List::Chunked(_)));
    entries.remove(&two);
    assert!(
        matches!(entries.0, List::One(_)),
        "and none once it is one again"
    );
    assert_eq!(entries.insert(Arc::clone(&one)), Some(one));
    assert_eq!((entries.remove(&two), entries.len()), (None, 1));
}
