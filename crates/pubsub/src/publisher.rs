//! A publisher with a name of its own.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use matryoshka_registry::{Owner, OwnerId};

use crate::dispatcher::{Metadata, SinkRef};
use crate::mailbox::{Bound, Policy};
use crate::shared::Author;
use crate::{
    BroadcastError, DirectError, Message, NodeName, Payload, PubSub, Sent, Sink, SinkSubscription,
    SubscribeError, Subscription, TopicName,
};

/// Someone who publishes and subscribes: what a process is elsewhere. One for each channel, worker or task.
///
/// All that one publisher sends, on any topic and by any method, arrives in order at each node: of two calls, the one that
/// returned before the other began. Calls that overlap, in two threads or from within a sink, have no order. It owns its subscriptions:
/// [`broadcast_from`](Self::broadcast_from) skips them, and they end when it is dropped.
pub struct Publisher {
    pubsub: PubSub,
    owner: Owner,
}

impl Publisher {
    pub(crate) fn new(pubsub: &PubSub) -> Self {
        Self {
            pubsub: pubsub.clone(),
            owner: Owner::new(),
        }
    }

    /// The pubsub it publishes on.
    pub fn pubsub(&self) -> &PubSub {
        &self.pubsub
    }

    /// The owner of its subscriptions.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The identity of that owner.
    pub fn id(&self) -> OwnerId {
        self.owner.id()
    }

    /// As [`PubSub::subscribe`]; the subscription is this publisher's own.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, or the [owner](Self::owner) has been ended.
    pub fn subscribe(&self, topic: impl Into<TopicName>) -> Result<Subscription, SubscribeError> {
        self.subscribe_bounded(topic, Bound::default())
    }

    /// As [`PubSub::subscribe_bounded`]; the subscription is this publisher's own.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, the bound zero, or the [owner](Self::owner) has been ended.
    pub fn subscribe_bounded(
        &self,
        topic: impl Into<TopicName>,
        bound: impl Into<Policy<Message>>,
    ) -> Result<Subscription, SubscribeError> {
        Subscription::new(&self.pubsub, &self.owner, topic.into(), bound.into(), None)
    }

    /// As [`PubSub::subscribe_with`]; the subscription is this publisher's own.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, the bound zero, or the [owner](Self::owner) has been ended.
    pub fn subscribe_with(
        &self,
        topic: impl Into<TopicName>,
        bound: impl Into<Policy<Message>>,
        metadata: impl Any + Send + Sync,
    ) -> Result<Subscription, SubscribeError> {
        let metadata = Some(Metadata::new(metadata));
        Subscription::new(
            &self.pubsub,
            &self.owner,
            topic.into(),
            bound.into(),
            metadata,
        )
    }

    /// As [`PubSub::subscribe_sink`]; the subscription is this publisher's own.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, or the [owner](Self::owner) has been ended.
    pub fn subscribe_sink(
        &self,
        topic: impl Into<TopicName>,
        sink: Arc<dyn Sink>,
    ) -> Result<SinkSubscription, SubscribeError> {
        let sink = SinkRef::Other(sink);
        SinkSubscription::new(&self.pubsub, &self.owner, topic.into(), sink, None)
    }

    /// As [`PubSub::subscribe_sink_with`]; the subscription is this publisher's own.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, or the [owner](Self::owner) has been ended.
    pub fn subscribe_sink_with(
        &self,
        topic: impl Into<TopicName>,
        sink: Arc<dyn Sink>,
        metadata: impl Any + Send + Sync,
    ) -> Result<SinkSubscription, SubscribeError> {
        let (sink, metadata) = (SinkRef::Other(sink), Some(Metadata::new(metadata)));
        SinkSubscription::new(&self.pubsub, &self.owner, topic.into(), sink, metadata)
    }

    /// Ends all of this publisher's own subscriptions to a topic; how many there were. What waits in their mailboxes can
    /// still be read, and their guards do nothing any more.
    pub fn unsubscribe(&self, topic: &str) -> usize {
        self.pubsub.shared().registry.unregister(&self.owner, topic)
    }

    /// As [`unsubscribe`](Self::unsubscribe), but only those whose metadata is an `M` that `matches`.
    pub fn unsubscribe_match<M: Any>(&self, topic: &str, matches: impl Fn(&M) -> bool) -> usize {
        let matches = |sink: &SinkRef| sink.metadata().is_some_and(&matches);
        let registry = &self.pubsub.shared().registry;
        registry.unregister_match(&self.owner, topic, matches)
    }

    /// Publishes to all subscribers of a topic, its own among them, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`PubSub::broadcast`].
    pub fn broadcast(
        &self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        self.pubsub
            .shared()
            .broadcast(topic.into(), payload.into(), self.author())
    }

    /// Publishes to all subscribers of a topic but its own, on all nodes.
    ///
    /// # Errors
    ///
    /// As [`PubSub::broadcast`].
    pub fn broadcast_from(
        &self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        self.pubsub
            .shared()
            .broadcast(topic.into(), payload.into(), self.author_to_others())
    }

    /// As [`broadcast`](Self::broadcast), for huge topics: after every few hundred deliveries the task gives way to others, so
    /// that no fan-out keeps a core for long. When it is ready, every subscriber of this node has the message.
    ///
    /// The publisher is borrowed meanwhile, so that nothing it publishes can overtake this. A kind whose [`Dispatcher`]
    /// does not divide its work ([`Dispatcher::dispatch_part`]) is served at once.
    ///
    /// # Errors
    ///
    /// As [`PubSub::broadcast`].
    ///
    /// # Cancel safety
    ///
    /// Safe: it begins when first polled, and once begun it completes. Dropped meanwhile, the drop delivers what is left.
    ///
    /// [`Dispatcher`]: crate::Dispatcher
    /// [`Dispatcher::dispatch_part`]: crate::Dispatcher::dispatch_part
    pub async fn broadcast_yielding(
        &mut self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        let (topic, payload, author) = (topic.into(), payload.into(), self.author());
        let shared = self.pubsub.shared();
        shared.broadcast_in_parts(topic, payload, author).await
    }

    /// As [`broadcast_from`](Self::broadcast_from), in the way of [`broadcast_yielding`](Self::broadcast_yielding).
    ///
    /// # Errors
    ///
    /// As [`PubSub::broadcast`].
    ///
    /// # Cancel safety
    ///
    /// As [`broadcast_yielding`](Self::broadcast_yielding).
    pub async fn broadcast_from_yielding(
        &mut self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        let (topic, payload, author) = (topic.into(), payload.into(), self.author_to_others());
        let shared = self.pubsub.shared();
        shared.broadcast_in_parts(topic, payload, author).await
    }

    /// Publishes to the subscribers on this node, its own among them.
    ///
    /// # Errors
    ///
    /// As [`PubSub::local_broadcast`].
    pub fn local_broadcast(
        &self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        self.pubsub
            .shared()
            .local_broadcast(topic.into(), payload.into(), self.author())
    }

    /// Publishes to the subscribers on this node but its own.
    ///
    /// # Errors
    ///
    /// As [`PubSub::local_broadcast`].
    pub fn local_broadcast_from(
        &self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        self.pubsub
            .shared()
            .local_broadcast(topic.into(), payload.into(), self.author_to_others())
    }

    /// Publishes to the subscribers on one node, which may be this one.
    ///
    /// # Errors
    ///
    /// As [`PubSub::direct_broadcast`].
    pub fn direct_broadcast(
        &self,
        node: &NodeName,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<(), DirectError> {
        self.pubsub
            .shared()
            .direct_broadcast(node, topic.into(), payload.into(), self.author())
    }

    fn author(&self) -> Author {
        Author::Publisher(self.id())
    }

    fn author_to_others(&self) -> Author {
        Author::AllBut(self.id())
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
