//! The channel's end of its inbox.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::lines::{Takes, bytes_of};
use super::{Item, Over, Shared};
use crate::Terminated;
use crate::multiplexer::Request;

/// The channel's end of its inbox. What is left in it when it is dropped is counted out.
pub(crate) struct InboxReceiver(pub(super) Arc<Shared>);

impl InboxReceiver {
    /// The next item; `None` once the inbox is closed and empty, or the connection ended too long ago. Whatever was taken out before is
    /// done with.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>, takes: Takes) -> Poll<Option<Item>> {
        let shared = &*self.0;
        let mut state = shared.lock();
        let done = std::mem::take(&mut state.in_hand);
        // Once the connection has ended nobody is asked to read first.
        let takes = if state.is_closed { Takes::All } else { takes };
        let item = match state.is_late() {
            true => None,
            false => state.lines.next(takes),
        };
        let (mut made_room, mut old) = (false, None);
        match &item {
            Some(Item::Request(request)) => {
                state.in_hand = bytes_of(request);
                made_room = state.is_awaited && !state.lines.is_full_of_requests(shared.bound());
                state.is_awaited &= !made_room;
            }
            None if !state.is_closed => old = state.wait(false, cx),
            _ => {}
        }
        let is_open = !state.is_closed;
        drop(state);
        drop(old);
        shared.release(done);
        if made_room {
            shared.link.waiting.wake();
        }
        match item {
            None if is_open => Poll::Pending,
            None => Poll::Ready(None),
            Some(item) => {
                if !matches!(item, Item::Lost(_)) {
                    shared.link.counters.inbox_out.add_one();
                }
                Poll::Ready(Some(item))
            }
        }
    }

    /// Puts the request back that was taken out last: it is not its time yet. A closed inbox gives it back: it would come out again at once.
    pub(crate) fn put_back(&mut self, request: Request) -> Option<Request> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Some(request);
        }
        state.in_hand = 0;
        state.lines.put_back(request);
        drop(state);
        self.0.link.counters.inbox_in.add_one();
        None
    }

    /// The channel's answer to its join waits to be sent, and counts with what its client wrote for the join.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.0.link.waiting.add(bytes);
        self.0.lock().in_hand += bytes;
    }

    /// The channel is done with what it had in hand.
    pub(crate) fn done(&mut self) {
        let in_hand = std::mem::take(&mut self.0.lock().in_hand);
        self.0.release(in_hand);
    }

    /// Ready once nothing more comes in; else the channel's task is woken when that may be so.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Poll::Ready(());
        }
        let old = state.wait(true, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Ready once the client has left, the connection has ended or the channel is to end at once; else the channel's task is woken then.
    pub(crate) fn poll_not_wanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.wait_for_the_end(cx);
        match self.is_given_up() || self.is_kicked() || self.is_overrun() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Whether nobody is left to see what the join puts off.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_leaving() || self.is_closed()
    }

    /// Takes nothing more in, and gives out what the client asked for.
    pub(crate) fn into_requests(self) -> impl Iterator<Item = Request> {
        self.0.empty().into_requests()
    }

    /// The channel ends: as [`shut`](Self::shut). Gives the moment.
    pub(crate) fn end(&mut self) -> Instant {
        let at = Instant::now();
        self.0.lock().over = Some(Box::new(Over::Channel { at }));
        self.shut();
        at
    }

    /// Takes nothing more in, and drops what is inside.
    pub(crate) fn shut(&mut self) {
        drop(self.0.empty());
        self.done();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.0.orders.superseded.load(Ordering::Acquire)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.0.orders.leaving.load(Ordering::Acquire)
    }

    /// It could not take in what its client is to see.
    pub(crate) fn is_overrun(&self) -> bool {
        self.0.orders.overrun.load(Ordering::Acquire)
    }

    pub(crate) fn is_kicked(&self) -> bool {
        self.0.orders.kicked.load(Ordering::Acquire)
    }

    /// Why the connection has ended.
    pub(crate) fn closed(&self) -> Terminated {
        match self.0.lock().over.as_deref() {
            Some(Over::Connection { reason, .. }) => reason.clone(),
            _ => Terminated::Closed,
        }
    }
}

impl Drop for InboxReceiver {
    fn drop(&mut self) {
        self.shut();
    }
}

impl fmt::Debug for InboxReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxReceiver")
            .field("waiting", &self.0.lock().lines.len())
            .finish()
    }
}
