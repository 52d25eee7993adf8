//! What listeners hear, and what nobody suffers by them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use matryoshka_registry::{
    Change, DuplicateRegistry, Listener, Owner, Reason, UniqueRegistry, ZeroBound,
};

/// What a change says, in short.
fn told(change: Change<&'static str, u32>) -> (char, &'static str, u32) {
    match change {
        Change::Registered { key, entry } => ('+', *key, *entry.value()),
        Change::Updated { key, entry } => ('=', *key, *entry.value()),
        Change::Unregistered { key, entry, reason } => match reason {
            Reason::Explicit => ('-', *key, *entry.value()),
            Reason::OwnerDied => ('x', *key, *entry.value()),
            Reason::Replaced => ('r', *key, *entry.value()),
        },
        Change::Resync(snapshot) => ('?', "", snapshot.len() as u32),
    }
}

fn all(listener: &mut Listener<&'static str, u32>) -> Vec<(char, &'static str, u32)> {
    std::iter::from_fn(|| listener.try_recv())
        .map(told)
        .collect()
}

#[test]
fn names_tell_of_coming_updating_and_going_with_the_reason() {
    let (names, owner) = (UniqueRegistry::new(), Owner::new());
    let mut listener = names.listen(10).unwrap();
    let guard = names.register(&owner, "a", 1).unwrap();
    assert!(
        names.register(&owner, "a", 9).is_err(),
        "a refusal is no change"
    );
    names.update_value(&owner, "a", |_| 2);
    drop(guard);
    names.register(&owner, "a", 3).unwrap().detach();
    names.unregister(&owner, "a");
    names.unregister(&owner, "a");
    names.register(&owner, "a", 4).unwrap().detach();
    drop(owner);
    let expected = [
        ('+', "a", 1),
        ('=', "a", 2),
        ('-', "a", 2),
        ('+', "a", 3),
        ('-', "a", 3),
        ('+', "a", 4),
        ('x', "a", 4),
    ];
    assert_eq!(all(&mut listener), expected);
}

#[test]
fn groups_tell_of_each_entry() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let mut listener = groups.listen(10).unwrap();
    for value in 1..=4 {
        groups.register(&owner, "a", value).unwrap().detach();
    }
    groups.unregister_match(&owner, "a", |&value| value % 2 == 0);
    groups.unregister(&owner, "b");
    drop(owner);
    let tail = &all(&mut listener)[4..];
    assert_eq!(
        tail,
        [('-', "a", 2), ('-', "a", 4), ('x', "a", 1), ('x', "a", 3)]
    );
}

#[test]
fn lookup_and_listen_gives_what_is_there_and_what_comes_of_that_key() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let _first = groups.register(&owner, "a", 1).unwrap();
    let (snapshot, mut listener) = groups.lookup_and_listen("a", 10).unwrap();
    let there: Vec<_> = snapshot.iter().map(|(key, e)| (*key, *e.value())).collect();
    assert_eq!(there, [("a", 1)]);
    let _others =
        [("b", 2), ("a", 3)].map(|(key, value)| groups.register(&owner, key, value).unwrap());
    assert_eq!(all(&mut listener), [('+', "a", 3)]);
    let (empty, _listener) = groups.lookup_and_listen("c", 10).unwrap();
    assert!(empty.is_empty());
}

#[test]
fn past_its_bound_a_listener_gets_one_resync_and_then_every_later_change() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let mut listener = groups.listen(3).unwrap();
    for value in 0..10 {
        groups.register(&owner, "a", value).unwrap().detach();
    }
    assert_eq!(listener.try_recv().map(told), Some(('?', "", 10)));
    let _more = groups.register(&owner, "b", 11).unwrap();
    assert_eq!(all(&mut listener), [('+', "b", 11)]);
}

#[test]
fn a_listener_at_its_bound_misses_nothing() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let mut listener = groups.listen(3).unwrap();
    for value in 0..3 {
        groups.register(&owner, "a", value).unwrap().detach();
    }
    assert_eq!(
        all(&mut listener),
        [('+', "a", 0), ('+', "a", 1), ('+', "a", 2)]
    );
}

#[test]
fn one_that_lags_costs_the_others_nothing() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let (mut slow, mut fast) = (groups.listen(1).unwrap(), groups.listen(10).unwrap());
    for value in 0..3 {
        groups.register(&owner, "a", value).unwrap().detach();
    }
    assert_eq!(
        all(&mut fast),
        [('+', "a", 0), ('+', "a", 1), ('+', "a", 2)]
    );
    assert_eq!(all(&mut slow), [('?', "", 3)]);
}

#[test]
fn several_who_listen_to_the_same_are_all_told_and_leave_one_by_one() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let listen = || {
        let (_, to_key) = groups.lookup_and_listen("a", 10).unwrap();
        [groups.listen(10).unwrap(), to_key]
    };
    let (first, mut second) = (listen(), listen());
    let guard = groups.register(&owner, "a", 1).unwrap();
    for mut listener in first {
        assert_eq!(all(&mut listener), [('+', "a", 1)]);
    }
    drop(guard);
    for listener in &mut second {
        assert_eq!(all(listener), [('+', "a", 1), ('-', "a", 1)]);
    }
}

#[test]
fn a_dropped_listener_is_told_nothing_and_keeps_nothing() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let value = Arc::new(());
    let listeners = [
        groups.listen(10).unwrap(),
        groups.lookup_and_listen("a", 10).unwrap().1,
    ];
    drop(groups.register(&owner, "a", Arc::clone(&value)).unwrap());
    assert!(Arc::strong_count(&value) > 1, "it waits to be heard");
    drop(listeners);
    drop(groups.register(&owner, "a", Arc::clone(&value)).unwrap());
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn r1_r33_zero_bounds_are_refused() {
    let (names, groups) = (
        UniqueRegistry::<u8, u8>::new(),
        DuplicateRegistry::<u8, u8>::new(),
    );
    let refused = names.listen(0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the number of changes that may wait must be at least 1, and 0 was given"
    );
    assert_eq!(
        groups.lookup_and_listen(1, 0).map(drop).unwrap_err(),
        refused
    );
    let shards = DuplicateRegistry::<u8, u8>::builder().shards(0).build();
    assert_eq!(
        shards.unwrap_err(),
        ZeroBound {
            what: "the number of shards"
        }
    );
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn who_waits_is_woken_by_a_change_and_by_the_end() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let mut listener = groups.listen(10).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(pin!(listener.recv()).poll(&mut cx).is_pending());
    groups.register(&owner, "a", 1).unwrap().detach();
    assert_eq!(woken.0.load(SeqCst), 1);
    assert!(matches!(listener.poll_recv(&mut cx), Poll::Ready(Some(_))));
    assert!(listener.poll_recv(&mut cx).is_pending());
    drop(groups);
    assert_eq!(woken.0.load(SeqCst), 2);
    assert!(matches!(listener.poll_recv(&mut cx), Poll::Ready(None)));
}

#[test]
fn who_waits_is_woken_by_a_death() {
    let (groups, names) = (DuplicateRegistry::new(), UniqueRegistry::new());
    let owner = Owner::new();
    groups.register(&owner, "a", 1).unwrap().detach();
    names.register(&owner, "a", 1).unwrap().detach();
    let mut listeners = [groups.listen(10).unwrap(), names.listen(10).unwrap()];
    let woken = [(); 2].map(|()| Arc::new(Woken::default()));
    for (listener, woken) in listeners.iter_mut().zip(&woken) {
        let waker = Waker::from(Arc::clone(woken));
        let poll = listener.poll_recv(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
    }
    drop(owner);
    assert_eq!(woken.map(|woken| woken.0.load(SeqCst)), [1, 1]);
}

#[test]
fn what_was_told_is_heard_even_after_the_registry_is_gone() {
    let (names, owner) = (UniqueRegistry::new(), Owner::new());
    let mut listener = names.listen(10).unwrap();
    names.register(&owner, "a", 1).unwrap().detach();
    drop(names);
    assert_eq!(
        listener.recv_timeout(Duration::ZERO).unwrap().map(told),
        Some(('+', "a", 1))
    );
    assert!(listener.recv_timeout(Duration::ZERO).unwrap().is_none());
}

#[test]
fn a_thread_may_wait_for_a_change_and_gives_up_in_time() {
    let (groups, owner) = (DuplicateRegistry::new(), Owner::new());
    let mut listener = groups.listen(10).unwrap();
    assert!(listener.recv_timeout(Duration::from_millis(1)).is_err());
    thread::scope(|scope| {
        let waiting = scope.spawn(move || listener.recv_timeout(Duration::from_secs(60)));
        groups.register(&owner, "a", 1).unwrap().detach();
        let change = waiting.join().unwrap().expect("a change came");
        assert_eq!(change.map(told), Some(('+', "a", 1)));
    });
}

/// Threads that come and go under few keys, and two listeners, one of which falls behind all the time.
#[test]
fn p8_replayed_from_the_start_the_changes_give_the_content() {
    let groups = DuplicateRegistry::<u32, u32>::new();
    for bound in [2, 100_000] {
        let (_, mut listener) = groups.snapshot_and_listen(bound).unwrap();
        let mut known = BTreeMap::<(u32, u32), i64>::new();
        let stay: Vec<Owner> = thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|me| {
                    let groups = &groups;
                    scope.spawn(move || {
                        let stays = Owner::new();
                        for round in 0..100 {
                            let goes = Owner::new();
                            groups.register(&goes, round % 5, me).unwrap().detach();
                            drop(groups.register(&stays, round % 3, me).unwrap());
                            groups.register(&stays, round % 7, me).unwrap().detach();
                        }
                        stays
                    })
                })
                .collect();
            for _ in 0..1_000 {
                hear(&mut listener, &mut known);
            }
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        hear(&mut listener, &mut known);
        let mut truth = BTreeMap::new();
        groups.select(|key, entry| {
            *truth.entry((*key, *entry.value())).or_default() += 1;
            None::<()>
        });
        assert_eq!(known, truth);
        assert_eq!(groups.count(), 300);
        drop(stay);
    }
}

fn hear(listener: &mut Listener<u32, u32>, known: &mut BTreeMap<(u32, u32), i64>) {
    while let Some(change) = listener.try_recv() {
        let (fact, by) = match change {
            Change::Registered { key, entry } => ((*key, *entry.value()), 1),
            Change::Unregistered { key, entry, .. } => ((*key, *entry.value()), -1),
            Change::Updated { .. } => continue,
            Change::Resync(snapshot) => {
                known.clear();
                for (key, entry) in snapshot.iter() {
                    *known.entry((*key, *entry.value())).or_default() += 1;
                }
                continue;
            }
        };
        *known.entry(fact).or_default() += by;
        known.retain(|_, count| *count != 0);
    }
}
