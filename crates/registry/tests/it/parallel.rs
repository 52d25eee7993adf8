//! R21: one giant key, visited by several threads.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use matryoshka_registry::{DuplicateRegistry, Owner, ShardBy};

const ENTRIES: usize = 1_000;

fn crowd(shard_by: ShardBy) -> (DuplicateRegistry<&'static str, usize>, Vec<Owner>) {
    let groups = DuplicateRegistry::builder().shards(8).shard_by(shard_by);
    let groups = groups.build().unwrap();
    let owners: Vec<Owner> = (0..ENTRIES).map(|_| Owner::new()).collect();
    for (n, owner) in owners.iter().enumerate() {
        groups.register(owner, "a", n).unwrap().detach();
    }
    (groups, owners)
}

#[test]
fn r21_every_entry_is_visited_once_in_parts() {
    for shard_by in [ShardBy::Key, ShardBy::Owner] {
        let (groups, _owners) = crowd(shard_by);
        let seen = Mutex::new(Vec::new());
        let parts = groups.dispatch_parallel("a", |entries| {
            let part: Vec<usize> = entries.iter().map(|entry| *entry.value()).collect();
            seen.lock().unwrap().extend(part);
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..ENTRIES));
        assert_eq!(parts, groups.parts("a").len());
        assert_eq!(parts > 1, shard_by == ShardBy::Owner, "{parts} parts");
    }
}

#[test]
fn r21_one_part_is_visited_in_the_caller() {
    let (groups, _owners) = crowd(ShardBy::Key);
    let here = thread::current().id();
    groups.dispatch_parallel("a", |_| assert_eq!(thread::current().id(), here));
}

#[test]
fn all_entries_of_an_owner_are_in_one_part_in_their_order() {
    let (groups, owners) = crowd(ShardBy::Owner);
    for owner in owners.iter().take(10) {
        groups.register(owner, "a", ENTRIES).unwrap().detach();
    }
    let mut at = HashSet::new();
    for (index, part) in groups.parts("a").iter().enumerate() {
        for owner in owners.iter().take(10) {
            let own = part.iter().filter(|entry| entry.owner() == owner.id());
            let own: Vec<usize> = own.map(|entry| *entry.value()).collect();
            assert!(own.is_empty() || own.len() == 2 && own[1] == ENTRIES);
            at.extend((!own.is_empty()).then_some((owner.id(), index)));
        }
    }
    assert_eq!(at.len(), 10);
}

#[test]
fn a_panic_in_one_part_reaches_the_caller_after_the_others_were_visited() {
    let (groups, _owners) = crowd(ShardBy::Owner);
    let (calls, parts) = (AtomicUsize::new(0), groups.parts("a").len());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        groups.dispatch_parallel("a", |_| {
            assert!(calls.fetch_add(1, SeqCst) != 0, "the first")
        });
    }));
    assert!(outcome.is_err());
    assert_eq!(calls.load(SeqCst), parts);
}
