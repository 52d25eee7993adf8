//! What waits for a channel.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;

use crate::multiplexer::Request;
use crate::pubsub::mailbox::{MailboxReceiver, MailboxSender};
use crate::{Broadcast, Flow, Socket, Terminated};

pub(crate) type InboxSender = MailboxSender<Item>;
pub(crate) type InboxReceiver = MailboxReceiver<Item>;

/// What an inbox entry costs besides its payload, in bytes.
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
                Self::Request(Request::Event { payload, .. }) => payload.len(),
                Self::Request(Request::Leave { .. }) | Self::Info(_) | Self::Nudge => 0,
                Self::Out(broadcast) => broadcast.payload().len(),
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
    kicked: AtomicBool,
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

    /// The channel ends before whatever waits in its inbox. Whoever calls this nudges it next, in case it waits.
    pub(crate) fn kick(&self) {
        self.kicked.store(true, Ordering::Release);
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
