//! R29 to R31: fair locks, as a future and blocking. What many orders and any cancellation do to them is tried inside the crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use matryoshka_registry::{KeyLocks, Lock, LockGuard, LockTimeout, Owner, UniqueRegistry};

/// Long enough to be over only when something is broken.
const NEVER: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll<K: Eq + Clone>(lock: &mut Lock<K>, woken: &Arc<Woken>) -> Poll<LockGuard<K>> {
    let waker = Waker::from(Arc::clone(woken));
    Pin::new(lock).poll(&mut Context::from_waker(&waker))
}

#[test]
fn r29_different_keys_are_held_at_once() {
    let names = UniqueRegistry::<&str, ()>::new();
    let one = names.locks().lock_blocking("one");
    let two = names.locks().lock_timeout("two", NEVER).unwrap();
    assert_eq!((one.key(), two.key()), (&"one", &"two"));
}

#[test]
fn r29_locks_and_entries_are_strangers() {
    let (names, owner) = (UniqueRegistry::<&str, ()>::new(), Owner::new());
    let _lock = names.locks().try_lock("a").unwrap();
    let _name = names.register(&owner, "a", ()).unwrap();
    assert!(
        names.clone().locks().try_lock("a").is_none(),
        "a handle means the same locks"
    );
}

#[test]
fn r30_the_second_waits_and_is_woken() {
    let (locks, woken) = (KeyLocks::new(), Arc::new(Woken::default()));
    let held = locks.try_lock(1).unwrap();
    let mut second = locks.lock(1);
    assert!(poll(&mut second, &woken).is_pending());
    assert_eq!(woken.0.load(SeqCst), 0);
    drop(held);
    assert_eq!(woken.0.load(SeqCst), 1);
    assert!(locks.try_lock(1).is_none(), "it is the second's already");
    assert!(poll(&mut second, &woken).is_ready());
}

#[test]
fn r30_a_blocked_thread_goes_on_when_the_lock_is_free() {
    let locks = KeyLocks::new();
    let held = locks.try_lock(1).unwrap();
    let (asked, asks) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            asked.send(()).unwrap();
            drop(locks.lock_timeout(1, NEVER).expect("it is let go"));
        });
        asks.recv_timeout(NEVER).unwrap();
        drop(held);
        waiter.join().unwrap();
    });
    assert!(locks.try_lock(1).is_some());
}

#[test]
fn r31_a_panicking_holder_lets_go() {
    let locks = KeyLocks::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _guard = locks.lock_blocking(1);
        panic!("the holder fails");
    }));
    assert!(outcome.is_err());
    assert!(locks.try_lock(1).is_some());
}

#[test]
fn r31_a_waiter_that_gives_up_is_skipped() {
    let (locks, woken) = (KeyLocks::new(), Arc::new(Woken::default()));
    let held = locks.try_lock(1).unwrap();
    let [mut quits, mut granted, mut last] = [(); 3].map(|()| locks.lock(1));
    for lock in [&mut quits, &mut granted, &mut last] {
        assert!(poll(lock, &woken).is_pending());
    }
    drop(quits);
    drop(held);
    drop(granted); // It had the lock, and never knew.
    let Poll::Ready(guard) = poll(&mut last, &woken) else {
        panic!("a grant was lost");
    };
    assert!(locks.try_lock(1).is_none());
    drop(guard);
    assert!(locks.try_lock(1).is_some());
}

#[test]
fn a_time_limit_ends_the_wait_and_leaves_the_queue() {
    let locks = KeyLocks::new();
    let held = locks.try_lock("a").unwrap();
    let limit = Duration::from_millis(1);
    let late = locks.lock_timeout("a", limit).unwrap_err();
    assert_eq!(late, LockTimeout { limit });
    drop(held);
    assert!(
        locks.try_lock("a").is_some(),
        "nothing was granted to who went"
    );
}

#[test]
fn a_lock_is_not_reentrant_and_says_so_by_time_limit() {
    let locks = KeyLocks::new();
    let _held = locks.lock_blocking(1);
    assert!(locks.try_lock(1).is_none());
    assert!(locks.lock_timeout(1, Duration::ZERO).is_err());
}
