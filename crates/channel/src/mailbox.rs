//! Messages for a channel from anywhere but its client.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;

use crate::channel::HandleInfo;
use crate::inbox::{ITEM_BYTES, InboxSender, Info, Item};
use crate::pubsub::{Delivery, Message, Sink};
use crate::{Broadcast, SendError};

/// The way to a channel's [`handle_info`](HandleInfo::handle_info) from any task. Clones lead to the same channel.
///
/// It does not keep the channel alive. What is sent while the channel joins waits until it has joined.
pub struct Mailbox<M> {
    inbox: InboxSender,
    wrap: fn(M) -> Info,
}

impl<M: Send + 'static> Mailbox<M> {
    pub(crate) fn new<C: HandleInfo<M>>(inbox: InboxSender) -> Self {
        Self {
            inbox,
            wrap: info::<C, M>,
        }
    }

    /// Puts a message into the channel's inbox. Never waits. It counts 64 bytes there, whatever it holds.
    ///
    /// # Errors
    /// [`SendError`] if the inbox is full or the channel has ended; the message is dropped.
    pub fn send(&self, message: M) -> Result<(), SendError> {
        self.send_sized(message, 0)
    }

    /// As [`send`](Self::send), for a message that holds so many bytes besides: they count against
    /// [`inbox_bytes`](crate::SocketsConfig::inbox_bytes).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_sized(&self, message: M, bytes: usize) -> Result<(), SendError> {
        let bytes = ITEM_BYTES.saturating_add(bytes);
        self.inbox.send((self.wrap)(message), bytes)
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            wrap: self.wrap,
        }
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("inbox", &self.inbox)
            .finish()
    }
}

/// The call of `handle_info` with `message`, for an inbox that knows neither type.
pub(crate) fn info<C: HandleInfo<M>, M: Send + 'static>(message: M) -> Info {
    Box::new(move |channel, socket| own::<C>(channel).handle_info(socket, message).boxed())
}

/// As [`info`], for a message that is sent again. It is cloned where a panic of that is the channel's.
pub(crate) fn shared_info<C, M>(message: Arc<M>) -> Info
where
    C: HandleInfo<M>,
    M: Clone + Send + Sync + 'static,
{
    Box::new(move |channel, socket| {
        let message = M::clone(&message);
        own::<C>(channel).handle_info(socket, message).boxed()
    })
}

/// The channel that a socket's user has named.
pub(crate) fn own<C: 'static>(channel: &mut (dyn Any + Send)) -> &mut C {
    let channel: &mut dyn Any = channel;
    let channel = channel.downcast_mut();
    channel.expect("a socket takes messages for its own channel only")
}

/// A channel's subscription to a topic of its choice.
pub(crate) struct InfoSink {
    inbox: InboxSender,
    target: Target,
}

enum Target {
    Info(fn(Message) -> Info),
    /// The channel's own topic once more: its broadcasts are outgoing events.
    Out(fn(Message) -> Info),
}

impl InfoSink {
    pub(crate) fn new<C: HandleInfo<Message>>(inbox: InboxSender, is_own_topic: bool) -> Self {
        let target = if is_own_topic {
            Target::Out
        } else {
            Target::Info
        };
        Self {
            inbox,
            target: target(info::<C, Message>),
        }
    }

    fn item(&self, message: &Message) -> Item {
        match self.target {
            Target::Info(wrap) => Item::Info(wrap(message.clone())),
            Target::Out(wrap) => match Broadcast::from_message(message) {
                Some(Ok(broadcast)) => Item::Out(broadcast),
                _ => Item::Info(wrap(message.clone())),
            },
        }
    }
}

impl Sink for InfoSink {
    fn deliver(&self, message: &Message) -> Delivery {
        let bytes = ITEM_BYTES + message.payload().len();
        self.inbox.heard(self.item(message), bytes, message.topic())
    }
}
