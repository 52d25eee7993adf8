//! P10: one at a time, first come first served, and no grant lost, under many orders and any cancellation.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use proptest::sample::Index;
use shuttle::{future::block_on, thread};

use super::{KeyLocks, Lock, LockGuard};
use crate::interleavings::{interleaved, once};

type Locks = KeyLocks<u8>;

fn locks() -> Locks {
    Locks::with_shards(1, Default::default())
}

/// Panics if two are inside.
fn inside(busy: &AtomicUsize) {
    assert_eq!(busy.fetch_add(1, SeqCst), 0, "somebody is inside already");
    thread::yield_now();
    busy.fetch_sub(1, SeqCst);
}

#[test]
fn p10_three_threads_are_never_inside_together_and_all_get_in() {
    interleaved(|| {
        let (locks, busy) = (locks(), Arc::new(AtomicUsize::new(0)));
        let threads = [0, 1, 2].map(|way| {
            let (locks, busy) = (locks.clone(), Arc::clone(&busy));
            thread::spawn(move || {
                let guard = match way {
                    0 => locks.lock_blocking(1),
                    _ => block_on(locks.lock(1)),
                };
                inside(&busy);
                drop(guard);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(locks.queues.is_empty(), "a free lock leaves nothing behind");
    });
}

/// A waiter that is cancelled while the lock is let go, just before, or just after: the one behind gets in.
#[test]
fn p10_a_grant_to_one_who_gives_up_passes_on() {
    interleaved(|| {
        let locks = locks();
        let held = locks.try_lock(1).unwrap();
        let mut quitter = Box::pin(locks.lock(1));
        assert!(poll(quitter.as_mut()).is_pending());
        let behind = {
            let locks = locks.clone();
            thread::spawn(move || drop(block_on(locks.lock(1))))
        };
        let letting_go = thread::spawn(move || drop(held));
        drop(quitter);
        letting_go.join().unwrap();
        behind.join().expect("it got in");
        assert!(locks.queues.is_empty());
    });
}

/// R29.
#[test]
fn p10_locks_of_different_keys_are_strangers() {
    once(|| {
        let locks = locks();
        let one = locks.try_lock(1).unwrap();
        let two = locks.try_lock(2).unwrap();
        assert!(locks.try_lock(1).is_none() && locks.try_lock(2).is_none());
        drop((one, two));
        assert!(locks.queues.is_empty());
    });
}

struct Silent;

impl Wake for Silent {
    fn wake(self: Arc<Self>) {}
}

fn poll(lock: Pin<&mut Lock<u8>>) -> Poll<LockGuard<u8>> {
    lock.poll(&mut Context::from_waker(&Waker::from(Arc::new(Silent))))
}

#[derive(Clone, Debug)]
enum Step {
    /// Somebody new asks.
    Ask,
    /// One who waits asks again.
    Poll(Index),
    /// One who waits gives up.
    Cancel(Index),
    LetGo,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Ask),
        3 => any::<Index>().prop_map(Step::Poll),
        2 => any::<Index>().prop_map(Step::Cancel),
        3 => Just(Step::LetGo),
    ]
}

/// The queue as it should be: who waits, in order, with its future; the first has the lock as soon as it is free.
#[derive(Default)]
struct Queue {
    waiting: Vec<Pin<Box<Lock<u8>>>>,
    guard: Option<LockGuard<u8>>,
}

impl Queue {
    fn step(&mut self, locks: &Locks, step: &Step) {
        let free = self.guard.is_none() && self.waiting.is_empty();
        match step {
            Step::Ask => {
                let mut lock = Box::pin(locks.lock(1));
                match poll(lock.as_mut()) {
                    Poll::Ready(guard) => {
                        assert!(free, "it was not free");
                        self.guard = Some(guard);
                    }
                    Poll::Pending => {
                        assert!(!free, "it was free");
                        self.waiting.push(lock);
                    }
                }
            }
            Step::Poll(at) if !self.waiting.is_empty() => {
                let at = at.index(self.waiting.len());
                let first = at == 0 && self.guard.is_none();
                match poll(self.waiting[at].as_mut()) {
                    Poll::Ready(guard) => {
                        assert!(first, "not its turn");
                        drop(self.waiting.remove(0));
                        self.guard = Some(guard);
                    }
                    Poll::Pending => assert!(!first, "a lost grant"),
                }
            }
            Step::Cancel(at) if !self.waiting.is_empty() => {
                drop(self.waiting.remove(at.index(self.waiting.len())));
            }
            Step::LetGo => self.guard = None,
            Step::Poll(_) | Step::Cancel(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn p10_any_history_is_a_queue(steps in prop::collection::vec(step(), 1..60)) {
        once(move || {
            let locks = locks();
            let mut queue = Queue::default();
            steps.iter().for_each(|step| queue.step(&locks, step));
            drop(queue);
            assert!(locks.queues.is_empty());
        });
    }
}
