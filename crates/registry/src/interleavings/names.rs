//! P2, P3, P6 and the race table, where they are about names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use shuttle::thread;

use super::{both, interleaved};
use crate::{Owner, OwnerDead, OwnerId, RegisterError, UniqueRegistry};

type Names = UniqueRegistry<u8, u8>;

fn names() -> Names {
    Names::with_shards(1, Default::default())
}

fn taken_by(owner: OwnerId) -> RegisterError {
    RegisterError::AlreadyRegistered { owner }
}

/// Row 4 of the races.
#[test]
fn p2_exactly_one_of_two_gets_the_name() {
    interleaved(|| {
        let names = names();
        let take = |value: u8| {
            let names = names.clone();
            move || {
                let owner = Owner::new();
                let id = owner.id();
                let outcome = names.register(&owner, 1, value).map(|guard| guard.detach());
                (id, outcome, owner)
            }
        };
        let ((one, first, _one), (two, second, _two)) = both(take(1), take(2));
        match (first, second) {
            (Ok(()), Err(refused)) => assert_eq!(refused, taken_by(one)),
            (Err(refused), Ok(())) => assert_eq!(refused, taken_by(two)),
            both => panic!("one must win: {both:?}"),
        }
        assert_eq!(names.count(), 1);
    });
}

/// Who is refused is refused by somebody alive: if the holder went, the name is free or another's.
#[test]
fn p2_a_name_changes_hands_without_a_gap_or_an_overlap() {
    interleaved(|| {
        let (names, holder, next) = (names(), Owner::new(), Owner::new());
        let guard = names.register(&holder, 1, 1).unwrap();
        let theirs = names.clone();
        let id = holder.id();
        let ((), taken) = both(
            move || {
                drop(guard);
                drop(holder);
            },
            move || {
                let outcome = theirs.register(&next, 1, 2).map(|guard| guard.detach());
                (outcome, next)
            },
        );
        match taken.0 {
            Ok(()) => assert_eq!(names.whereis(&1), Some(2)),
            Err(refused) => assert_eq!((refused, names.count()), (taken_by(id), 0)),
        }
    });
}

/// Rows 1 to 3 of the races.
#[test]
fn p6_the_dying_neither_block_a_name_nor_remove_their_successor() {
    interleaved(|| {
        let (names, dying, next) = (names(), Owner::new(), Owner::new());
        for name in 1..=2 {
            names.register(&dying, name, 1).unwrap().detach();
        }
        let theirs = names.clone();
        let ((), (saw_end, taken, _next)) = both(
            move || drop(dying),
            move || {
                let saw_end = theirs.whereis(&1).is_none();
                let taken = theirs.register(&next, 2, 2).map(|guard| guard.detach());
                (saw_end, taken, next)
            },
        );
        assert!(taken.is_ok() || !saw_end, "who is dying holds nothing");
        assert_eq!(names.whereis(&1), None);
        assert_eq!(names.count(), usize::from(taken.is_ok()));
        assert_eq!(names.whereis(&2), taken.ok().map(|()| 2));
    });
}

/// Rows 5 and 6 of the races.
#[test]
fn p3_a_guard_and_its_owner_may_go_at_once() {
    interleaved(|| {
        let (names, owner) = (names(), Owner::new());
        let life = owner.life().clone();
        let guard = names.register(&owner, 1, 1).unwrap();
        names.register(&owner, 2, 1).unwrap().detach();
        both(move || drop(owner), move || drop(guard));
        assert!(names.is_bare() && life.noted() == 0);
    });
}

#[test]
fn p3_unregistering_and_the_guard_may_go_at_once() {
    interleaved(|| {
        let (names, owner) = (names(), Owner::new());
        let guard = names.register(&owner, 1, 1).unwrap();
        let theirs = names.clone();
        let ((), owner) = both(
            move || drop(guard),
            move || {
                theirs.unregister(&owner, &1);
                let again = theirs.register(&owner, 1, 2);
                again.expect("it is free in any order").detach();
                owner
            },
        );
        assert_eq!((names.whereis(&1), owner.life().noted()), (Some(2), 1));
    });
}

#[test]
fn updates_of_one_value_are_none_lost() {
    interleaved(|| {
        let (names, owner) = (names(), Arc::new(Owner::new()));
        names.register(&owner, 1, 0).unwrap().detach();
        let add = |by: u8| {
            let (names, owner) = (names.clone(), owner.clone());
            move || names.update_value(&owner, &1, |old| old + by)
        };
        both(add(1), add(2));
        assert_eq!(names.whereis(&1), Some(3));
    });
}

/// As with groups: who is refused leaves nothing, and the name is free for the next one.
#[test]
fn p3_who_takes_a_name_for_the_dying_is_told_or_buried() {
    interleaved(|| {
        let (names, owner) = (names(), Arc::new(Owner::new()));
        let late = [1, 2].map(|name| {
            let (names, owner) = (names.clone(), Arc::clone(&owner));
            thread::spawn(move || names.register(&owner, name, 1).map(|guard| guard.detach()))
        });
        owner.end();
        for thread in late {
            let outcome = thread.join().unwrap();
            let dead = RegisterError::OwnerDead(OwnerDead { owner: owner.id() });
            assert!(outcome == Ok(()) || outcome == Err(dead));
        }
        assert!(names.is_bare() && owner.life().noted() == 0);
        let next = Owner::new();
        let _guards = [1, 2].map(|name| names.register(&next, name, 2).unwrap());
    });
}

/// As with groups: who was told that he has a name finds it gone once the end has returned.
#[test]
fn p3_what_was_taken_is_gone_when_the_end_has_returned() {
    interleaved(|| {
        let (names, owner) = (names(), Arc::new(Owner::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let late = [1, 2].map(|name| {
            let (names, owner, ended) = (names.clone(), owner.clone(), ended.clone());
            thread::spawn(move || {
                let outcome = names.register(&owner, name, 1);
                let has_it = outcome.map(|guard| guard.detach()).is_ok();
                thread::yield_now();
                if has_it && ended.load(SeqCst) {
                    assert!(names.lookup(&name).is_none());
                }
            })
        });
        owner.end();
        ended.store(true, SeqCst);
        late.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The hook runs once, whether it comes before the end, in its midst, or after.
#[test]
fn a_hook_that_meets_the_end_runs_once() {
    interleaved(|| {
        let owner = Arc::new(Owner::new());
        let ran = Arc::new(AtomicUsize::new(0));
        let (theirs, counted) = (Arc::clone(&owner), Arc::clone(&ran));
        both(
            move || owner.end(),
            move || {
                theirs
                    .on_death(move || {
                        counted.fetch_add(1, SeqCst);
                    })
                    .detach()
            },
        );
        assert_eq!(ran.load(SeqCst), 1);
    });
}
