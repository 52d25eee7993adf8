//! What every reader of the lists goes through, under a model checker: every interleaving of a few threads with at most five preemptions.
//!
//! Its own source is compiled here a second time, with loom's locks and atomics in the place of the standard ones.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use left_right::LeftRight;

mod sync {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::{
        Mutex, RwLock, RwLockReadGuard,
        atomic::{AtomicUsize, Ordering},
    };
}

#[path = "../../src/left_right.rs"]
mod left_right;

/// Most places where one thread takes over from another that could go on.
const PREEMPTIONS: usize = 5;

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(run);
}

fn now(value: &LeftRight<usize>) -> usize {
    value.read(|value| *value)
}

#[test]
fn what_a_reader_sees_never_goes_back() {
    model(|| {
        let value = Arc::new(LeftRight::<usize>::default());
        let written = Arc::clone(&value);
        let writing = thread::spawn(move || {
            for _ in 0..2 {
                written.write(|value| *value += 1);
            }
        });
        let (first, second) = (now(&value), now(&value));
        assert!(first <= second, "{first}, then {second}");
        writing.join().unwrap();
        assert_eq!(now(&value), 2);
    });
}

#[test]
fn whoever_hears_of_a_change_sees_it() {
    model(|| {
        let value = Arc::new(LeftRight::<usize>::default());
        let heard = Arc::new(AtomicUsize::new(0));
        let (written, told) = (Arc::clone(&value), Arc::clone(&heard));
        let writing = thread::spawn(move || {
            for change in 1..=2 {
                written.write(|value| *value = change);
                told.store(change, Ordering::Release);
            }
        });
        let heard = heard.load(Ordering::Acquire);
        assert!(now(&value) >= heard);
        writing.join().unwrap();
    });
}

#[test]
fn two_writers_change_both_sides_in_one_order() {
    fn append(value: &LeftRight<usize>, digit: usize) {
        value.write(|value| *value = 10 * *value + digit);
    }
    model(|| {
        let value = Arc::new(LeftRight::<usize>::default());
        let other = Arc::clone(&value);
        let writing = thread::spawn(move || append(&other, 1));
        append(&value, 2);
        writing.join().unwrap();
        let [first, second] = value.write(|value| *value);
        assert!(
            first == second && [12, 21].contains(&first),
            "{first}, {second}"
        );
    });
}
