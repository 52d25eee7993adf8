//! The end of an owner.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use matryoshka_registry::{DuplicateRegistry, Owner, OwnerDead, RegisterError, UniqueRegistry};

#[test]
fn all_entries_in_all_registries_are_gone_when_drop_returns() {
    let names = UniqueRegistry::<String, u32>::new();
    let groups = DuplicateRegistry::<u64, u32>::new();
    let (owner, other) = (Owner::new(), Owner::new());
    for n in 0..1_000 {
        names.register(&owner, n.to_string(), n).unwrap().detach();
        groups
            .register(&owner, u64::from(n % 3), n)
            .unwrap()
            .detach();
    }
    let _name = names.register(&other, "other".into(), 1).unwrap();
    let _group = groups.register(&other, 0, 1).unwrap();
    drop(owner);
    assert_eq!(
        (names.count(), groups.count(), groups.count_keys()),
        (1, 1, 1)
    );
}

#[test]
fn hooks_run_once_and_after_the_entries_are_gone() {
    let groups = DuplicateRegistry::<&str, ()>::new();
    let owner = Owner::new();
    groups.register(&owner, "a", ()).unwrap().detach();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let (groups, seen) = (groups.clone(), Arc::clone(&seen));
        owner.on_death(move || seen.lock().unwrap().push(groups.count()))
    };
    assert!(seen.lock().unwrap().is_empty());
    drop(owner);
    assert_eq!(*seen.lock().unwrap(), [0]);
    drop(hook);
    assert_eq!(*seen.lock().unwrap(), [0]);
}

/// Hooks that add to one number.
fn counting() -> (Arc<AtomicUsize>, impl Fn(usize) -> Box<dyn FnOnce() + Send>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let sum = Arc::clone(&ran);
    let hook = move |by: usize| {
        let sum = Arc::clone(&sum);
        Box::new(move || {
            sum.fetch_add(by, SeqCst);
        }) as Box<dyn FnOnce() + Send>
    };
    (ran, hook)
}

#[test]
fn a_dropped_hook_is_cancelled_and_a_detached_one_is_not() {
    let (ran, count) = counting();
    let owner = Owner::new();
    drop(owner.on_death(count(1)));
    owner.on_death(count(10)).detach();
    drop(owner.on_death(count(100)));
    drop(owner);
    assert_eq!(ran.load(SeqCst), 10);
}

#[test]
fn a_panicking_hook_stops_neither_the_others_nor_the_drop() {
    let ran = Arc::new(AtomicUsize::new(0));
    let owner = Owner::new();
    for n in 0..3 {
        let ran = Arc::clone(&ran);
        owner
            .on_death(move || assert!(ran.fetch_add(1, SeqCst) != n, "one of three fails"))
            .detach();
    }
    drop(owner);
    assert_eq!(ran.load(SeqCst), 3);
}

struct Explosive(Arc<AtomicUsize>);

impl Drop for Explosive {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("a value panics in its drop");
    }
}

#[test]
fn a_value_that_panics_in_its_drop_keeps_no_other_entry_alive() {
    let drops = Arc::new(AtomicUsize::new(0));
    // One shard, so that after each panic there is more to be taken out of it.
    let names = UniqueRegistry::<u8, Explosive>::with_shards(1, Default::default());
    let groups = DuplicateRegistry::<u8, Explosive>::with_shards(1, Default::default());
    let owner = Owner::new();
    for n in 0..5 {
        let value = || Explosive(Arc::clone(&drops));
        names.register(&owner, n, value()).unwrap().detach();
        groups.register(&owner, n % 2, value()).unwrap().detach();
    }
    drop(owner);
    assert_eq!(
        (names.count(), groups.count(), drops.load(SeqCst)),
        (0, 0, 10)
    );
}

#[test]
fn an_owner_dies_with_the_panic_of_its_task() {
    let groups = DuplicateRegistry::<&str, ()>::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let owner = Owner::new();
        let _guard = groups.register(&owner, "a", ()).unwrap();
        assert_eq!(groups.count(), 0, "the task fails");
    }));
    assert!(outcome.is_err());
    assert_eq!(groups.count(), 0);
}

#[test]
fn a_registry_may_go_before_its_owners() {
    let owner = Owner::new();
    let value = Arc::new(());
    let guard = DuplicateRegistry::new()
        .register(&owner, "a", Arc::clone(&value))
        .unwrap();
    assert_eq!(
        Arc::strong_count(&value),
        1,
        "the registry went, and its entries with it"
    );
    drop(guard);
    drop(owner);
}

#[test]
fn ids_are_never_used_twice() {
    let first = Owner::new().id();
    let second = Owner::new().id();
    assert!(first < second);
}

#[test]
fn who_was_ended_has_nothing_and_gets_nothing() {
    let (names, groups) = (UniqueRegistry::new(), DuplicateRegistry::new());
    let mut listeners = (names.listen(10).unwrap(), groups.listen(10).unwrap());
    let owner = Arc::new(Owner::new());
    let shared = Arc::clone(&owner);
    let name = names.register(&owner, "a", 1).unwrap();
    groups.register(&shared, "a", 1).unwrap().detach();
    assert!(shared.is_alive());
    owner.end();
    assert!(!shared.is_alive());
    assert_eq!((names.count(), groups.count()), (0, 0));
    let dead = OwnerDead { owner: owner.id() };
    let refused = names.register(&shared, "a", 2).unwrap_err();
    assert_eq!(refused, RegisterError::OwnerDead(dead));
    assert_eq!(groups.register(&shared, "a", 2).unwrap_err(), dead);
    let says = format!(
        "owner {} is dead, and can have nothing any more: register with another owner",
        owner.id()
    );
    assert_eq!(
        (refused.to_string(), dead.to_string()),
        (says.clone(), says)
    );
    assert_eq!((names.count(), groups.count()), (0, 0));
    let told = std::iter::from_fn(|| listeners.0.try_recv()).count();
    let told = (told, std::iter::from_fn(|| listeners.1.try_recv()).count());
    assert_eq!(told, (2, 2), "a refusal is told to nobody");
    drop(name);
}

#[test]
fn the_dead_die_once_and_a_late_hook_runs_at_once() {
    let (ran, count) = counting();
    let owner = Owner::new();
    owner.on_death(count(1)).detach();
    owner.end();
    assert_eq!(ran.load(SeqCst), 1);
    owner.end();
    let hook = owner.on_death(count(10));
    assert_eq!(ran.load(SeqCst), 11);
    drop(hook);
    drop(owner);
    assert_eq!(ran.load(SeqCst), 11);
}

#[test]
fn a_hook_may_end_its_owner_and_register_for_it_in_vain() {
    let groups = DuplicateRegistry::<&str, ()>::new();
    let owner = Arc::new(Owner::new());
    let (outcome, theirs) = (Arc::new(Mutex::new(None)), Arc::downgrade(&owner));
    owner
        .on_death({
            let (groups, outcome) = (groups.clone(), Arc::clone(&outcome));
            move || {
                let owner = theirs.upgrade().unwrap();
                owner.end();
                *outcome.lock().unwrap() = Some(groups.register(&owner, "a", ()).map(drop));
            }
        })
        .detach();
    owner.end();
    let dead = OwnerDead { owner: owner.id() };
    assert_eq!(*outcome.lock().unwrap(), Some(Err(dead)));
}
