//! What an owner remembers of its entries.

use super::Owner;
use crate::interleavings::once;
use crate::{DuplicateRegistry, RegisterError, UniqueRegistry};

#[test]
fn it_notes_exactly_the_entries_it_has() {
    once(|| {
        let owner = Owner::new();
        let names = UniqueRegistry::<&str, ()>::new();
        let groups = DuplicateRegistry::<&str, u8>::new();
        let name = names.register(&owner, "a", ()).unwrap();
        let first = groups.register(&owner, "a", 1).unwrap();
        groups.register(&owner, "a", 2).unwrap().detach();
        groups.register(&owner, "b", 3).unwrap().detach();
        assert_eq!(owner.life().noted(), 4);
        drop(first);
        drop(name);
        assert_eq!(owner.life().noted(), 2);
        groups.unregister(&owner, "a");
        groups.unregister_match(&owner, "b", |&value| value == 3);
        assert_eq!(owner.life().noted(), 0);
    });
}

/// Row 8 of the races too: refusals for ever leave nothing behind.
#[test]
fn p3_r28_a_refused_registration_leaves_no_note() {
    once(|| {
        let (holder, other) = (Owner::new(), Owner::new());
        let names = UniqueRegistry::<&str, ()>::new();
        let _name = names.register(&holder, "a", ()).unwrap();
        for owner in [&other, &holder].repeat(10) {
            let refused = names.register(owner, "a", ()).unwrap_err();
            let owner = holder.id();
            assert_eq!(refused, RegisterError::AlreadyRegistered { owner });
        }
        assert_eq!((holder.life().noted(), other.life().noted()), (1, 0));
        drop((holder, other));
        assert!(names.is_bare());
    });
}

#[test]
fn guards_that_outlive_their_owner_do_nothing() {
    once(|| {
        let groups = DuplicateRegistry::<&str, u8>::new();
        let (first, second) = (Owner::new(), Owner::new());
        let guard = groups.register(&first, "a", 1).unwrap();
        let life = first.life().clone();
        drop(first);
        let _kept = groups.register(&second, "a", 2).unwrap();
        drop(guard);
        assert_eq!((life.noted(), groups.count()), (0, 1));
        drop(second);
        assert!(groups.is_bare());
    });
}

/// A registry that went leaves its shards with those who had entries there, but not for ever.
#[test]
fn an_owner_outlives_any_number_of_registries() {
    once(|| {
        let owner = Owner::new();
        for _ in 0..100 {
            let groups = DuplicateRegistry::<u8, u8>::with_shards(1, Default::default());
            let guard = groups.register(&owner, 1, 1).unwrap();
            drop(groups);
            drop(guard);
        }
        assert!(owner.life().places() <= 4, "{}", owner.life().places());
    });
}

/// The way through the owner's notes, which is taken where the key has more entries than the owner.
#[test]
fn a_small_owner_under_a_crowded_key_unregisters_what_matches() {
    once(|| {
        let groups = DuplicateRegistry::<&str, u32>::with_shards(1, Default::default());
        let other_registry = DuplicateRegistry::<&str, u32>::with_shards(1, Default::default());
        let (crowd, owner) = (Owner::new(), Owner::new());
        for n in 0..20 {
            groups.register(&crowd, "a", n).unwrap().detach();
        }
        for (key, value) in [("a", 1), ("a", 2), ("b", 2), ("a", 3)] {
            groups.register(&owner, key, value).unwrap().detach();
            other_registry
                .register(&owner, key, value)
                .unwrap()
                .detach();
        }
        assert_eq!(groups.unregister_match(&owner, "a", |&n| n > 1), 2);
        assert_eq!(groups.values("a", owner.id()), [1]);
        assert_eq!(groups.unregister(&owner, "a"), 1);
        assert_eq!((groups.count(), other_registry.count()), (21, 4));
        assert_eq!(owner.life().noted(), 5);
    });
}
