//! Names.

use matryoshka_registry::{Owner, RegisterError, UniqueRegistry};

#[test]
fn a_name_has_one_holder() {
    let names = UniqueRegistry::new();
    let (owner, other) = (Owner::new(), Owner::new());
    let held = names.register(&owner, "mailer", 1).unwrap();
    let taken = RegisterError::AlreadyRegistered { owner: owner.id() };
    assert_eq!(names.register(&other, "mailer", 2).unwrap_err(), taken);
    assert_eq!(names.register(&owner, "mailer", 3).unwrap_err(), taken);
    assert_eq!(names.whereis("mailer"), Some(1));
    let entry = names.lookup("mailer").unwrap();
    assert_eq!((entry.owner(), *entry.value()), (owner.id(), 1));
    assert_eq!(
        (names.keys(owner.id()), names.keys(other.id())),
        (vec!["mailer"], vec![])
    );
    drop(held);
    assert_eq!((names.whereis("mailer"), names.count()), (None, 0));
}

#[test]
fn p6_a_late_guard_never_removes_the_successor() {
    let names = UniqueRegistry::new();
    let (first, second) = (Owner::new(), Owner::new());
    let late = names.register(&first, "a", 1).unwrap();
    drop(first);
    let _held = names
        .register(&second, "a", 2)
        .expect("a dead holder blocks nobody");
    drop(late);
    assert_eq!(names.whereis("a"), Some(2));
}

#[test]
fn only_the_holder_unregisters() {
    let names = UniqueRegistry::new();
    let (owner, other) = (Owner::new(), Owner::new());
    let guard = names.register(&owner, "a", 1).unwrap();
    assert!(!names.unregister(&other, "a"));
    assert!(names.unregister(&owner, "a"));
    assert!(!names.unregister(&owner, "a"));
    let _held = names.register(&other, "a", 2).unwrap();
    drop(guard);
    assert_eq!(names.whereis("a"), Some(2));
}

#[test]
fn only_the_holder_updates() {
    let names = UniqueRegistry::new();
    let (owner, other) = (Owner::new(), Owner::new());
    let guard = names.register(&owner, "a", 1).unwrap();
    let never = |_: &i32| -> i32 { panic!("not the holder's") };
    assert_eq!(names.update_value(&owner, "b", never), None);
    assert_eq!(names.update_value(&other, "a", never), None);
    assert_eq!(names.update_value(&owner, "a", |old| old + 1), Some(2));
    assert_eq!(names.whereis("a"), Some(2));
    drop(guard);
    assert_eq!(
        names.whereis("a"),
        None,
        "an updated entry is still its guard's"
    );
}

#[test]
fn values_need_no_clone_to_be_held() {
    struct Opaque;
    let names = UniqueRegistry::new();
    let owner = Owner::new();
    let _guard = names.register(&owner, 1, Opaque).unwrap();
    assert_eq!(names.count(), 1);
}
