//! The races around the end of an owner, row by row, where one order can be brought about from outside: the drop of a value
//! runs in the midst of its owner's end. What depends on the order of threads is tried inside the crate, under all of them:
//! rows 4 (two take one name), 5, 6 and 9. Row 7 has no middle here, since each entry goes by itself; row 8 stands with the
//! owner's own tests; and a registry does not die before its users, so row 10 is only that it may be dropped first.

use std::sync::{Arc, Mutex};

use matryoshka_registry::{Change, DuplicateRegistry, Owner, Reason, Registration, UniqueRegistry};

/// Runs something when it is dropped: while its owner dies.
struct Last(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Last {
    fn drop(&mut self) {
        let word = self.0.take();
        word.into_iter().for_each(|word| word());
    }
}

type Names = UniqueRegistry<u32, ()>;

const NAMES: u32 = 3;

/// Something of an owner that goes before what it registers later, and says `word` when it goes.
fn says(owner: &Owner, word: impl FnOnce() + Send + Sync + 'static) -> UniqueRegistry<u8, Last> {
    let first = UniqueRegistry::new();
    let last = Last(Some(Box::new(word)));
    first.register(owner, 0, last).unwrap().detach();
    first
}

/// An owner of three names, in the midst of whose end `word` is said.
fn dying(
    names: &Names,
    word: impl FnOnce() + Send + Sync + 'static,
) -> (Owner, UniqueRegistry<u8, Last>) {
    let owner = Owner::new();
    let first = says(&owner, word);
    for name in 0..NAMES {
        names.register(&owner, name, ()).unwrap().detach();
    }
    (owner, first)
}

#[test]
fn race_1_and_2_lookup_may_show_the_dying_whereis_never_does() {
    let names = Names::new();
    let said = Arc::new(Mutex::new(None));
    let (owner, _first) = dying(&names, {
        let (names, said) = (names.clone(), Arc::clone(&said));
        move || {
            let standing = (1..NAMES)
                .filter(|name| names.lookup(name).is_some())
                .count();
            let found = (0..NAMES).any(|name| names.whereis(&name).is_some());
            *said.lock().unwrap() = Some((standing, found));
        }
    });
    assert!((0..NAMES).all(|name| names.whereis(&name).is_some()));
    drop(owner);
    let (standing, found) = said.lock().unwrap().expect("the value was dropped");
    assert!(standing > 0, "it happened in the midst of the end");
    assert!(!found, "the dying are found by nobody");
}

#[test]
fn race_3_the_dying_are_replaced_at_once_and_remove_nobody_later() {
    let names = Names::new();
    let (next, taken) = (
        Arc::new(Owner::new()),
        Arc::new(Mutex::new(Vec::<Registration>::new())),
    );
    let mut listener = names.listen(100).unwrap();
    let (owner, _first) = dying(&names, {
        let (names, next, taken) = (names.clone(), Arc::clone(&next), Arc::clone(&taken));
        move || {
            for name in 0..NAMES {
                let guard = names.register(&next, name, ());
                taken
                    .lock()
                    .unwrap()
                    .push(guard.expect("the dying hold nothing"));
            }
        }
    });
    let dead = owner.id();
    drop(owner);
    assert_eq!(
        names.keys(next.id()).len(),
        NAMES as usize,
        "its late end removed no successor"
    );
    let mut standing = std::collections::HashMap::new();
    let mut replaced = 0;
    while let Some(change) = listener.try_recv() {
        match change {
            Change::Registered { key, entry } => {
                assert_eq!(standing.insert(key, entry.owner()), None, "one at a time");
            }
            Change::Unregistered { key, entry, reason } => {
                assert_eq!(standing.remove(&key), Some(entry.owner()));
                assert_eq!(entry.owner(), dead);
                replaced += usize::from(reason == Reason::Replaced);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(replaced > 0 && standing.values().all(|&owner| owner == next.id()));
}

#[test]
fn race_1_groups_lose_the_dying_one_entry_after_another() {
    let groups = DuplicateRegistry::<u8, ()>::new();
    let seen = Arc::new(Mutex::new(None));
    let owner = Owner::new();
    let _first = says(&owner, {
        let (groups, seen) = (groups.clone(), Arc::clone(&seen));
        move || *seen.lock().unwrap() = Some(groups.count())
    });
    groups.register(&owner, 1, ()).unwrap().detach();
    groups.register(&owner, 2, ()).unwrap().detach();
    drop(owner);
    assert_eq!((*seen.lock().unwrap(), groups.count()), (Some(2), 0));
}
