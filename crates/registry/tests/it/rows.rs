//! The rows of behaviour that a registry of names and groups must show, R1 to R33, each in one and in eight shards, and groups in
//! both layouts. Which row is shown where: [`main`](super).

use std::collections::BTreeSet;

use matryoshka_registry::{
    Change, DuplicateRegistry, Owner, Reason, RegisterError, ShardBy, UniqueRegistry,
};

type Names<K, V> = UniqueRegistry<K, V>;
type Groups<K, V> = DuplicateRegistry<K, V>;

trait Key: Eq + std::hash::Hash + Clone + Send + Sync + 'static {}
impl<T: Eq + std::hash::Hash + Clone + Send + Sync + 'static> Key for T {}

fn each_names<K: Key, V: Clone + Send + Sync + 'static>(test: impl Fn(Names<K, V>)) {
    for shards in [1, 8] {
        test(Names::with_shards(shards, Default::default()));
    }
}

fn each_groups<K: Key, V: Clone + Send + Sync + 'static>(test: impl Fn(Groups<K, V>)) {
    for shards in [1, 8] {
        for shard_by in [ShardBy::Key, ShardBy::Owner] {
            let builder = Groups::builder().shards(shards).shard_by(shard_by);
            test(builder.build().unwrap());
        }
    }
}

/// The values under a key, sorted.
fn values(groups: &Groups<&'static str, u32>, key: &str) -> Vec<u32> {
    let mut values: Vec<u32> = groups
        .match_values(key, |_| true)
        .iter()
        .map(|entry| *entry.value())
        .collect();
    values.sort_unstable();
    values
}

#[test]
fn r2_an_empty_registry_has_nothing_and_unregisters_nothing() {
    let owner = Owner::new();
    each_names::<&str, u32>(|names| {
        assert_eq!((names.count(), names.select(|_, _| Some(()))), (0, vec![]));
        assert!(!names.unregister(&owner, "a"));
        assert!(!names.unregister_match(&owner, "a", |_| true));
    });
    each_groups::<&str, u32>(|groups| {
        assert_eq!(
            (groups.count(), groups.select(|_, _| Some(()))),
            (0, vec![])
        );
        assert_eq!(groups.unregister(&owner, "a"), 0);
        assert_eq!(groups.unregister_match(&owner, "a", |_| true), 0);
    });
}

#[test]
fn r3_each_entry_counts() {
    let owner = Owner::new();
    each_names(|names| {
        let _both = [1, 2].map(|key| names.register(&owner, key, ()).unwrap());
        assert_eq!(names.count(), 2);
    });
    each_groups(|groups| {
        let _both = [1, 1].map(|key| groups.register(&owner, key, ()).unwrap());
        assert_eq!((groups.count(), groups.count_keys()), (2, 1));
    });
}

#[test]
fn r4_a_name_of_ones_own_is_taken_too() {
    let owner = Owner::new();
    each_names(|names| {
        let _name = names.register(&owner, "a", 1).unwrap();
        let refused = names.register(&owner, "a", 2).unwrap_err();
        let owner = owner.id();
        assert_eq!(refused, RegisterError::AlreadyRegistered { owner });
        assert_eq!(names.keys(owner), ["a"]);
        assert_eq!(names.value("a", owner), Some(1));
    });
}

#[test]
fn r5_a_name_of_another_is_taken() {
    let (owner, other) = (Owner::new(), Owner::new());
    each_names(|names| {
        let _name = names.register(&owner, "a", 1).unwrap();
        let _unrelated = names.register(&other, "b", 2).unwrap();
        let (refused, owner) = (names.register(&other, "a", 2).unwrap_err(), owner.id());
        assert_eq!(refused, RegisterError::AlreadyRegistered { owner });
        assert_eq!(names.keys(other.id()), ["b"]);
        assert_eq!(names.value("a", other.id()), None);
    });
}

#[test]
fn r6_a_dead_holder_is_replaced() {
    each_names(|names| {
        let (owner, other) = (Owner::new(), Owner::new());
        let late = names.register(&owner, "a", 1).unwrap();
        drop(owner);
        let _name = names.register(&other, "a", 2).unwrap();
        drop(late);
        let entry = names.lookup("a").unwrap();
        assert_eq!((entry.owner(), *entry.value()), (other.id(), 2));
    });
}

#[test]
fn r7_keys_are_equal_by_eq_and_no_other_way() {
    #[derive(Clone, PartialEq, Eq, Hash)]
    enum Number {
        Whole(i64),
        Bits(u64),
    }
    let owner = Owner::new();
    each_names(|names| {
        let keys = [Number::Whole(1), Number::Bits(1)];
        let _both = keys.map(|key| names.register(&owner, key, ()).unwrap());
        assert_eq!(names.keys(owner.id()).len(), 2);
    });
}

#[test]
fn r8_one_owner_registers_as_often_as_it_likes() {
    let owner = Owner::new();
    each_groups(|groups| {
        let entries = [("hello", 1), ("hello", 2), ("world", 3)];
        let _guards = entries.map(|(key, value)| groups.register(&owner, key, value).unwrap());
        let mut keys = groups.keys(owner.id());
        keys.sort_unstable();
        assert_eq!(keys, ["hello", "hello", "world"]);
        assert_eq!(groups.values("hello", owner.id()), [1, 2]);
    });
}

#[test]
fn r9_values_are_one_owners() {
    let (owner, other) = (Owner::new(), Owner::new());
    each_groups(|groups| {
        let _guards = [
            groups.register(&owner, "a", 1).unwrap(),
            groups.register(&other, "a", 2).unwrap(),
        ];
        assert_eq!(groups.values("a", owner.id()), [1]);
        assert_eq!(groups.values("a", other.id()), [2]);
        assert_eq!(groups.values("b", other.id()), []);
    });
}

/// What a pattern would bind, a closure compares.
#[test]
fn r10_r11_a_closure_matches_values() {
    let owner = Owner::new();
    let twins = |value: &(u32, &str, u32)| value.0 == value.2;
    each_names(|names| {
        let _name = names.register(&owner, "a", (1, "atom", 1)).unwrap();
        assert!(names.match_value("a", twins).is_some());
        assert!(names.match_value("a", |value| value.1 == "other").is_none());
        assert!(names.match_value("_", |_| true).is_none());
    });
    each_groups(|groups| {
        let all = [(1, "atom", 1), (1, "atom", 2)];
        let _guards = all.map(|value| groups.register(&owner, "a", value).unwrap());
        let matched = groups.match_values("a", twins);
        let matched: Vec<_> = matched
            .into_iter()
            .map(|entry| entry.into_value())
            .collect();
        assert_eq!(matched, [(1, "atom", 1)]);
        assert_eq!(groups.count_match("a", twins), 1);
        assert_eq!(groups.count_match("_", |_| true), 0);
    });
}

#[test]
fn r12_a_closure_filters_everywhere() {
    let owner = Owner::new();
    each_groups(|groups| {
        let guards: Vec<_> = (1..=3)
            .map(|n| groups.register(&owner, "a", n).unwrap())
            .collect();
        assert_eq!(groups.match_values("a", |&n| n > 1).len(), 2);
        assert_eq!(groups.count_match("a", |&n| n > 2), 1);
        let mut chosen = groups.select(|_, entry| (*entry.value() > 1).then_some(*entry.value()));
        chosen.sort_unstable();
        assert_eq!(chosen, [2, 3]);
        assert_eq!(groups.count_select(|_, entry| *entry.value() > 2), 1);
        assert_eq!(groups.unregister_match(&owner, "a", |&n| n > 2), 1);
        assert_eq!(values(&groups, "a"), [1, 2]);
        drop(guards);
    });
}

#[test]
fn r13_unregister_match_removes_what_matches() {
    let owner = Owner::new();
    each_names(|names| {
        let _name = names.register(&owner, "a", 1).unwrap();
        assert!(!names.unregister_match(&owner, "a", |&n| n == 2));
        assert_eq!(names.count(), 1);
        assert!(names.unregister_match(&owner, "a", |&n| n == 1));
        assert_eq!(names.count(), 0);
    });
    each_groups(|groups| {
        let _guards = [1, 2, 3].map(|n| groups.register(&owner, "a", n).unwrap());
        assert_eq!(groups.unregister_match(&owner, "a", |&n| n == 9), 0);
        assert_eq!(groups.unregister_match(&owner, "a", |&n| n == 2), 1);
        assert_eq!(values(&groups, "a"), [1, 3]);
        assert_eq!(groups.unregister_match(&owner, "a", |_| true), 2);
    });
}

#[test]
fn r14_what_is_registered_again_stands_last() {
    let owner = Owner::new();
    each_groups(|groups| {
        let _first = groups.register(&owner, "a", 1).unwrap();
        let second = groups.register(&owner, "a", 2).unwrap();
        drop(second);
        let _third = groups.register(&owner, "a", 2).unwrap();
        assert_eq!(groups.values("a", owner.id()), [1, 2]);
    });
}

/// No key is a pattern, in no position.
#[test]
fn r15_r17_keys_that_look_like_patterns_are_keys() {
    let owner = Owner::new();
    each_groups(|groups| {
        let keys = ["_", "$1", "*", "", "a", "(?:a)"];
        for (n, key) in (0..).zip(keys) {
            groups.register(&owner, key, n).unwrap().detach();
        }
        for (n, key) in (0..).zip(keys) {
            assert_eq!(values(&groups, key), [n]);
            assert_eq!(groups.count_match(key, |_| true), 1);
            assert_eq!(groups.count_select(|k, _| *k == key), 1);
            assert_eq!(groups.unregister_match(&owner, key, |&v| v != n), 0);
            assert_eq!(groups.unregister(&owner, key), 1);
            assert_eq!(groups.count(), keys.len() - 1);
            groups.register(&owner, key, n).unwrap().detach();
        }
        groups.select(|key, _| Some(groups.unregister(&owner, key)));
    });
}

#[test]
fn r16_select_sees_key_owner_and_value() {
    let (owner, other) = (Owner::new(), Owner::new());
    each_names(|names| {
        let _guards = [
            names.register(&owner, "hello", 1).unwrap(),
            names.register(&owner, "world", 2).unwrap(),
            names.register(&other, "there", 3).unwrap(),
        ];
        let own = names.select(|k, e| (e.owner() == owner.id()).then_some((*k, *e.value())));
        let own: BTreeSet<_> = own.into_iter().collect();
        assert_eq!(own, BTreeSet::from([("hello", 1), ("world", 2)]));
        assert_eq!(
            names.select(|&k, e| (k == "there").then(|| *e.value())),
            [3]
        );
        // The first of two cases that fits is the one that counts.
        let clauses = names.count_select(|&k, e| k == "hello" || *e.value() > 2);
        assert_eq!(clauses, 2);
    });
}

#[test]
fn r18_only_the_holder_updates() {
    let (owner, other) = (Owner::new(), Owner::new());
    each_names(|names| {
        let _name = names.register(&owner, "a", 1).unwrap();
        let never = |_: &i32| -> i32 { panic!("not the holder's") };
        assert_eq!(names.update_value(&owner, "missing", never), None);
        assert_eq!(names.update_value(&other, "a", never), None);
        assert_eq!(names.update_value(&owner, "a", |old| old + 1), Some(2));
        assert_eq!(names.whereis("a"), Some(2));
    });
}

#[test]
fn r19_dispatch_to_nobody_calls_nobody() {
    each_groups::<&str, u32>(|groups| {
        assert_eq!(groups.dispatch("a", |_| panic!("nobody is there")), None);
        assert_eq!(
            groups.dispatch_parallel("a", |_| panic!("nobody is there")),
            0
        );
    });
}

#[test]
fn r20_dispatch_runs_in_the_caller_with_that_key_only() {
    let owner = Owner::new();
    each_groups(|groups| {
        let _guards =
            [("a", 1), ("b", 2), ("a", 3)].map(|(k, v)| groups.register(&owner, k, v).unwrap());
        let here = std::thread::current().id();
        let seen = groups.dispatch("a", |entries| {
            assert_eq!(std::thread::current().id(), here);
            entries
                .iter()
                .map(|entry| *entry.value())
                .collect::<Vec<_>>()
        });
        assert_eq!(seen.unwrap(), [1, 3]);
    });
}

#[test]
fn r22_listeners_hear_of_registering_and_unregistering() {
    each_groups(|groups| {
        let mut listener = groups.listen(10).unwrap();
        let owner = Owner::new();
        let guard = groups.register(&owner, "a", 1).unwrap();
        match listener.try_recv() {
            Some(Change::Registered { key, entry }) => {
                assert_eq!(*key, "a");
                assert_eq!((entry.owner(), *entry.value()), (owner.id(), 1));
            }
            other => panic!("{other:?}"),
        }
        drop(guard);
        match listener.try_recv() {
            Some(Change::Unregistered {
                key,
                entry,
                reason: Reason::Explicit,
            }) => {
                assert_eq!((*key, entry.owner()), ("a", owner.id()));
            }
            other => panic!("{other:?}"),
        }
        assert!(listener.try_recv().is_none());
    });
}

#[test]
fn r25_a_name_leads_to_its_holder() {
    let (owner, other) = (Owner::new(), Owner::new());
    each_names(|names| {
        let _worker = names.register(&owner, "worker", "address").unwrap();
        assert_eq!(names.whereis("worker"), Some("address"));
        let second = names.register(&other, "worker", "elsewhere").unwrap_err();
        let owner = owner.id();
        assert_eq!(second, RegisterError::AlreadyRegistered { owner });
        assert_eq!(names.whereis("nobody"), None);
    });
}

#[test]
fn r27_what_the_dead_had_is_gone_everywhere() {
    each_groups(|groups| {
        let owners = [Owner::new(), Owner::new()];
        let ids = owners.each_ref().map(Owner::id);
        for owner in &owners {
            for key in ["a", "b"] {
                groups.register(owner, key, 1).unwrap().detach();
            }
        }
        drop(owners);
        assert_eq!((groups.count(), groups.count_keys()), (0, 0));
        assert!(ids.iter().all(|&id| groups.keys(id).is_empty()));
    });
}
