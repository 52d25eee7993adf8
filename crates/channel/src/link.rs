//! What all parts of one connection share: the way to its client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytestring::ByteString;
use tokio::time::Instant;
use tracing::Span;

use crate::backlog::Backlog;
use crate::config::SocketsConfig;
use crate::expiry::Expiry;
use crate::inbox::{InboxReceiver, bytes_of};
use crate::multiplexer::{End, InstanceId, Refusal, Request};
use crate::order::Order;
use crate::pubsub::PubSub;
use crate::stats::Counters;
use crate::transport::{EncodeError, Field, Outbox, Payload, Serializer, ServerMessage};
use crate::watch::Watch;

/// One connection, seen from its channels, reply handles and subscriptions.
pub(crate) struct Link {
    pub(crate) outbox: Outbox<Mail>,
    pub(crate) serializer: &'static dyn Serializer,
    /// Name of the carrier.
    pub(crate) transport: &'static str,
    pub(crate) pubsub: PubSub,
    /// The socket's id, if it has one.
    pub(crate) id: Option<ByteString>,
    /// Shared by all: each idle connection pays for what it has of its own.
    pub(crate) config: Arc<SocketsConfig>,
    pub(crate) waiting: Backlog,
    pub(crate) counters: Arc<Counters>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) expiry: Expiry,
    /// Somebody disconnected it by its id.
    pub(crate) is_disconnected: AtomicBool,
    /// The connection's span, if anybody listens: a span that nobody does is not kept.
    pub(crate) span: Option<Box<Span>>,
}

impl Link {
    /// Puts a message into the connection's outbox. A connection that has ended takes it and does nothing.
    pub(crate) fn send(&self, message: &ServerMessage) -> Result<(), EncodeError> {
        self.outbox.frame(self.serializer.encode(message)?);
        Ok(())
    }

    /// A message that found no room in its channel's inbox waits no longer.
    pub(crate) fn release(&self, request: &Request) {
        let limit = self.config.waiting_bytes;
        self.waiting.release(bytes_of(request), limit);
    }

    /// Tells the session what became of a channel. What its client is to be answered counts as the frame will.
    pub(crate) fn tell(&self, topic: &ByteString, id: InstanceId, fate: Fate) {
        let bytes = fate.bytes();
        self.outbox.mail_of(Mail::news(topic, id, fate), bytes);
    }

    /// The same where there is room for the answer; else gives it back.
    pub(crate) fn tell_if_room(
        &self,
        topic: &ByteString,
        id: InstanceId,
        fate: Fate,
    ) -> Result<(), Fate> {
        let bytes = fate.bytes();
        match self.outbox.mail_if_room(Mail::news(topic, id, fate), bytes) {
            Err(Mail(Letter::News(news))) => Err(news.fate),
            Ok(_) | Err(Mail(Letter::Order(_))) => Ok(()),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("vsn", &self.serializer.vsn())
            .field("id", &self.id)
            .finish()
    }
}

/// What a session is told from within this process. Opaque: there is nothing in it for others.
#[derive(Debug)]
pub struct Mail(pub(crate) Letter);

impl Mail {
    fn news(topic: &ByteString, id: InstanceId, fate: Fate) -> Self {
        let topic = topic.clone();
        Self(Letter::News(Box::new(News { topic, id, fate })))
    }

    pub(crate) fn order(order: Order) -> Self {
        Self(Letter::Order(Box::new(order)))
    }
}

/// Boxed, since what waits for a connection is mostly frames.
#[derive(Debug)]
pub(crate) enum Letter {
    /// By a channel of this connection.
    News(Box<News>),
    /// By whoever in the cluster knows the socket's id.
    Order(Box<Order>),
}

#[derive(Debug)]
pub(crate) struct News {
    pub(crate) topic: ByteString,
    pub(crate) id: InstanceId,
    pub(crate) fate: Fate,
}

/// What became of a channel.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Its join was accepted.
    Joined { response: Payload },
    /// Its join was refused or crashed. What waits for it is answered by the session.
    Refused {
        refusal: Refusal,
        unread: InboxReceiver,
    },
    /// It has worked off a leave.
    Left { reference: Option<Field> },
    /// It ended otherwise; until that moment at least it heard broadcasts.
    Ended { end: End, at: Instant },
    /// It has taken nothing for too long. Told by the session to itself.
    Stalled,
}

impl Fate {
    /// How much of it is for the client, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Joined { response } => response.len(),
            Self::Refused { refusal, .. } => refusal.response.len(),
            Self::Left { .. } | Self::Ended { .. } | Self::Stalled => 0,
        }
    }
}
