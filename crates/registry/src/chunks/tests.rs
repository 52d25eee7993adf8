//! The chunked list against a plain vector, with snapshots that must not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{CHUNK_ENTRIES, ChunkedList, MERGE_ENTRIES, Retired};
use crate::{Entry, OwnerId};

fn entry(owner: OwnerId, serial: u64) -> Entry<Arc<u64>> {
    Entry {
        owner,
        serial,
        slot: serial as usize + 7,
        value: Arc::new(serial),
    }
}

fn serials(list: &ChunkedList<Arc<u64>>) -> Vec<u64> {
    let entries = list.chunks().iter().flat_map(|chunk| chunk.iter());
    entries.map(|entry| *entry.value).collect()
}

/// A list of the serials `0..count`.
fn list_of(owner: OwnerId, count: u64) -> ChunkedList<Arc<u64>> {
    let mut list = ChunkedList::new(entry(owner, 0));
    for serial in 1..count {
        list.push(entry(owner, serial), &mut Retired::default());
    }
    list
}

fn assert_well_formed(list: &ChunkedList<Arc<u64>>) {
    let sizes: Vec<usize> = list.chunks().iter().map(|chunk| chunk.len()).collect();
    assert!(sizes.iter().all(|&size| size <= CHUNK_ENTRIES), "{sizes:?}");
    if sizes.len() > 1 {
        assert!(sizes.iter().all(|&size| size > 0), "{sizes:?}");
    }
    assert_eq!(list.len(), sizes.iter().sum::<usize>());
}

#[test]
fn a_push_copies_one_chunk_at_most() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, 1_000);
    let snapshot = list.clone();
    list.push(entry(owner, 1_000), &mut Retired::default());
    let (before, after) = (snapshot.chunks(), list.chunks());
    let copied = before
        .iter()
        .zip(after)
        .filter(|(old, new)| !Arc::ptr_eq(old, new));
    assert_eq!(copied.count(), 1);
    assert_eq!(serials(&snapshot), (0..1_000).collect::<Vec<_>>());
}

#[test]
fn without_a_snapshot_nothing_is_copied() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, 100);
    let chunk = Arc::as_ptr(&list.chunks()[0]);
    list.push(entry(owner, 100), &mut Retired::default());
    list.remove(50, &mut Retired::default());
    assert_eq!(Arc::as_ptr(&list.chunks()[0]), chunk);
}

#[test]
fn removed_values_go_to_the_caller() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, 3);
    let value = Arc::clone(list.chunks()[0][1].value());
    let mut retired = Retired::default();
    assert_eq!(list.remove(1, &mut retired), Some(8));
    assert_eq!(Arc::strong_count(&value), 2);
    drop(retired);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn few_entries_left_of_many_stand_in_few_chunks() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, 64 * CHUNK_ENTRIES as u64);
    let kept = |serial: &u64| serial % CHUNK_ENTRIES as u64 == 3;
    for serial in (0..64 * CHUNK_ENTRIES as u64).filter(|serial| !kept(serial)) {
        assert!(list.remove(serial, &mut Retired::default()).is_some());
    }
    assert_eq!(list.len(), 64);
    assert!(list.chunks().len() <= 2 * 64 / MERGE_ENTRIES + 1);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    Remove(prop::sample::Index),
    RemoveRun(prop::sample::Index, u8),
    Snapshot,
    DropSnapshots,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Push),
        6 => any::<prop::sample::Index>().prop_map(Step::Remove),
        2 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, n)| Step::RemoveRun(at, n)),
        3 => Just(Step::Snapshot),
        1 => Just(Step::DropSnapshots),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_is_a_sorted_vector_and_snapshots_stand_still(steps in prop::collection::vec(step(), 1..80)) {
        let owner = OwnerId::next();
        let mut list = list_of(owner, 1);
        let mut model = BTreeMap::from([(0, ())]);
        let mut next = 1;
        let mut snapshots: Vec<(ChunkedList<Arc<u64>>, Vec<u64>)> = Vec::new();
        for step in steps {
            let mut gone = Vec::new();
            match step {
                Step::Push(count) => for _ in 0..count {
                    list.push(entry(owner, next), &mut Retired::default());
                    model.insert(next, ());
                    next += 1;
                },
                Step::Remove(at) => gone.push(at.index(next as usize) as u64),
                Step::RemoveRun(at, count) => {
                    let from = at.index(next as usize) as u64;
                    gone.extend(from..from + u64::from(count));
                }
                Step::Snapshot => snapshots.push((list.clone(), serials(&list))),
                Step::DropSnapshots => snapshots.clear(),
            }
            for serial in gone {
                let slot = list.remove(serial, &mut Retired::default());
                prop_assert_eq!(slot, model.remove(&serial).map(|()| serial as usize + 7));
            }
            assert_well_formed(&list);
            prop_assert_eq!(serials(&list), model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(list.is_empty(), model.is_empty());
        }
        for (snapshot, then) in snapshots {
            prop_assert_eq!(serials(&snapshot), then);
        }
    }
}
