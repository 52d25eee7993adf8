//! The chunked list against a plain vector, with snapshots that must not change.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use proptest::prelude::*;

use super::{CHUNK_ENTRIES, ChunkedList, MERGE_ENTRIES, Retired, SharedList};
use crate::{Entry, OwnerId};

fn entry(owner: OwnerId, serial: u64) -> Entry<Arc<u64>> {
    Entry {
        owner,
        serial,
        slot: serial as u32 + 7,
        value: Arc::new(serial),
    }
}

fn serials(list: &SharedList<Arc<u64>>) -> Vec<u64> {
    let entries = list.chunks().iter().flat_map(|chunk| chunk.iter());
    entries.map(|entry| *entry.value).collect()
}

/// Takes the entry with that serial out: its slot.
fn remove(list: &mut ChunkedList<Arc<u64>>, serial: u64) -> Option<u32> {
    let place = list.find(serial)?;
    assert_eq!(list.at(place).serial, serial);
    Some(list.remove(place, &mut Retired::default()).slot)
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
    let sizes: Vec<usize> = match list {
        ChunkedList::Small(small) => vec![small.entries().len()],
        ChunkedList::Many(chunks) => chunks.iter().map(|chunk| chunk.len()).collect(),
    };
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
    let snapshot = list.share();
    list.push(entry(owner, 1_000), &mut Retired::default());
    let after = list.share();
    let copied = snapshot
        .chunks()
        .iter()
        .zip(after.chunks())
        .filter(|(old, new)| !Arc::ptr_eq(old, new));
    assert_eq!(copied.count(), 1);
    assert_eq!(serials(&snapshot), (0..1_000).collect::<Vec<_>>());
}

#[test]
fn without_a_snapshot_nothing_is_copied() {
    let owner = OwnerId::next();
    for count in [100, 1_000] {
        let mut list = list_of(owner, count);
        let first = |list: &SharedList<_>| list.chunks()[0].as_ptr();
        let before = first(&list.share());
        remove(&mut list, 50);
        list.push(entry(owner, count), &mut Retired::default());
        assert_eq!(first(&list.share()), before);
    }
}

#[test]
fn a_snapshot_is_one_pointer_whoever_asks() {
    let mut list = list_of(OwnerId::next(), 3);
    let [one, two] = [list.share(), list.share()];
    assert!(Arc::ptr_eq(&one.chunks()[0], &two.chunks()[0]));
}

#[test]
fn what_is_taken_out_or_replaced_goes_to_the_caller() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, 3);
    let snapshot = list.share();
    let value = Arc::clone(snapshot.chunks()[0][1].value());
    let mut retired = Retired::default();
    let place = list.find(1).unwrap();
    let gone = list.remove(place, &mut retired);
    assert_eq!(gone.slot, 8);
    drop(snapshot);
    assert_eq!(
        Arc::strong_count(&value),
        3,
        "ours, what is taken out, what is replaced"
    );
    drop(retired);
    drop(gone);
    assert_eq!(Arc::strong_count(&value), 1);
}

/// As a value whose `Clone` panics although it must not: nothing is lost by it.
#[test]
fn a_panic_while_copying_changes_nothing() {
    struct Fragile;
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            panic!("it breaks");
        }
    }
    let owner = OwnerId::next();
    let entry = |serial| Entry {
        owner,
        serial,
        slot: 0,
        value: Fragile,
    };
    let mut list = ChunkedList::new(entry(0));
    let _snapshot = list.share();
    let push = || list.push(entry(1), &mut Retired::default());
    assert!(catch_unwind(AssertUnwindSafe(push)).is_err());
    assert!(list.len() == 1 && list.find(0).is_some());
}

#[test]
fn few_entries_left_of_many_stand_in_few_chunks() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, 64 * CHUNK_ENTRIES as u64);
    let kept = |serial: &u64| serial % CHUNK_ENTRIES as u64 == 3;
    for serial in (0..64 * CHUNK_ENTRIES as u64).filter(|serial| !kept(serial)) {
        assert!(remove(&mut list, serial).is_some());
    }
    assert_eq!(list.len(), 64);
    assert!(list.share().chunks().len() <= 2 * 64 / MERGE_ENTRIES + 1);
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
        let mut snapshots: Vec<(SharedList<Arc<u64>>, Vec<u64>)> = Vec::new();
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
                Step::Snapshot => {
                    let snapshot = list.share();
                    let then = serials(&snapshot);
                    snapshots.push((snapshot, then));
                }
                Step::DropSnapshots => snapshots.clear(),
            }
            for serial in gone {
                let slot = remove(&mut list, serial);
                prop_assert_eq!(slot, model.remove(&serial).map(|()| serial as u32 + 7));
            }
            assert_well_formed(&list);
            prop_assert!(model.keys().all(|&serial| list.find(serial).is_some()));
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.is_empty(), model.is_empty());
        }
        prop_assert_eq!(serials(&list.share()), model.into_keys().collect::<Vec<_>>());
        for (snapshot, then) in snapshots {
            prop_assert_eq!(serials(&snapshot), then);
        }
    }
}
