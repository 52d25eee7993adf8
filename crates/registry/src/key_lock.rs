//! Fair locks by key: first come, first served, with or without async.

mod queues;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;

use crate::RandomState;
use crate::shards::default_shards;
use crate::waiting::wait;
use queues::{Entered, Queues};

/// One lock for each key, there as long as somebody holds it or waits for it.
///
/// Who asks first gets it first. The lock is free when its guard is dropped, so also when its holder panics or is cancelled;
/// a waiter that gives up leaves the queue, and what was just granted to it passes on. Locks of different keys have nothing
/// to do with each other.
///
/// A lock is not re-entrant: who holds it and waits for it waits for itself. Ask with [`try_lock`](Self::try_lock) or a time
/// limit where that may be.
///
/// ```
/// use matryoshka_registry::KeyLocks;
/// use std::time::Duration;
///
/// let accounts = KeyLocks::new();
/// let guard = accounts.try_lock(7).expect("nobody else is here");
/// assert!(accounts.lock_timeout(7, Duration::from_millis(1)).is_err());
/// drop(guard);
/// let guard = accounts.lock_blocking(7); // in async code: accounts.lock(7).await
/// assert_eq!(*guard.key(), 7);
/// ```
pub struct KeyLocks<K, S = RandomState> {
    queues: Arc<Queues<K, S>>,
}

impl<K, S> Clone for KeyLocks<K, S> {
    fn clone(&self) -> Self {
        Self {
            queues: Arc::clone(&self.queues),
        }
    }
}

impl<K, S> fmt::Debug for KeyLocks<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLocks").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash> Default for KeyLocks<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash> KeyLocks<K> {
    /// All free.
    pub fn new() -> Self {
        Self::with_shards(default_shards(), RandomState::default())
    }
}

impl<K: Eq + Hash, S: BuildHasher> KeyLocks<K, S> {
    pub(crate) fn with_shards(shards: usize, hasher: S) -> Self {
        Self {
            queues: Arc::new(Queues::new(shards, hasher)),
        }
    }

    /// A future of the lock of `key`. It takes its place in the queue when it is first polled.
    pub fn lock(&self, key: K) -> Lock<K, S> {
        Lock {
            hash: self.queues.hash(&key),
            queues: Arc::clone(&self.queues),
            stage: Stage::New(key),
        }
    }

    /// The lock of `key` if it is free and nobody waits for it.
    pub fn try_lock(&self, key: K) -> Option<LockGuard<K, S>> {
        let hash = self.queues.hash(&key);
        let Entered::Held(key) = self.queues.enter(hash, key, None) else {
            return None;
        };
        let queues = Arc::clone(&self.queues);
        Some(LockGuard { queues, key, hash })
    }

    /// [`lock`](Self::lock), blocking the thread for as long as it takes. Not for async code.
    pub fn lock_blocking(&self, key: K) -> LockGuard<K, S> {
        let lock = wait(pin!(self.lock(key)), None);
        lock.expect("without a limit there is no giving up")
    }

    /// [`lock`](Self::lock), blocking the thread for at most `limit`. Not for async code.
    ///
    /// # Errors
    ///
    /// [`LockTimeout`] if others had it all the time. The caller does not wait any more.
    pub fn lock_timeout(&self, key: K, limit: Duration) -> Result<LockGuard<K, S>, LockTimeout> {
        wait(pin!(self.lock(key)), Some(limit)).ok_or(LockTimeout { limit })
    }
}

/// Others had the lock all the time. Nothing changed: try again, or do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the lock was not free within {limit:?}")]
pub struct LockTimeout {
    /// How long was waited.
    pub limit: Duration,
}

/// The future of a lock; see [`KeyLocks::lock`].
///
/// # Cancel safety
///
/// Dropped, it leaves the queue; if it was just granted the lock, the next one gets it.
#[must_use = "it takes the lock when it is awaited"]
pub struct Lock<K, S = RandomState> {
    queues: Arc<Queues<K, S>>,
    hash: u64,
    stage: Stage<K>,
}

enum Stage<K> {
    New(K),
    Waiting(Arc<K>, u64),
    Done,
}

impl<K, S> Unpin for Lock<K, S> {}

impl<K: Eq, S> Future for Lock<K, S> {
    type Output = LockGuard<K, S>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lock = self.get_mut();
        let (hash, waker) = (lock.hash, cx.waker().clone());
        let key = match mem::replace(&mut lock.stage, Stage::Done) {
            Stage::New(key) => match lock.queues.enter(hash, key, Some(waker)) {
                Entered::Held(key) => key,
                Entered::Queued(key, ticket) => {
                    lock.stage = Stage::Waiting(key, ticket);
                    return Poll::Pending;
                }
                Entered::Refused => unreachable!("who can be woken is queued"),
            },
            Stage::Waiting(key, ticket) => {
                if !lock.queues.is_granted(hash, &key, ticket, waker) {
                    lock.stage = Stage::Waiting(key, ticket);
                    return Poll::Pending;
                }
                key
            }
            Stage::Done => panic!("a lock is polled after it was given"),
        };
        let queues = Arc::clone(&lock.queues);
        Poll::Ready(LockGuard { queues, key, hash })
    }
}

impl<K, S> Drop for Lock<K, S> {
    fn drop(&mut self) {
        if let Stage::Waiting(key, ticket) = &self.stage {
            self.queues.cancel(self.hash, key, *ticket);
        }
    }
}

impl<K, S> fmt::Debug for Lock<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

/// Holds the lock of one key: dropped, the next one in the queue has it.
#[must_use = "dropping it lets go of the lock at once"]
pub struct LockGuard<K, S = RandomState> {
    queues: Arc<Queues<K, S>>,
    key: Arc<K>,
    hash: u64,
}

impl<K, S> LockGuard<K, S> {
    /// The key that is locked.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K, S> Drop for LockGuard<K, S> {
    fn drop(&mut self) {
        self.queues.release(self.hash, &self.key);
    }
}

impl<K: fmt::Debug, S> fmt::Debug for LockGuard<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests;
