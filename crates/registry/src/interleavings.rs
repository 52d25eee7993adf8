//! Short histories of two or three threads, each tried under very many orders of what happens at the locks.
//!
//! Each history is a property that must hold in every order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use shuttle::{check_pct, check_random, thread};

mod groups;
mod listeners;
mod names;

/// Orders tried at random, and again with few changes between threads, which finds what needs a long run of one of them.
const ORDERS: usize = 400;

/// Changes between threads, at most, in the second half.
const CHANGES: usize = 3;

/// Tries a history in many orders.
pub(crate) fn interleaved(history: impl Fn() + Send + Sync + 'static) {
    let history = Arc::new(history);
    let again = Arc::clone(&history);
    check_random(move || history(), ORDERS);
    check_pct(move || again(), ORDERS, CHANGES);
}

/// Runs what has no second thread: it only needs shuttle's locks to work.
pub(crate) fn once(history: impl Fn() + Send + Sync + 'static) {
    check_random(history, 1);
}

/// Runs both at once, and returns what they return.
fn both<A, B>(
    first: impl FnOnce() -> A + Send + 'static,
    second: impl FnOnce() -> B + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let other = thread::spawn(second);
    let one = first();
    (one, other.join().expect("its panic was reported"))
}

/// A tool that tries one order only would find nothing: here the two ends of a race are both seen.
#[test]
fn both_outcomes_of_a_race_are_tried() {
    let seen = [const { AtomicUsize::new(0) }; 2];
    let seen = Arc::new(seen);
    let counted = Arc::clone(&seen);
    interleaved(move || {
        let names = crate::UniqueRegistry::<u8, ()>::with_shards(1, Default::default());
        let other = names.clone();
        let take = |names: crate::UniqueRegistry<u8, ()>| {
            move || {
                let owner = crate::Owner::new();
                let won = names
                    .register(&owner, 1, ())
                    .map(|guard| guard.detach())
                    .is_ok();
                (won, owner)
            }
        };
        let ((won, _first), (_, _second)) = both(take(names), take(other));
        counted[usize::from(won)].fetch_add(1, SeqCst);
    });
    assert!(seen.iter().all(|count| count.load(SeqCst) > 0));
}
