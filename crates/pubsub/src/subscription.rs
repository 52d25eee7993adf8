//! The receiving end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use matryoshka_registry::{Owner, OwnerId, Registration};
use thiserror::Error;

use crate::dispatcher::{Metadata, SinkRef};
use crate::mailbox::{MailboxReceiver, Policy, Received, mailbox};
use crate::{Message, PubSub, SubscribeError, TopicName};

/// So many messages were lost at this place, because the subscriber was too slow for its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} messages were lost: the subscriber is too slow")]
pub struct Lagged(pub u64);

/// One subscription to one topic: a stream of its messages, and the guard that ends it.
///
/// Messages wait in a mailbox with a [`Bound`](crate::mailbox::Bound). The stream ends when the publisher that owns the
/// subscription is dropped, unsubscribes or has its owner ended, or the mailbox is closed by its overflow policy; else never.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    messages: MailboxReceiver<Message>,
    guard: SinkSubscription,
}

impl Subscription {
    pub(crate) fn new(
        pubsub: &PubSub,
        owner: &Owner,
        topic: TopicName,
        policy: Policy<Message>,
        metadata: Option<Metadata>,
    ) -> Result<Self, SubscribeError> {
        policy.bound().check()?;
        let (sender, messages) = mailbox(policy);
        let sink = SinkRef::Mailbox(sender);
        let guard = SinkSubscription::new(pubsub, owner, topic, sink, metadata)?;
        Ok(Self { messages, guard })
    }

    /// The topic subscribed to.
    pub fn topic(&self) -> &TopicName {
        self.guard.topic()
    }

    /// The next message, or how many were lost in its place; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// Safe: a message is taken out only when it is returned.
    pub async fn next(&mut self) -> Option<Result<Message, Lagged>> {
        StreamExt::next(self).await
    }

    /// Ends it: the same as dropping it.
    pub fn unsubscribe(self) {}

    /// Who subscribed.
    pub fn owner(&self) -> OwnerId {
        self.guard.owner()
    }

    /// What is there now, if anything.
    pub fn try_next(&mut self) -> Option<Result<Message, Lagged>> {
        self.messages.try_recv().map(unpack)
    }

    /// Whether the subscription ended because it overflowed ([`Overflow::Close`](crate::mailbox::Overflow::Close)).
    pub fn overflowed(&self) -> bool {
        self.messages.overflowed()
    }
}

fn unpack(received: Received<Message>) -> Result<Message, Lagged> {
    match received {
        Received::Item(message) => Ok(message),
        Received::Lagged(lost) => Err(Lagged(lost)),
    }
}

impl Stream for Subscription {
    type Item = Result<Message, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages
            .poll_recv(cx)
            .map(|received| received.map(unpack))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", self.topic())
            .finish_non_exhaustive()
    }
}

/// Keeps a [`Sink`](crate::Sink) subscribed: dropped, the sink gets no more messages, except one that is under way in
/// another thread.
#[must_use = "dropping it ends the subscription"]
pub struct SinkSubscription {
    topic: TopicName,
    registration: Registration,
    _pubsub: PubSub,
}

impl SinkSubscription {
    pub(crate) fn new(
        pubsub: &PubSub,
        owner: &Owner,
        topic: TopicName,
        sink: SinkRef,
        metadata: Option<Metadata>,
    ) -> Result<Self, SubscribeError> {
        let (bytes, max) = (topic.len(), pubsub.limits().topic_bytes());
        if bytes > max {
            return Err(SubscribeError::TopicTooLong { bytes, max });
        }
        let registry = &pubsub.shared().registry;
        let sink = match metadata {
            None => sink,
            Some(metadata) => sink.with(metadata),
        };
        Ok(Self {
            registration: registry.register(owner, topic.clone(), sink)?,
            topic,
            _pubsub: pubsub.clone(),
        })
    }

    /// The topic subscribed to.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Ends it: the same as dropping it.
    pub fn unsubscribe(self) {}

    /// Who subscribed.
    pub fn owner(&self) -> OwnerId {
        self.registration.owner()
    }
}

impl fmt::Debug for SinkSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkSubscription")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
