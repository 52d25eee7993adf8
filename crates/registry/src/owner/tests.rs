//! What an owner remembers of its entries.

use super::Owner;
use crate::{DuplicateRegistry, UniqueRegistry};

#[test]
fn it_notes_exactly_the_entries_it_has() {
    let owner = Owner::new();
    let names = UniqueRegistry::<&str, ()>::new();
    let groups = DuplicateRegistry::<&str, u8>::new();
    let name = names.register(&owner, "a", ()).unwrap();
    let first = groups.register(&owner, "a", 1);
    groups.register(&owner, "a", 2).detach();
    groups.register(&owner, "b", 3).detach();
    assert_eq!(owner.life().noted(), 4);
    drop(first);
    drop(name);
    assert_eq!(owner.life().noted(), 2);
    groups.unregister(&owner, "a");
    groups.unregister_match(&owner, "b", |&value| value == 3);
    assert_eq!(owner.life().noted(), 0);
}

#[test]
fn p3_a_refused_registration_leaves_no_note() {
    let (holder, other) = (Owner::new(), Owner::new());
    let names = UniqueRegistry::<&str, ()>::new();
    let _name = names.register(&holder, "a", ()).unwrap();
    for _ in 0..10 {
        assert_eq!(
            names.register(&other, "a", ()).unwrap_err().owner,
            holder.id()
        );
        assert_eq!(
            names.register(&holder, "a", ()).unwrap_err().owner,
            holder.id()
        );
    }
    assert_eq!((holder.life().noted(), other.life().noted()), (1, 0));
}

#[test]
fn guards_that_outlive_their_owner_do_nothing() {
    let groups = DuplicateRegistry::<&str, u8>::new();
    let (first, second) = (Owner::new(), Owner::new());
    let guard = groups.register(&first, "a", 1);
    let life = first.life().clone();
    drop(first);
    let _kept = groups.register(&second, "a", 2);
    drop(guard);
    assert_eq!((life.noted(), groups.count()), (0, 1));
}
