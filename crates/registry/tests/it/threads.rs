//! Several threads at once. They meet at barriers; no thread waits for time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use matryoshka_registry::{DuplicateRegistry, Owner, UniqueRegistry};

const THREADS: usize = 4;
const ROUNDS: usize = 200;

#[test]
fn p2_of_many_at_once_one_gets_the_name() {
    let names = UniqueRegistry::<usize, usize>::new();
    let barrier = Barrier::new(THREADS);
    let winners = Mutex::new(HashMap::<usize, Vec<usize>>::new());
    thread::scope(|scope| {
        for me in 0..THREADS {
            let (names, barrier, winners) = (&names, &barrier, &winners);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let owner = Owner::new();
                    barrier.wait();
                    let guard = names.register(&owner, round, me);
                    if guard.is_ok() {
                        winners.lock().unwrap().entry(round).or_default().push(me);
                    }
                    barrier.wait();
                    assert_eq!(
                        names.whereis(&round),
                        Some(winners.lock().unwrap()[&round][0])
                    );
                    barrier.wait();
                }
            });
        }
    });
    let winners = winners.into_inner().unwrap();
    assert_eq!(winners.len(), ROUNDS);
    assert!(winners.values().all(|winners| winners.len() == 1));
    assert_eq!(names.count(), 0);
}

#[test]
fn p3_an_owner_and_its_guards_may_die_at_the_same_time() {
    let groups = DuplicateRegistry::<u8, usize>::with_shards(1, Default::default());
    for _ in 0..ROUNDS {
        let owner = Owner::new();
        let guards: Vec<_> = (0..20)
            .map(|n| groups.register(&owner, 1, n).unwrap())
            .collect();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                drop(guards);
            });
            barrier.wait();
            drop(owner);
            assert_eq!(groups.count(), 0, "gone before the drop returned");
        });
    }
}

#[test]
fn p7_what_stays_is_in_every_snapshot_once_whatever_comes_and_goes() {
    let groups = Arc::new(DuplicateRegistry::<&str, usize>::new());
    let residents: Vec<_> = (0..10).map(|_| Owner::new()).collect();
    for (n, resident) in residents.iter().enumerate() {
        for filler in 0..100 {
            groups
                .register(resident, "a", 1_000 + filler)
                .unwrap()
                .detach();
        }
        groups.register(resident, "a", n).unwrap().detach();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let owner = Owner::new();
                        let guards: Vec<_> = (0..10)
                            .map(|n| groups.register(&owner, "a", 10_000 + n).unwrap())
                            .collect();
                        if round % 2 == 0 {
                            drop(owner);
                        }
                        drop(guards);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let entries = groups.lookup("a").unwrap();
                let residents = entries
                    .iter()
                    .map(|e| *e.value())
                    .filter(|&value| value < 1_000);
                assert!(residents.eq(0..10));
            }
        });
        visitors
            .into_iter()
            .for_each(|visitor| visitor.join().unwrap());
        done.store(true, SeqCst);
    });
    assert_eq!(groups.count(), 10 * 101);
}

#[test]
fn p9_whoever_replays_the_edges_knows_the_keys() {
    let groups = DuplicateRegistry::<usize, ()>::with_edges(|| ());
    let done = AtomicBool::new(false);
    let stay: Vec<Owner> = (0..THREADS).map(|_| Owner::new()).collect();
    let mut known = HashMap::new();
    thread::scope(|scope| {
        let threads: Vec<_> = stay
            .iter()
            .enumerate()
            .map(|(me, stay)| {
                let groups = &groups;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let owner = Owner::new();
                        let _both = [
                            groups.register(&owner, round % 7, ()).unwrap(),
                            groups.register(&owner, me, ()).unwrap(),
                        ];
                    }
                    groups.register(stay, me, ()).unwrap().detach();
                })
            })
            .collect();
        let replay = scope.spawn(|| {
            let mut known = HashMap::new();
            while !done.load(SeqCst) {
                known.extend(
                    groups
                        .take_edges()
                        .into_iter()
                        .map(|key| (key, groups.is_registered(&key))),
                );
            }
            known.extend(
                groups
                    .take_edges()
                    .into_iter()
                    .map(|key| (key, groups.is_registered(&key))),
            );
            known
        });
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        done.store(true, SeqCst);
        known = replay.join().unwrap();
    });
    for key in 0..7 {
        assert_eq!(
            known.get(&key).copied().unwrap_or(false),
            key < THREADS,
            "key {key}"
        );
    }
}
