//! Groups.

use matryoshka_registry::{DuplicateRegistry, Owner};

fn values(groups: &DuplicateRegistry<&'static str, u32>, key: &str) -> Vec<u32> {
    let all = groups.dispatch(key, |entries| entries.iter().map(|e| *e.value()).collect());
    all.unwrap_or_default()
}

#[test]
fn one_owner_may_register_the_same_twice_and_reads_it_in_order() {
    let groups = DuplicateRegistry::new();
    let (owner, other) = (Owner::new(), Owner::new());
    let _guards = [
        groups.register(&owner, "hello", 1).unwrap(),
        groups.register(&other, "hello", 9).unwrap(),
        groups.register(&owner, "hello", 1).unwrap(),
        groups.register(&owner, "world", 2).unwrap(),
        groups.register(&owner, "hello", 3).unwrap(),
    ];
    assert_eq!(groups.values("hello", owner.id()), [1, 1, 3]);
    assert_eq!(groups.values("hello", other.id()), [9]);
    assert_eq!(values(&groups, "hello"), [1, 9, 1, 3]);
    let mut keys = groups.keys(owner.id());
    keys.sort_unstable();
    assert_eq!(keys, ["hello", "hello", "hello", "world"]);
    assert_eq!(
        (
            groups.count(),
            groups.count_keys(),
            groups.count_key("hello")
        ),
        (5, 2, 4)
    );
}

#[test]
fn dispatch_to_nobody_calls_nobody() {
    let groups = DuplicateRegistry::<&str, u32>::new();
    let called = groups.dispatch("a", |_| panic!("there are no entries"));
    assert_eq!(called, None);
    assert!(groups.lookup("a").is_none());
}

#[test]
fn a_snapshot_stands_still() {
    let groups = DuplicateRegistry::new();
    let owner = Owner::new();
    let guards: Vec<_> = (0..600)
        .map(|n| groups.register(&owner, "a", n).unwrap())
        .collect();
    let snapshot = groups.lookup("a").unwrap();
    drop(guards);
    assert_eq!(groups.count(), 0);
    assert_eq!(snapshot.len(), 600);
    assert!(snapshot.iter().map(|e| *e.value()).eq(0..600));
}

#[test]
fn p4_a_guard_removes_its_own_entry_among_equals() {
    let groups = DuplicateRegistry::new();
    let owner = Owner::new();
    let first = groups.register(&owner, "a", 7).unwrap();
    let second = groups.register(&owner, "a", 7).unwrap();
    let _other = groups.register(&owner, "a", 8).unwrap();
    drop(first);
    assert_eq!(values(&groups, "a"), [7, 8]);
    drop(second);
    assert_eq!(values(&groups, "a"), [8]);
}

#[test]
fn unregister_removes_the_owners_entries_and_disarms_their_guards() {
    let groups = DuplicateRegistry::new();
    let (owner, other) = (Owner::new(), Owner::new());
    let guard = groups.register(&owner, "a", 1).unwrap();
    groups.register(&owner, "a", 2).unwrap().detach();
    let _other = groups.register(&other, "a", 3).unwrap();
    assert_eq!(groups.unregister(&owner, "b"), 0);
    assert_eq!(groups.unregister(&owner, "a"), 2);
    assert_eq!(groups.unregister(&owner, "a"), 0);
    let _again = groups.register(&owner, "a", 4).unwrap();
    drop(guard);
    assert_eq!(values(&groups, "a"), [3, 4]);
}

#[test]
fn unregister_match_leaves_the_other_values() {
    let groups = DuplicateRegistry::new();
    let (owner, other) = (Owner::new(), Owner::new());
    let _guards: Vec<_> = (1..=4)
        .map(|n| groups.register(&owner, "a", n).unwrap())
        .collect();
    let _other = groups.register(&other, "a", 2).unwrap();
    assert_eq!(groups.unregister_match(&owner, "a", |&n| n > 9), 0);
    assert_eq!(groups.unregister_match(&owner, "a", |&n| n % 2 == 0), 2);
    assert_eq!(values(&groups, "a"), [1, 3, 2]);
}

#[test]
fn a_thousand_entries_under_one_key_go_one_by_one() {
    let groups = DuplicateRegistry::new();
    let owners: Vec<_> = (0..1_000).map(|_| Owner::new()).collect();
    for (n, owner) in (0..).zip(&owners) {
        groups.register(owner, "a", n).unwrap().detach();
    }
    for (n, owner) in owners.into_iter().enumerate() {
        drop(owner);
        assert_eq!(groups.count_key("a"), 999 - n);
    }
    assert!(!groups.is_registered("a"));
}
