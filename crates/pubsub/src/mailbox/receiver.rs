//! The receiving end of a mailbox.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::sync::{Arc, MutexGuard};
use super::{End, Shared, State, wake};

/// What a receiver gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// The next item.
    Item(T),
    /// So many items were lost at this place.
    Lagged(u64),
}

/// The receiving end of a [`mailbox`](super::mailbox()). Dropping it drops what is inside.
pub struct MailboxReceiver<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> MailboxReceiver<T> {
    /// The next item, or how many are missing in its place; `None` once the mailbox is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// Safe: an item is taken out only when it is returned.
    pub async fn recv(&mut self) -> Option<Received<T>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for hand-written futures. The last task that polled is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        let mut state = self.shared.lock();
        if let Some(received) = state.queue.next() {
            self.made_room(state);
            return Poll::Ready(Some(received));
        }
        if state.end != End::Open {
            return Poll::Ready(None);
        }
        wait(state, cx);
        Poll::Pending
    }

    /// What is there now, if anything.
    pub fn try_recv(&mut self) -> Option<Received<T>> {
        let mut state = self.shared.lock();
        let received = state.queue.next()?;
        self.made_room(state);
        Some(received)
    }

    fn made_room(&self, mut state: MutexGuard<'_, State<T>>) {
        if state.waiting.is_none() || state.queue.is_full(&self.shared.rule.bound()) {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake(waiting.into_iter().flat_map(|waiting| waiting.0));
    }

    /// Whether the mailbox was closed by an item too many ([`Overflow::Close`](super::Overflow::Close)); then it is empty.
    pub fn overflowed(&self) -> bool {
        self.shared.lock().end == End::Overflowed
    }

    /// Ready once the mailbox was closed by an item too many; else the task is woken when that may be so. Takes
    /// nothing out: for a reader that cannot take items now, but has to know that it is too late.
    pub fn poll_overflowed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let state = self.shared.lock();
        if state.end == End::Overflowed {
            return Poll::Ready(());
        }
        wait(state, cx);
        Poll::Pending
    }

    /// Whether nothing more comes in; what is inside can still be read.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().end != End::Open
    }

    /// Takes nothing more in; what is inside can still be read.
    pub fn close(&mut self) {
        self.shared.close(End::Closed);
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

impl<T> Stream for MailboxReceiver<T> {
    type Item = Received<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<T> Drop for MailboxReceiver<T> {
    fn drop(&mut self) {
        self.shared.close(End::Gone);
    }
}

impl<T> fmt::Debug for MailboxReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxReceiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Notes whom to wake when something comes in.
fn wait<T>(mut state: MutexGuard<'_, State<T>>, cx: &Context<'_>) {
    let known = state.receiver.as_ref();
    if known.is_some_and(|waker| waker.will_wake(cx.waker())) {
        return;
    }
    let old = state.receiver.replace(cx.waker().clone());
    drop(state);
    drop(old);
}
