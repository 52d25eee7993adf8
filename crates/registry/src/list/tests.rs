//! The list against a plain vector, with snapshots that must not change, and what changes copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{List, SharedList};
use crate::sharable::Sharable;
use crate::tree::{Node, WIDTH};
use crate::{Entry, OwnerId};

/// No `Clone`: nothing here needs it.
struct Value(Arc<u64>);

fn entry(owner: OwnerId, serial: u64) -> Entry<Value> {
    Entry {
        owner,
        serial,
        slot: serial as u32 + 7,
        value: Value(Arc::new(serial)),
    }
}

fn serials(list: &SharedList<Value>) -> Vec<u64> {
    list.iter().map(|entry| *entry.value.0).collect()
}

fn shared(list: &mut List<Value>) -> Vec<u64> {
    list.share().iter().flat_map(serials).collect()
}

/// A list of the serials `0..count`.
fn list_of(owner: OwnerId, count: u64) -> List<Value> {
    let mut list = List::default();
    for serial in 0..count {
        push(&mut list, entry(owner, serial));
    }
    list
}

/// As the shards do it.
fn push(list: &mut List<Value>, entry: Entry<Value>) {
    match list.room() {
        Some(room) => room.push(entry),
        None => list.push(entry),
    }
}

/// Where each node stands in memory, with how many pointers it takes to copy it.
fn nodes(list: &List<Value>) -> BTreeMap<usize, usize> {
    fn gather(node: &Node<Value>, into: &mut BTreeMap<usize, usize>) {
        match node {
            Node::Leaf(entries) => {
                into.insert(Arc::as_ptr(entries).addr(), entries.len());
            }
            Node::Branch(branch) => {
                into.insert(Arc::as_ptr(branch).addr(), branch.children().count());
                branch.children().for_each(|child| gather(child, into));
            }
        }
    }
    let mut all = BTreeMap::new();
    if let List::Many(many) = list {
        gather(&many.seen, &mut all);
    }
    all
}

fn width(node: &Node<Value>) -> usize {
    match node {
        Node::Leaf(entries) => entries.len(),
        Node::Branch(branch) => branch.children().count(),
    }
}

/// How many levels there are; that all leaves are at the last one, and no two neighbours could be one.
fn depth(node: &Node<Value>) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Branch(branch) => {
            let depths: BTreeSet<usize> = branch.children().map(depth).collect();
            assert_eq!(depths.len(), 1, "all leaves are equally deep");
            let widths: Vec<usize> = branch.children().map(width).collect();
            let are_apart = widths.windows(2).all(|pair| pair[0] + pair[1] > WIDTH / 2);
            assert!(are_apart, "{widths:?}");
            1 + depths.first().unwrap()
        }
    }
}

/// The most levels for that many entries: neighbours fill more than half a node, so children hold a quarter each at least.
fn most_levels(entries: usize) -> usize {
    let mut levels = 2;
    let mut held = WIDTH / 4;
    while held < entries {
        held *= WIDTH / 4;
        levels += 1;
    }
    levels
}

fn assert_well_formed(list: &List<Value>) {
    let many = match list {
        List::One(_) => return,
        List::Fresh(fresh) => return assert!(fresh.len() < WIDTH),
        List::Many(many) => many,
    };
    assert!(many.fresh.len() < WIDTH && list.len() >= 2 && many.seen.len() > 0);
    let widths = nodes(list);
    assert!(widths.values().all(|width| (1..=WIDTH).contains(width)));
    let levels = depth(&many.seen);
    assert!(levels <= most_levels(many.seen.len()), "{levels}");
}

const CROWD: u64 = 150_000;

/// The nodes that a change made anew, and the pointers in them, with a snapshot out, until the next is taken.
fn copied(list: &mut List<Value>, change: impl FnOnce(&mut List<Value>)) -> (usize, usize) {
    let _snapshot = list.share();
    let before = nodes(list);
    change(list);
    drop(list.share());
    let after = nodes(list);
    let new = after.iter().filter(|(at, _)| !before.contains_key(at));
    (new.clone().count(), new.map(|(_, width)| width).sum())
}

/// A removal at a merge may copy a level's two nodes into one, which is one node still.
#[test]
fn under_a_key_of_150_000_a_change_copies_a_node_of_each_level() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, CROWD);
    let levels = most_levels(CROWD as usize);
    assert!(levels <= 7, "{levels}");
    for turn in 0..2_000 {
        let (nodes, pointers) = copied(&mut list, |list| {
            list.push(entry(owner, CROWD + turn));
        });
        assert!(
            nodes <= levels + 1 && pointers <= (levels + 1) * WIDTH,
            "push: {nodes}, {pointers}"
        );
        let serial = turn * 7_919 % CROWD;
        let (nodes, pointers) = copied(&mut list, |list| {
            assert!(list.remove(serial).is_some());
        });
        assert!(
            nodes <= levels && pointers <= levels * WIDTH,
            "removal: {nodes}, {pointers}"
        );
    }
    assert_well_formed(&list);
}

#[test]
fn without_a_snapshot_nothing_is_copied() {
    let owner = OwnerId::next();
    for count in [10, 1_000] {
        let mut list = list_of(owner, count);
        drop(list.share());
        let before = nodes(&list);
        assert!(list.remove(5).is_some());
        list.push(entry(owner, count));
        drop(list.share());
        assert_eq!(
            nodes(&list).keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_snapshot_is_one_pointer_whoever_asks() {
    for count in [2, 1_000] {
        let mut list = list_of(OwnerId::next(), count);
        let [Some(SharedList::Many(one)), Some(SharedList::Many(two))] =
            [list.share(), list.share()]
        else {
            panic!("there are many");
        };
        let address = |node: &Node<Value>| match node {
            Node::Leaf(entries) => Arc::as_ptr(entries).addr(),
            Node::Branch(branch) => Arc::as_ptr(branch).addr(),
        };
        assert_eq!(address(&one), address(&two));
    }
}

/// So that no value is dropped under the lock: what a change replaces is never the last that has it.
#[test]
fn only_who_takes_an_entry_out_has_the_last_of_it() {
    let owner = OwnerId::next();
    for count in [1, 2, 3, 10, 200, 1_000] {
        let mut list = list_of(owner, count);
        for serial in (0..count).rev().step_by(3) {
            let snapshot = list.share().unwrap();
            let value = Arc::clone(&snapshot.get(serial).unwrap().value.0);
            let gone = list.remove(serial).unwrap();
            drop(snapshot);
            assert_eq!(Arc::strong_count(&value), 2, "ours, and what is taken out");
            drop(gone);
            assert_eq!(Arc::strong_count(&value), 1);
        }
        assert_well_formed(&list);
    }
}

/// What nobody has looked at is not shared, hence needs no pointer of its own; what a snapshot had once keeps it.
#[test]
fn an_entry_gets_a_pointer_when_it_is_first_seen() {
    let owner = OwnerId::next();
    let mut list = list_of(owner, 3);
    assert!(matches!(list.remove(1), Some(Sharable::Own(_))));
    let snapshot = list.share();
    assert!(matches!(list.remove(0), Some(Sharable::Shared(_))));
    list.push(entry(owner, 3));
    assert_eq!(
        (list.len(), snapshot.map(|s| serials(&s))),
        (2, Some(vec![0, 2]))
    );
    assert!(matches!(list.remove(3), Some(Sharable::Own(_))));
    assert!(list.remove(3).is_none() && list.remove(1).is_none());
    list.push_shared(Arc::new(entry(owner, 4)));
    assert_eq!(shared(&mut list), [2, 4]);
}

fn assert_no_room_is_kept(node: &Node<Value>) {
    match node {
        Node::Leaf(entries) => assert!(entries.capacity() <= 4 * entries.len() + 3),
        Node::Branch(branch) => branch.children().for_each(assert_no_room_is_kept),
    }
}

/// So many that branches become one as well, and the root goes.
#[test]
fn few_entries_left_of_many_stand_in_few_nodes() {
    let owner = OwnerId::next();
    let count = (4 * WIDTH * WIDTH) as u64;
    let mut list = list_of(owner, count);
    drop(list.share());
    let kept = |serial: &u64| serial % WIDTH as u64 == 3;
    for serial in (0..count).filter(|serial| !kept(serial)) {
        assert!(list.remove(serial).is_some());
        assert!(list.remove(serial).is_none());
    }
    let List::Many(many) = &list else {
        panic!("there are many");
    };
    assert_no_room_is_kept(&many.seen);
    assert_eq!(list.len(), 4 * WIDTH);
    assert!(shared(&mut list).into_iter().eq((0..count).filter(kept)));
    assert!(nodes(&list).len() <= 18, "{:?}", nodes(&list));
    assert_well_formed(&list);
}

#[test]
fn lists_one_after_another_are_read_as_one() {
    let owner = OwnerId::next();
    let lists = [3, 1, 200].map(|count| list_of(owner, count).share().unwrap());
    let chained = SharedList::chain(lists.to_vec()).unwrap();
    assert_eq!(chained.len(), 204);
    assert!(
        serials(&chained)
            .into_iter()
            .eq((0..3).chain(0..1).chain(0..200))
    );
    assert!(SharedList::<Value>::chain(Vec::new()).is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    PushShared,
    Remove(prop::sample::Index),
    RemoveRun(prop::sample::Index, u8),
    Snapshot,
    DropSnapshots,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Push),
        2 => Just(Step::PushShared),
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
        let mut snapshots: Vec<(SharedList<Value>, Vec<u64>)> = Vec::new();
        for step in steps {
            let mut gone = Vec::new();
            match step {
                Step::Push(count) => for _ in 0..count {
                    push(&mut list, entry(owner, next));
                    model.insert(next, ());
                    next += 1;
                },
                Step::PushShared => {
                    list.push_shared(Arc::new(entry(owner, next)));
                    model.insert(next, ());
                    next += 1;
                }
                Step::Remove(at) => gone.push(at.index(next as usize) as u64),
                Step::RemoveRun(at, count) => {
                    let from = at.index(next as usize) as u64;
                    gone.extend(from..from + u64::from(count));
                }
                Step::Snapshot => if let Some(snapshot) = list.share() {
                    let then = serials(&snapshot);
                    snapshots.push((snapshot, then));
                },
                Step::DropSnapshots => snapshots.clear(),
            }
            for serial in gone {
                prop_assert_eq!(list.contains(serial), model.contains_key(&serial));
                let slot = list.remove(serial).map(|entry| entry.slot);
                prop_assert_eq!(slot, model.remove(&serial).map(|()| serial as u32 + 7));
            }
            assert_well_formed(&list);
            prop_assert!(model.keys().all(|&serial| list.contains(serial)));
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.is_empty(), model.is_empty());
        }
        prop_assert_eq!(shared(&mut list), model.into_keys().collect::<Vec<_>>());
        for (snapshot, then) in snapshots {
            prop_assert_eq!(serials(&snapshot), then);
        }
    }
}
