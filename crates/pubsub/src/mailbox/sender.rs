//! The sending end of a mailbox.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use thiserror::Error;

use super::sync::{Arc, MutexGuard};
use super::{End, Loss, Shared, State, wake};

/// What became of a pushed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the mailbox. (With [`Overflow::DropOldest`](super::Overflow::DropOldest) or a key an older one may have gone for it.)
    Queued,
    /// The mailbox is full and the item lost; with [`Overflow::Close`](super::Overflow::Close) the mailbox is closed now.
    Dropped,
    /// Nobody will read it.
    Closed,
}

/// An item that was not taken, and is given back.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
// tidy: closed because whoever takes the item back has to find it in each case
pub enum TryPushError<T> {
    /// There is no room now: wait for [`MailboxSender::poll_room`].
    #[error("the mailbox is full")]
    Full(T),
    /// Nobody will read it.
    #[error("the mailbox is closed")]
    Closed(T),
}

impl<T> fmt::Debug for TryPushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// The sending end of a [`mailbox`](super::mailbox()); clones send to the same one.
pub struct MailboxSender<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> MailboxSender<T> {
    /// Puts `item` in, of which `bytes` count against the bound. Never waits: when full, the overflow policy decides.
    ///
    /// # Panics
    ///
    /// If the key function of [`Bound::keep_latest_by`](super::Bound::keep_latest_by) does; then nothing changed.
    pub fn push(&self, item: T, bytes: usize) -> Pushed {
        self.push_counted(item, bytes).0
    }

    /// Also how many items were lost by it.
    pub(crate) fn push_counted(&self, item: T, bytes: usize) -> (Pushed, u64) {
        let rule = &self.shared.rule;
        let key = rule.key(&item);
        let mut state = self.shared.lock();
        let mut lost = 0;
        while state.end == End::Open && state.queue.is_full(&rule.bound()) {
            match rule.on_overflow() {
                Loss::Newest => {
                    state.queue.lose_newest();
                    return (Pushed::Dropped, 1);
                }
                Loss::All => {
                    drop(state);
                    let inside = self.shared.close(End::Overflowed);
                    return (Pushed::Dropped, inside as u64 + 1);
                }
                Loss::Oldest | Loss::Latest => {
                    let one = state.queue.lose_for(key);
                    lost += 1;
                    // Items are the user's: they are not dropped under the lock.
                    drop(state);
                    drop(one);
                    state = self.shared.lock();
                }
            }
        }
        if state.end != End::Open {
            return (Pushed::Closed, lost);
        }
        append(state, item, bytes, key);
        (Pushed::Queued, lost)
    }

    /// Notes an item that could not even be pushed: the receiver is told in its place.
    pub(crate) fn lose(&self) {
        let mut state = self.shared.lock();
        state.queue.lose_newest();
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
    }

    /// What goes when it is full.
    pub(crate) fn on_overflow(&self) -> Loss {
        self.shared.rule.on_overflow()
    }

    /// Puts `item` in if there is room, whatever the overflow policy.
    ///
    /// # Errors
    ///
    /// Gives the item back when the mailbox is full or closed.
    pub fn try_push(&self, item: T, bytes: usize) -> Result<(), TryPushError<T>> {
        let key = self.shared.rule.key(&item);
        let state = self.shared.lock();
        if state.end != End::Open {
            return Err(TryPushError::Closed(item));
        }
        if state.queue.is_full(&self.shared.rule.bound()) {
            return Err(TryPushError::Full(item));
        }
        append(state, item, bytes, key);
        Ok(())
    }

    /// Ready when a push would find room, or the mailbox is closed; else the task is woken when that may be so.
    ///
    /// Room is not reserved: another sender may take it first.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.end != End::Open || !state.queue.is_full(&self.shared.rule.bound()) {
            return Poll::Ready(());
        }
        let waiting = &mut state.waiting.get_or_insert_default().0;
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until a push would find room, or the mailbox is closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is reserved.
    pub async fn room(&self) {
        poll_fn(|cx| self.poll_room(cx)).await;
    }

    /// Closes the mailbox: the receiver gets what is inside, then the end.
    pub fn close(&self) {
        self.shared.close(End::Closed);
    }

    /// Whether pushes are in vain.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().end != End::Open
    }

    /// Items inside now.
    pub fn len(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Whether nothing is inside now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> Self {
        let mut state = self.shared.lock();
        state.senders = state
            .senders
            .checked_add(1)
            .expect("fewer senders than 2^32");
        drop(state);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for MailboxSender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.shared.close(End::Closed);
        }
    }
}

impl<T> fmt::Debug for MailboxSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxSender")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Puts an item into a mailbox with room, and wakes the receiver.
fn append<T>(mut state: MutexGuard<'_, State<T>>, item: T, bytes: usize, key: u128) {
    state.queue.append(item, bytes, key);
    let receiver = state.receiver.take();
    drop(state);
    wake(receiver);
}
