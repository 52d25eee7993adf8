//! P7: whoever is called may call back, since no lock is held.

use std::cell::RefCell;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use matryoshka_registry::{DuplicateRegistry, Owner, Registration, ShardBy, UniqueRegistry};

#[test]
fn p7_dispatch_may_change_the_key_it_visits() {
    let groups = DuplicateRegistry::new();
    let owner = Owner::new();
    let guards: RefCell<Vec<Registration>> = RefCell::default();
    for n in 0..300 {
        guards
            .borrow_mut()
            .push(groups.register(&owner, "a", n).unwrap());
    }
    let mut seen = Vec::new();
    groups.dispatch("a", |entries| {
        for entry in entries {
            seen.push(*entry.value());
            drop(guards.borrow_mut().pop());
            groups.register(&owner, "a", 1_000).unwrap().detach();
            groups.dispatch("a", |now| assert!(!now.is_empty()));
            assert_eq!(groups.unregister_match(&owner, "a", |&n| n == 1_000), 1);
        }
    });
    assert!(seen.into_iter().eq(0..300), "exactly the snapshot");
    assert_eq!(groups.count(), 0);
}

#[test]
fn p7_an_update_may_read_what_it_changes() {
    let names = UniqueRegistry::new();
    let owner = Owner::new();
    let _guard = names.register(&owner, "a", 1).unwrap();
    let new = names.update_value(&owner, "a", |old| old + names.whereis("a").unwrap());
    assert_eq!(new, Some(2));
}

#[test]
fn p7_an_update_that_changes_the_same_value_runs_again() {
    let names = UniqueRegistry::new();
    let owner = Owner::new();
    let _guard = names.register(&owner, "a", 1).unwrap();
    let mut meddled = false;
    let new = names.update_value(&owner, "a", |old| {
        if !std::mem::replace(&mut meddled, true) {
            names.update_value(&owner, "a", |_| 10);
        }
        old + 1
    });
    assert_eq!((new, names.whereis("a")), (Some(11), Some(11)));
}

/// Looks into its registry when it is dropped.
#[derive(Clone)]
struct Nosy(DuplicateRegistry<u8, Option<std::sync::Arc<Nosy>>>);

impl Drop for Nosy {
    fn drop(&mut self) {
        let owner = Owner::new();
        drop(self.0.register(&owner, 1, None).unwrap());
        self.0.dispatch(&1, |_| ());
        self.0.count();
    }
}

#[test]
fn p7_values_may_use_the_registry_in_their_drop() {
    let groups = DuplicateRegistry::with_shards(1, Default::default());
    let owner = Owner::new();
    let nosy = || Some(std::sync::Arc::new(Nosy(groups.clone())));
    let single = groups.register(&owner, 1, nosy()).unwrap();
    drop(single);
    let guards: Vec<_> = (0..300)
        .map(|_| groups.register(&owner, 1, nosy()).unwrap())
        .collect();
    let snapshot = groups.lookup(&1);
    drop(guards);
    drop(snapshot);
    groups.register(&owner, 1, nosy()).unwrap().detach();
    groups.unregister(&owner, &1);
    groups.register(&owner, 1, nosy()).unwrap().detach();
    drop(owner);
    assert_eq!(groups.count(), 0);
}

#[test]
fn p7_the_notice_of_an_edge_may_take_it() {
    let taken = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let groups = std::sync::Arc::new(std::sync::OnceLock::<DuplicateRegistry<&str, ()>>::new());
    let registry = {
        let (taken, groups) = (taken.clone(), groups.clone());
        DuplicateRegistry::with_edges(move || {
            let groups = groups.get().unwrap();
            let edges = groups.take_edges().into_iter();
            taken
                .lock()
                .unwrap()
                .extend(edges.map(|key| (key, groups.is_registered(key))));
        })
    };
    assert!(groups.set(registry.clone()).is_ok());
    let owner = Owner::new();
    let first = registry.register(&owner, "a", ()).unwrap();
    let second = registry.register(&owner, "a", ()).unwrap();
    drop(first);
    drop(second);
    registry.register(&owner, "b", ()).unwrap().detach();
    drop(owner);
    let expected = [("a", true), ("a", false), ("b", true), ("b", false)];
    assert_eq!(*taken.lock().unwrap(), expected);
    assert!(!registry.edges_pending());
}

/// Everything that takes a lock, under a key of one shard: whoever calls it under that lock waits for himself.
fn meddle_with_names(names: &UniqueRegistry<&'static str, u32>, owner: &Owner) {
    drop(names.register(owner, "visitor", 0).unwrap());
    assert_eq!(names.whereis("a"), Some(1));
    names.count();
    drop(names.snapshot_and_listen(1).unwrap());
}

#[test]
fn p7_the_closures_of_names_may_do_anything() {
    let names = UniqueRegistry::with_shards(1, Default::default());
    let owner = Owner::new();
    let _name = names.register(&owner, "a", 1).unwrap();
    let meddle = || meddle_with_names(&names, &owner);
    let mut calls = 0;
    let mut called = || {
        meddle();
        calls += 1;
    };
    names.match_value("a", |_| {
        called();
        true
    });
    names.select(|_, _| {
        called();
        Some(())
    });
    names.count_select(|_, _| {
        called();
        true
    });
    names.update_value(&owner, "a", |old| {
        called();
        *old
    });
    assert_eq!(calls, 4);
    let removed = names.unregister_match(&owner, "a", |_| {
        meddle();
        true
    });
    assert!(removed);
}

fn meddle_with_groups(groups: &DuplicateRegistry<&'static str, u32>, owner: &Owner) {
    drop(groups.register(owner, "a", 9).unwrap());
    groups.dispatch("a", |entries| assert_eq!(entries.len(), 2));
    groups.count();
    drop(groups.snapshot_and_listen(1).unwrap());
}

#[test]
fn p7_the_closures_of_groups_may_do_anything() {
    for shard_by in [ShardBy::Key, ShardBy::Owner] {
        let builder = DuplicateRegistry::builder().shards(1).shard_by(shard_by);
        let groups = builder.build().unwrap();
        let owner = Owner::new();
        let _both = [1, 2].map(|value| groups.register(&owner, "a", value).unwrap());
        let calls = std::cell::Cell::new(0);
        let takes = |_: &u32| {
            meddle_with_groups(&groups, &owner);
            calls.set(calls.get() + 1);
            true
        };
        assert_eq!(groups.match_values("a", takes).len(), 2);
        assert_eq!(groups.count_match("a", takes), 2);
        groups.select(|_, entry| takes(entry.value()).then_some(()));
        groups.count_select(|_, entry| takes(entry.value()));
        groups.dispatch_parallel("a", |_| {
            groups.count();
        });
        assert_eq!(groups.unregister_match(&owner, "a", takes), 2);
        assert_eq!(calls.get(), 10);
    }
}

/// Looks into a registry when it is woken.
struct Looks {
    groups: DuplicateRegistry<&'static str, u32>,
    seen: mpsc::Sender<usize>,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        drop(self.groups.register(&Owner::new(), "a", 0).unwrap());
        self.seen.send(self.groups.count_key("a")).unwrap();
    }
}

#[test]
fn p7_who_is_woken_may_look_at_once() {
    let groups = DuplicateRegistry::with_shards(1, Default::default());
    let (seen, looks) = mpsc::channel();
    let waker = Waker::from(Arc::new(Looks {
        groups: groups.clone(),
        seen,
    }));
    let mut listener = groups.listen(1_000).unwrap();
    let owner = Owner::new();
    let mut wait = || {
        while listener
            .poll_recv(&mut Context::from_waker(&waker))
            .is_ready()
        {}
    };
    wait();
    let guard = groups.register(&owner, "a", 1).unwrap();
    assert_eq!(looks.try_recv(), Ok(1), "when it came");
    wait();
    drop(guard);
    assert_eq!(looks.try_recv(), Ok(0), "when it went");
    groups.register(&owner, "a", 1).unwrap().detach();
    wait();
    drop(owner);
    assert_eq!(looks.try_recv(), Ok(0), "when its owner died");
}

/// Nobody waits that long for a lock that nobody holds.
const LONG: Duration = Duration::from_secs(60);

/// Runs `change` in another thread, which has to be done while the caller is in the midst of user code.
fn meanwhile(change: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        change();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(LONG).expect("it waits for user code");
}

#[test]
fn p7_readers_and_writers_wait_for_no_user_code() {
    let groups: DuplicateRegistry<u8, u8> = DuplicateRegistry::with_shards(1, Default::default());
    let names: UniqueRegistry<u8, u8> = UniqueRegistry::with_shards(1, Default::default());
    let owner = Owner::new();
    let (_group, _name) = (
        groups.register(&owner, 1, 1).unwrap(),
        names.register(&owner, 1, 1).unwrap(),
    );
    let others = || {
        let (groups, names) = (groups.clone(), names.clone());
        meanwhile(move || {
            let owner = Owner::new();
            drop(groups.register(&owner, 1, 2).unwrap());
            groups.dispatch(&1, |entries| assert!(!entries.is_empty()));
            drop(names.register(&owner, 2, 2).unwrap());
            assert_eq!(names.whereis(&1), Some(1));
        });
        true
    };
    groups.dispatch(&1, |_| others());
    groups.count_match(&1, |_| others());
    groups.count_select(|_, _| others());
    names.count_select(|_, _| others());
    names.update_value(&owner, &1, |old| {
        others();
        *old
    });
    groups.unregister_match(&owner, &1, |_| others());
}

#[test]
fn p7_a_lock_is_granted_to_who_may_look_at_once() {
    let groups = DuplicateRegistry::with_shards(1, Default::default());
    let (seen, looks) = mpsc::channel();
    let waker = Waker::from(Arc::new(Looks {
        groups: groups.clone(),
        seen,
    }));
    let held = groups.locks().try_lock("a").unwrap();
    let mut next = Box::pin(groups.locks().lock("a"));
    let mut poll = || next.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    drop(held);
    assert_eq!(looks.try_recv(), Ok(0));
    assert!(matches!(poll(), Poll::Ready(_)));
}
