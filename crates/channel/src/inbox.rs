//! What waits for a channel.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::task::AtomicWaker;

use crate::multiplexer::Request;
use crate::pubsub::mailbox::{
    Bound, MailboxReceiver, MailboxSender, Pushed, Received, TryPushError, mailbox,
};
use crate::stats::Counters;
use crate::{Broadcast, Flow, Socket, Terminated};

/// The way into a channel's inbox. What goes in, and what finds no room, is counted.
pub(crate) struct InboxSender {
    sender: MailboxSender<Item>,
    counters: Arc<Counters>,
}

/// The channel's end of its inbox. What is left in it when it is dropped is counted out.
pub(crate) struct InboxReceiver {
    receiver: MailboxReceiver<Item>,
    counters: Arc<Counters>,
}

pub(crate) fn inbox(bound: Bound, counters: &Arc<Counters>) -> (InboxSender, InboxReceiver) {
    let (sender, receiver) = mailbox(bound);
    let sender = InboxSender {
        sender,
        counters: Arc::clone(counters),
    };
    let receiver = InboxReceiver {
        receiver,
        counters: Arc::clone(counters),
    };
    (sender, receiver)
}

impl InboxSender {
    /// Puts an item in, of which so many bytes count against the bound, or drops it.
    pub(crate) fn push(&self, item: Item, bytes: usize) -> Pushed {
        let pushed = self.sender.push(item, bytes);
        match pushed {
            Pushed::Queued => self.counters.inbox_in.add_one(),
            Pushed::Dropped => self.counters.inbox_dropped.add_one(),
            Pushed::Closed => {}
        }
        pushed
    }

    /// Puts an item in, or gives it back if there is no room now. A channel that has ended takes it and does nothing.
    pub(crate) fn offer(&self, item: Item) -> Option<Item> {
        let bytes = item.bytes();
        match self.sender.try_push(item, bytes) {
            Ok(()) => {
                self.counters.inbox_in.add_one();
                None
            }
            Err(TryPushError::Full(item)) => Some(item),
            Err(TryPushError::Closed(_)) => None,
        }
    }

    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.sender.poll_room(cx)
    }

    pub(crate) fn close(&self) {
        self.sender.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Clone for InboxSender {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl fmt::Debug for InboxSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxSender")
            .field("waiting", &self.sender.len())
            .finish()
    }
}

impl InboxReceiver {
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received<Item>>> {
        let received = self.receiver.poll_recv(cx);
        if let Poll::Ready(Some(received)) = &received {
            self.count(received);
        }
        received
    }

    /// Takes nothing more in, and gives out what is inside.
    pub(crate) fn into_rest(mut self) -> impl Iterator<Item = Item> {
        self.receiver.close();
        std::iter::from_fn(move || {
            let received = self.receiver.try_recv()?;
            self.count(&received);
            Some(received)
        })
        .filter_map(|received| match received {
            Received::Item(item) => Some(item),
            Received::Lagged(_) => None,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }

    fn count(&self, received: &Received<Item>) {
        if matches!(received, Received::Item(_)) {
            self.counters.inbox_out.add_one();
        }
    }
}

impl Drop for InboxReceiver {
    fn drop(&mut self) {
        self.receiver.close();
        self.counters.inbox_out.add(self.receiver.len() as u64);
    }
}

impl fmt::Debug for InboxReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxReceiver")
            .field("waiting", &self.receiver.len())
            .finish()
    }
}

/// What an inbox entry costs besides what the client or the broadcast brought, in bytes.
pub(crate) const ITEM_BYTES: usize = 64;

/// One entry of a channel's inbox.
pub(crate) enum Item {
    /// From the client.
    Request(Request),
    /// A broadcast on the channel's topic that it intercepts.
    Out(Broadcast),
    /// For `handle_info`.
    Info(Info),
    /// There is an order to read.
    Nudge,
}

/// A message for `handle_info`, together with the call: the inbox does not know its type.
pub(crate) type Info =
    Box<dyn for<'a> FnOnce(&'a mut (dyn Any + Send), &'a mut Socket) -> BoxFuture<'a, Flow> + Send>;

impl Item {
    /// What it counts against the inbox's bound.
    pub(crate) fn bytes(&self) -> usize {
        ITEM_BYTES
            + match self {
                Self::Request(request) => request.bytes(),
                Self::Info(_) | Self::Nudge => 0,
                Self::Out(broadcast) => broadcast.event().len() + broadcast.payload().len(),
            }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request(_) => "Request(..)",
            Self::Out(_) => "Out(..)",
            Self::Info(_) => "Info(..)",
            Self::Nudge => "Nudge",
        })
    }
}

/// What the session says to a channel past its inbox.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    superseded: AtomicBool,
    leaving: AtomicBool,
    kicked: AtomicBool,
    /// The channel, when it waits for something else than its inbox.
    elsewhere: AtomicWaker,
    closed: OnceLock<Terminated>,
}

impl Orders {
    /// A newer join took the topic: the channel ends when its own join is answered.
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// The client has left: that waits in the inbox.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// The channel ends before whatever waits in its inbox. Whoever calls this nudges it next, in case it waits.
    pub(crate) fn kick(&self) {
        self.kicked.store(true, Ordering::Release);
        self.elsewhere.wake();
    }

    /// Ready once the channel is kicked; else its task is woken when it is, without a nudge.
    pub(crate) fn poll_kicked(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.elsewhere.register(cx.waker());
        match self.is_kicked() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub(crate) fn is_kicked(&self) -> bool {
        self.kicked.load(Ordering::Acquire)
    }

    /// The connection has ended. Whoever calls this closes the inbox next.
    pub(crate) fn close(&self, reason: Terminated) {
        // The first reason stands; there is no second one.
        let _ = self.closed.set(reason);
    }

    /// Why the inbox was closed.
    pub(crate) fn closed(&self) -> Terminated {
        self.closed.get().cloned().unwrap_or(Terminated::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Field, Payload};

    #[test]
    fn all_that_a_client_wrote_counts_against_the_bound() {
        let long = Some(Field::from("r".repeat(100)));
        let event = Request::Event {
            event: "e".repeat(1_000).into(),
            reference: long.clone(),
            payload: Payload::object(),
        };
        assert_eq!(Item::Request(event).bytes(), ITEM_BYTES + 1_000 + 100 + 2);
        let leave = Request::Leave {
            join_ref: long.clone(),
            reference: long,
        };
        assert_eq!(Item::Request(leave).bytes(), ITEM_BYTES + 200);
    }
}
