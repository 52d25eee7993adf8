//! The rings against plain lists.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Note, Owned};
use crate::OwnerId;

const OWNERS: usize = 3;

fn note(serial: u64) -> Note {
    Note {
        hash: serial.wrapping_mul(7),
        serial,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize),
    Remove(Index),
    Pop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..OWNERS).prop_map(Step::Insert),
        3 => any::<Index>().prop_map(Step::Remove),
        2 => (0..OWNERS).prop_map(Step::Pop),
    ]
}

#[test]
fn a_hub_stays_until_its_owner_is_popped_empty() {
    let (mut owned, owner) = (Owned::default(), OwnerId::next());
    let (slot, first) = owned.insert(owner, note(1));
    assert!(first);
    owned.remove(slot);
    let (slot, first) = owned.insert(owner, note(2));
    assert!(!first, "it is known still");
    owned.remove(slot);
    assert!(!owned.is_empty());
    assert_eq!(owned.pop(owner), None);
    assert!(owned.is_empty());
    assert_eq!(owned.pop(owner), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn each_ring_is_a_list_of_its_own(steps in prop::collection::vec(step(), 1..100)) {
        let owners = [(); OWNERS].map(|()| OwnerId::next());
        let mut owned = Owned::default();
        let mut known = [false; OWNERS];
        let mut model: [Vec<u64>; OWNERS] = Default::default();
        let mut slots = BTreeMap::new();
        for (serial, step) in (0..).zip(steps) {
            match step {
                Step::Insert(n) => {
                    let (slot, first) = owned.insert(owners[n], note(serial));
                    prop_assert_eq!(first, !known[n]);
                    known[n] = true;
                    model[n].push(serial);
                    slots.insert(serial, (slot, n));
                }
                Step::Remove(at) if !slots.is_empty() => {
                    let (&serial, &(slot, n)) = slots.iter().nth(at.index(slots.len())).unwrap();
                    prop_assert_eq!(owned.remove(slot), note(serial));
                    model[n].retain(|&other| other != serial);
                    slots.remove(&serial);
                }
                Step::Remove(_) => {}
                Step::Pop(n) => {
                    let oldest = (!model[n].is_empty()).then(|| model[n].remove(0));
                    prop_assert_eq!(owned.pop(owners[n]), oldest.map(note));
                    known[n] &= oldest.is_some();
                    oldest.map(|serial| slots.remove(&serial));
                }
            }
            for (n, owner) in owners.iter().enumerate() {
                let expected: Vec<Note> = model[n].iter().map(|&serial| note(serial)).collect();
                prop_assert_eq!(owned.notes(*owner).collect::<Vec<_>>(), expected);
            }
        }
        for owner in owners {
            while owned.pop(owner).is_some() {}
        }
        prop_assert!(owned.is_empty());
    }
}
