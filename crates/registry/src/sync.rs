//! The locks of this crate, and the rule about them.
//!
//! **The locking rule.** Foreign code runs under no lock: closures, wakers, notices, and the `Drop` of keys and values run
//! after the lock is gone, which is why changes hand back what they replaced. Excepted are `Eq`, `Hash` and `Clone` of keys
//! and `Clone` of the values of groups, which must neither panic nor call back. Locks nest in one direction: a shard of a
//! table, then a shard of the directory of keys, then one leaf, which is the set of edges or the queue of a listener. Two
//! locks of the same kind are never held at once, and what an owner knows of itself is locked alone.
//!
//! The unit tests of this crate run on shuttle's locks, so that every interleaving at them can be tried; everybody else gets
//! the standard library's.

#[cfg(not(test))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

#[cfg(test)]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use std::sync::PoisonError;

/// No change is left half done by a panic (a value's `Clone` is the only foreign code that runs inside),
/// so a poisoned lock guards sound data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
