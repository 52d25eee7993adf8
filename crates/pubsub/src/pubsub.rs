//! The handle: subscribe, publish, and what else a pubsub knows.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::dispatcher::{Metadata, SinkRef};
use crate::mailbox::{Bound, Policy};
use crate::shared::{Author, Shared};
use crate::{
    Adapter, AlreadyClaimed, BroadcastError, Claim, DirectError, Dispatcher, Goodbye, Inbound,
    Incarnation, Kind, KindTaken, Limits, Message, NodeName, Payload, Publisher, Sink,
    SinkSubscription, Stats, SubscribeError, Subscribers, Subscription, Topic, TopicName,
};

/// Topics of this node, and through its [`Adapter`] those of the other nodes.
///
/// A cheap handle: clones mean the same pubsub. It lives as long as any handle, publisher or subscription of it does.
#[derive(Clone)]
pub struct PubSub {
    shared: Arc<Shared>,
}

/// How far a broadcast got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Subscribers of this node that have it.
    pub local: usize,
    /// Links to other nodes that took it.
    pub peers: usize,
    /// Other nodes that will not get it, since the queue to them is full.
    pub dropped: Vec<NodeName>,
}

impl PubSub {
    /// A pubsub of this process alone.
    pub fn local() -> Self {
        Self::local_with_limits(Limits::default())
    }

    /// A pubsub whose adapter reaches other nodes.
    pub fn with(adapter: impl Adapter) -> Self {
        Self::with_limits(adapter, Limits::default())
    }

    /// As [`local`](Self::local), with other limits.
    pub fn local_with_limits(limits: Limits) -> Self {
        Self::start(Shared::alone(limits))
    }

    /// As [`with`](Self::with), with other limits.
    pub fn with_limits(adapter: impl Adapter, limits: Limits) -> Self {
        Self::start(Shared::new(Arc::new(adapter), limits))
    }

    fn start(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        shared.adapter.attach(Inbound::new(Arc::downgrade(&shared)));
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// This node's name; `local` if it is alone.
    pub fn node(&self) -> NodeName {
        self.shared.adapter.node()
    }

    /// What is too large here.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// This node's life.
    pub fn incarnation(&self) -> Incarnation {
        self.shared.adapter.incarnation()
    }

    /// Says who delivers messages of `kind` on this node. Each node of a cluster has to say so for itself.
    ///
    /// # Errors
    ///
    /// [`KindTaken`] if the kind is built in or has a dispatcher of another type. One of the same type is welcome, and the first one stays.
    pub fn register(&self, kind: Kind, dispatcher: Arc<dyn Dispatcher>) -> Result<(), KindTaken> {
        self.shared.register(kind, dispatcher)
    }

    /// Subscribes to a topic, with the default [`Bound`]. What is published after this returned arrives.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long.
    pub fn subscribe(&self, topic: impl Into<TopicName>) -> Result<Subscription, SubscribeError> {
        self.subscribe_bounded(topic, Bound::default())
    }

    /// As [`subscribe`](Self::subscribe), with that bound and policy.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, or the bound zero.
    pub fn subscribe_bounded(
        &self,
        topic: impl Into<TopicName>,
        bound: impl Into<Policy<Message>>,
    ) -> Result<Subscription, SubscribeError> {
        Subscription::new(self, &self.shared.nobody, topic.into(), bound.into(), None)
    }

    /// As [`subscribe_bounded`](Self::subscribe_bounded). `metadata` stands with the subscription: a [`Dispatcher`] sees it
    /// ([`Subscriber::metadata`](crate::Subscriber::metadata)), and it can be unsubscribed by it
    /// ([`Publisher::unsubscribe_match`]).
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long, or the bound zero.
    pub fn subscribe_with(
        &self,
        topic: impl Into<TopicName>,
        bound: impl Into<Policy<Message>>,
        metadata: impl Any + Send + Sync,
    ) -> Result<Subscription, SubscribeError> {
        let metadata = Some(Metadata::new(metadata));
        Subscription::new(
            self,
            &self.shared.nobody,
            topic.into(),
            bound.into(),
            metadata,
        )
    }

    /// Hands each message of a topic to `sink`, as long as the guard lives.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long.
    pub fn subscribe_sink(
        &self,
        topic: impl Into<TopicName>,
        sink: Arc<dyn Sink>,
    ) -> Result<SinkSubscription, SubscribeError> {
        let sink = SinkRef::Other(sink);
        SinkSubscription::new(self, &self.shared.nobody, topic.into(), sink, None)
    }

    /// As [`subscribe_sink`](Self::subscribe_sink), with metadata as in [`subscribe_with`](Self::subscribe_with).
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the name is too long.
    pub fn subscribe_sink_with(
        &self,
        topic: impl Into<TopicName>,
        sink: Arc<dyn Sink>,
        metadata: impl Any + Send + Sync,
    ) -> Result<SinkSubscription, SubscribeError> {
        let (sink, metadata) = (SinkRef::Other(sink), Some(Metadata::new(metadata)));
        SinkSubscription::new(self, &self.shared.nobody, topic.into(), sink, metadata)
    }

    /// Publishes to all subscribers of a topic, on this node and the others. When it returns, every subscriber of this node
    /// has the message, and every link has queued it.
    ///
    /// Of two broadcasts on one topic, the one that returned before the other began arrives first.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`]; then nobody got anything. A slow peer is no error: see [`Sent::dropped`].
    pub fn broadcast(
        &self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        self.shared
            .broadcast(topic.into(), payload.into(), Author::Anybody)
    }

    /// As [`broadcast`](Self::broadcast), in the way of [`Publisher::broadcast_yielding`]. Nothing is borrowed meanwhile, so
    /// what is published on the topic before this is ready has no order with it.
    ///
    /// # Errors
    ///
    /// As [`broadcast`](Self::broadcast).
    ///
    /// # Cancel safety
    ///
    /// Safe: it begins when first polled, and once begun it completes. Dropped meanwhile, the drop delivers what is left.
    pub async fn broadcast_yielding(
        &self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        let (topic, payload) = (topic.into(), payload.into());
        let sending = self
            .shared
            .broadcast_in_parts(topic, payload, Author::Anybody);
        sending.await
    }

    /// Publishes to the subscribers on this node only.
    ///
    /// # Errors
    ///
    /// [`BroadcastError`] if topic or payload are too large; then nobody got anything.
    pub fn local_broadcast(
        &self,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<Sent, BroadcastError> {
        self.shared
            .local_broadcast(topic.into(), payload.into(), Author::Anybody)
    }

    /// Publishes to the subscribers on one node only, which may be this one.
    ///
    /// # Errors
    ///
    /// [`DirectError`]; then nobody got anything.
    pub fn direct_broadcast(
        &self,
        node: &NodeName,
        topic: impl Into<TopicName>,
        payload: impl Into<Payload>,
    ) -> Result<(), DirectError> {
        self.shared
            .direct_broadcast(node, topic.into(), payload.into(), Author::Anybody)
    }

    /// A new named publisher.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self)
    }

    /// A topic of values of one type.
    pub fn topic<T>(&self, name: impl Into<TopicName>) -> Topic<T> {
        Topic::new(self, name.into())
    }

    /// Takes a name that only one may have on this pubsub, as long as the guard lives.
    ///
    /// # Errors
    ///
    /// [`AlreadyClaimed`] if somebody has it.
    pub fn claim(&self, name: impl Into<String>) -> Result<Claim, AlreadyClaimed> {
        let name = name.into();
        match self
            .shared
            .claims
            .register(&self.shared.nobody, name.clone(), ())
        {
            Ok(registration) => Ok(Claim::new(self, name, registration)),
            // It cannot be the owner: nobody's is never ended.
            Err(_) => Err(AlreadyClaimed { name }),
        }
    }

    /// Tells the other nodes that this one is about to go for good. Messages still come and go until it does.
    pub fn leave(&self) {
        self.shared.adapter.leave(Goodbye::Leaving);
    }

    /// Tells the other nodes how this one is about to go.
    pub fn leave_with(&self, goodbye: Goodbye) {
        self.shared.adapter.leave(goodbye);
    }

    /// Counters, and what is held now.
    pub fn stats(&self) -> Stats {
        let registry = &self.shared.registry;
        self.shared
            .counters
            .snapshot(registry.count_keys(), registry.count())
    }

    /// Shows a topic's subscribers on this node to `visit`, as a [`Dispatcher`] would see them, without a message. `None` if there
    /// are none.
    pub fn visit<R>(&self, topic: &str, visit: impl FnOnce(Subscribers<'_>) -> R) -> Option<R> {
        let entries = self.shared.registry.lookup(topic)?;
        let entries = entries.iter();
        let counters = &self.shared.counters;
        let subscribers = Subscribers::new(&entries, usize::MAX, None, counters);
        Some(visit(subscribers))
    }

    /// How many subscriptions a topic has on this node.
    pub fn subscriptions(&self, topic: &str) -> usize {
        self.shared.registry.count_key(topic)
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub")
            .field("node", &self.node())
            .finish_non_exhaustive()
    }
}
