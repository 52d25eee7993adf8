//! P3, P7 and P9 under every order, where they are about groups, in both layouts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use shuttle::thread;

use super::{both, interleaved};
use crate::{DuplicateRegistry, Owner, OwnerDead, ShardBy};

type Groups = DuplicateRegistry<u8, u8>;

const LAYOUTS: [ShardBy; 2] = [ShardBy::Key, ShardBy::Owner];

fn groups(shard_by: ShardBy) -> Groups {
    let builder = Groups::builder().shards(2).shard_by(shard_by);
    builder.edges(|| ()).build().unwrap()
}

#[test]
fn p3_an_owner_may_die_while_its_guards_drop() {
    interleaved(|| {
        for layout in LAYOUTS {
            let (groups, owner) = (groups(layout), Owner::new());
            let life = owner.life().clone();
            let guards = [1, 2].map(|value| groups.register(&owner, 1, value).unwrap());
            groups.register(&owner, 2, 3).unwrap().detach();
            let theirs = groups.clone();
            let (gone, ()) = both(
                move || {
                    drop(owner);
                    theirs.count()
                },
                move || drop(guards),
            );
            assert_eq!(gone, 0, "gone before the drop of the owner returned");
            assert_eq!((groups.count(), groups.count_keys()), (0, 0));
            assert!(groups.is_bare() && life.noted() == 0);
        }
    });
}

/// Row 9 of the races.
#[test]
fn p7_a_snapshot_has_what_stays_once_and_what_never_was_not() {
    interleaved(|| {
        for layout in LAYOUTS {
            let (groups, resident, visitor) = (groups(layout), Owner::new(), Owner::new());
            let _stays = [1, 2].map(|value| groups.register(&resident, 1, value).unwrap());
            let theirs = groups.clone();
            let (seen, ()) = both(
                {
                    let groups = groups.clone();
                    move || {
                        let visit = groups.dispatch(&1, |entries| {
                            // To call back is allowed in any order of things.
                            assert!(groups.is_registered(&1) && groups.count() >= 2);
                            entries.iter().map(|e| *e.value()).collect::<Vec<_>>()
                        });
                        visit.unwrap()
                    }
                },
                move || {
                    drop(theirs.register(&visitor, 1, 9).unwrap());
                    theirs.register(&visitor, 2, 7).unwrap().detach();
                    drop(visitor);
                },
            );
            let residents: Vec<u8> = seen.iter().copied().filter(|&value| value < 9).collect();
            assert_eq!(residents, [1, 2]);
            assert!(seen.len() <= 3, "{seen:?}");
            assert!(!seen.contains(&7));
        }
    });
}

/// Takes the edges and asks: what the last answer of each key was.
fn replay(groups: &Groups, known: &mut [bool; 2]) {
    for key in groups.take_edges() {
        known[usize::from(key)] = groups.is_registered(&key);
    }
}

/// The rule that interest routing lives on: an edge is queued before what made it returns, or is seen, so whoever takes all
/// edges and then asks ends with the truth.
#[test]
fn p9_edges_taken_then_asked_give_the_truth() {
    interleaved(|| {
        for layout in LAYOUTS {
            let groups = groups(layout);
            let [first, second] = [Owner::new(), Owner::new()];
            let (theirs, asked) = (groups.clone(), groups.clone());
            let reader = move || {
                let mut known = [false; 2];
                replay(&asked, &mut known);
                replay(&asked, &mut known);
                known
            };
            let changes = move || {
                let guard = theirs.register(&first, 0, 1).unwrap();
                let queued = theirs.edges_pending();
                theirs.register(&second, 1, 1).unwrap().detach();
                drop(guard);
                drop(first);
                (queued, second)
            };
            let (mut known, (_, _second)) = both(reader, changes);
            replay(&groups, &mut known);
            assert_eq!(known, [false, true]);
            assert!(!groups.edges_pending());
        }
    });
}

/// First and last strictly take turns, with two owners that come and go.
#[test]
fn p9_each_first_and_each_last_is_seen_by_who_takes_at_once() {
    interleaved(|| {
        for layout in LAYOUTS {
            let groups = groups(layout);
            let come_and_go = |value| {
                let groups = groups.clone();
                move || drop(groups.register(&Owner::new(), 0, value).unwrap())
            };
            both(come_and_go(1), come_and_go(2));
            assert_eq!(
                groups.take_edges(),
                [0],
                "once, however often it came and went"
            );
            assert!(!groups.is_registered(&0));
            assert!(groups.is_bare(), "no row stays for an edge that was taken");
        }
    });
}

/// Nothing is seen as registered whose edge is not queued yet.
#[test]
fn p9_what_can_be_seen_has_its_edge_queued() {
    interleaved(|| {
        for layout in LAYOUTS {
            let groups = groups(layout);
            let owner = Arc::new(Owner::new());
            let (theirs, kept) = (groups.clone(), Arc::clone(&owner));
            both(
                move || theirs.register(&owner, 0, 1).unwrap().detach(),
                move || {
                    let seen = groups.is_registered(&0);
                    assert!(!seen || groups.edges_pending());
                },
            );
            drop(kept);
        }
    });
}

/// An owner is ended while two others register for it: each is refused or succeeds, and either way nothing stays, not
/// even where the refused one was the first of this owner in the shard, and the other came between.
#[test]
fn p3_who_registers_for_the_dying_is_told_or_buried() {
    interleaved(|| {
        for layout in LAYOUTS {
            let (groups, owner) = (groups(layout), Arc::new(Owner::new()));
            let late = [1, 2].map(|value| {
                let (groups, owner) = (groups.clone(), Arc::clone(&owner));
                thread::spawn(move || {
                    groups
                        .register(&owner, 1, value)
                        .map(|guard| guard.detach())
                })
            });
            owner.end();
            for thread in late {
                let outcome = thread.join().unwrap();
                let dead = OwnerDead { owner: owner.id() };
                assert!(outcome == Ok(()) || outcome == Err(dead));
            }
            assert_eq!(groups.count(), 0);
            assert_eq!(groups.register(&owner, 1, 3).unwrap_err().owner, owner.id());
            groups.take_edges();
            assert!(groups.is_bare() && owner.life().noted() == 0);
        }
    });
}

/// Who was told that an entry is registered finds it gone once the end has returned, also while the first of this owner in
/// the shard is still under way.
#[test]
fn p3_what_was_registered_is_gone_when_the_end_has_returned() {
    interleaved(|| {
        for layout in LAYOUTS {
            let (groups, owner) = (groups(layout), Arc::new(Owner::new()));
            let ended = Arc::new(AtomicBool::new(false));
            let late = [1, 2].map(|value| {
                let (groups, owner, ended) = (groups.clone(), owner.clone(), ended.clone());
                thread::spawn(move || {
                    let outcome = groups.register(&owner, 1, value);
                    let is_there = outcome.map(|guard| guard.detach()).is_ok();
                    thread::yield_now();
                    if is_there && ended.load(SeqCst) {
                        assert!(!groups.values(&1, owner.id()).contains(&value));
                    }
                })
            });
            owner.end();
            ended.store(true, SeqCst);
            late.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

/// Both comings of the key, and its going, are under one pointer or under two, and all that know it agree.
#[test]
fn p3_a_key_that_comes_and_goes_under_two_threads_leaves_nothing() {
    interleaved(|| {
        for layout in LAYOUTS {
            let groups = groups(layout);
            let come_and_go = |value| {
                let groups = groups.clone();
                move || {
                    let owner = Owner::new();
                    let first = groups.register(&owner, 1, value).unwrap();
                    groups.take_edges();
                    drop(first);
                    drop(groups.lookup_and_listen(1, 1).unwrap());
                    groups.register(&owner, 1, value).unwrap().detach();
                    assert!(groups.lookup(&1).is_some_and(|there| there.len() <= 2));
                }
            };
            both(come_and_go(1), come_and_go(2));
            groups.take_edges();
            assert!(groups.is_bare());
            assert_eq!((groups.count_keys(), groups.is_registered(&1)), (0, false));
        }
    });
}
