//! P7: whoever is called may call back, since no lock is held.

use std::cell::RefCell;

use matryoshka_registry::{DuplicateRegistry, Owner, Registration, UniqueRegistry};

#[test]
fn p7_dispatch_may_change_the_key_it_visits() {
    let groups = DuplicateRegistry::new();
    let owner = Owner::new();
    let guards: RefCell<Vec<Registration>> = RefCell::default();
    for n in 0..300 {
        guards.borrow_mut().push(groups.register(&owner, "a", n));
    }
    let mut seen = Vec::new();
    groups.dispatch("a", |entries| {
        for entry in entries {
            seen.push(*entry.value());
            drop(guards.borrow_mut().pop());
            groups.register(&owner, "a", 1_000).detach();
            groups.dispatch("a", |now| assert!(!now.is_empty()));
            assert_eq!(groups.unregister_match(&owner, "a", |&n| n == 1_000), 1);
        }
    });
    assert!(seen.into_iter().eq(0..300), "exactly the snapshot");
    assert_eq!(groups.count(), 0);
}

#[test]
fn p7_an_update_may_read_what_it_changes() {
    let names = UniqueRegistry::new();
    let owner = Owner::new();
    let _guard = names.register(&owner, "a", 1).unwrap();
    let new = names.update_value(&owner, "a", |old| old + names.whereis("a").unwrap());
    assert_eq!(new, Some(2));
}

#[test]
fn p7_an_update_that_changes_the_same_value_runs_again() {
    let names = UniqueRegistry::new();
    let owner = Owner::new();
    let _guard = names.register(&owner, "a", 1).unwrap();
    let mut meddled = false;
    let new = names.update_value(&owner, "a", |old| {
        if !std::mem::replace(&mut meddled, true) {
            names.update_value(&owner, "a", |_| 10);
        }
        old + 1
    });
    assert_eq!((new, names.whereis("a")), (Some(11), Some(11)));
}

/// Looks into its registry when it is dropped.
#[derive(Clone)]
struct Nosy(DuplicateRegistry<u8, Option<std::sync::Arc<Nosy>>>);

impl Drop for Nosy {
    fn drop(&mut self) {
        let owner = Owner::new();
        drop(self.0.register(&owner, 1, None));
        self.0.dispatch(&1, |_| ());
        self.0.count();
    }
}

#[test]
fn p7_values_may_use_the_registry_in_their_drop() {
    let groups = DuplicateRegistry::with_shards(1, Default::default());
    let owner = Owner::new();
    let nosy = || Some(std::sync::Arc::new(Nosy(groups.clone())));
    let single = groups.register(&owner, 1, nosy());
    drop(single);
    let guards: Vec<_> = (0..300)
        .map(|_| groups.register(&owner, 1, nosy()))
        .collect();
    let snapshot = groups.lookup(&1);
    drop(guards);
    drop(snapshot);
    groups.register(&owner, 1, nosy()).detach();
    groups.unregister(&owner, &1);
    groups.register(&owner, 1, nosy()).detach();
    drop(owner);
    assert_eq!(groups.count(), 0);
}

#[test]
fn p7_the_notice_of_an_edge_may_take_it() {
    let taken = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let groups = std::sync::Arc::new(std::sync::OnceLock::<DuplicateRegistry<&str, ()>>::new());
    let registry = {
        let (taken, groups) = (taken.clone(), groups.clone());
        DuplicateRegistry::with_edges(move || {
            let groups = groups.get().unwrap();
            let edges = groups.take_edges().into_iter();
            taken
                .lock()
                .unwrap()
                .extend(edges.map(|key| (key, groups.is_registered(key))));
        })
    };
    assert!(groups.set(registry.clone()).is_ok());
    let owner = Owner::new();
    let first = registry.register(&owner, "a", ());
    let second = registry.register(&owner, "a", ());
    drop(first);
    drop(second);
    registry.register(&owner, "b", ()).detach();
    drop(owner);
    let expected = [("a", true), ("a", false), ("b", true), ("b", false)];
    assert_eq!(*taken.lock().unwrap(), expected);
    assert!(!registry.edges_pending());
}
