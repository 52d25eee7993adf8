//! The locks of this crate, and the rule about them.
//!
//! **The locking rule.** Foreign code runs under no lock: neither closures, wakers, hooks and notices, nor what the user wrote
//! for keys and values, be it `Eq`, `Hash`, `Borrow`, `Clone` or `Drop`. So keys are hashed before a lock and compared
//! after it ([`rows`](crate::rows)), keys and entries are behind pointers and never cloned inside ([`list`](crate::list)),
//! and what a change takes out goes to who made it, to be dropped after the lock. Locks nest in one direction: a
//! shard of a table, then a shard of the directory of keys, then one leaf, which is the set of edges, the queue of a listener or what
//! an owner knows of itself. Two locks of the same kind are never held at once.
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

/// No foreign code runs inside, and ours leaves no change half done: should it panic all the same, the data is sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
