//! A value of which there are two copies, so that reading it never waits: the technique is known as left-right.
//!
//! Readers look at the side that is shown. A writer changes the hidden side, shows it, and then does the same to the other one. So it
//! holds only a side that nobody is sent to any more, wherever it stops in the midst. A reader tries, and tries again only if a
//! whole change was shown since it began. Its cost is that of a lock that is free.
//!
//! Atomic pointers to shared values would need one copy only, but are not to be had without `unsafe`, be it ours or another crate's.

use std::sync::{PoisonError, TryLockError};

use super::sync::{AtomicUsize, Mutex, Ordering, RwLock, RwLockReadGuard, spin_loop};

/// A value that is read by many and written now and then.
#[derive(Debug, Default)]
pub(crate) struct LeftRight<T> {
    sides: [RwLock<T>; 2],
    /// Which side readers look at.
    shown: AtomicUsize,
    /// Whose turn it is to write.
    turn: Mutex<()>,
}

impl<T> LeftRight<T> {
    /// Reads the value as it was last shown. Waits for nobody; a writer waits meanwhile, so this is to be short.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.shown())
    }

    fn shown(&self) -> RwLockReadGuard<'_, T> {
        loop {
            let shown = self.shown.load(Ordering::Acquire);
            let side = match self.sides[shown].try_read() {
                Ok(side) => Some(side),
                Err(TryLockError::Poisoned(side)) => Some(side.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            // Hidden meanwhile, it may have been ahead of what is shown, and the next reading would be older than this one.
            if let Some(side) = side
                && self.shown.load(Ordering::Acquire) == shown
            {
                return side;
            }
            spin_loop();
        }
    }

    /// Changes the value: both sides alike, one after the other. Gives what the change gave for each. Readers have the change when this
    /// returns.
    pub(crate) fn write<R>(&self, mut change: impl FnMut(&mut T) -> R) -> [R; 2] {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = self.shown.load(Ordering::Relaxed);
        let hidden = 1 - shown;
        let mut change = |side: usize| {
            let side = self.sides[side].write();
            change(&mut side.unwrap_or_else(PoisonError::into_inner))
        };
        let first = change(hidden);
        self.shown.store(hidden, Ordering::Release);
        [first, change(shown)]
    }
}
