//! What an adapter hands in.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::cluster::MemberEvent;
use crate::shared::Shared;
use crate::{Kind, Message, Origin, TopicName};

/// The way from an adapter into its pubsub. A clone means the same pubsub.
///
/// It does not keep the pubsub alive: when the last handle of that is gone, what is handed in goes nowhere.
#[derive(Clone)]
pub struct Inbound {
    shared: Weak<Shared>,
}

/// A topic that got its first subscriber on this node or lost its last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Which topic.
    pub topic: TopicName,
    /// Whether it has subscribers now.
    pub interested: bool,
}

impl Inbound {
    pub(crate) fn new(shared: Weak<Shared>) -> Self {
        Self { shared }
    }

    /// Delivers a message of another node to this node's subscribers, in this thread; how many got it.
    pub fn deliver(
        &self,
        origin: &Arc<Origin>,
        topic: TopicName,
        kind: Kind,
        payload: Bytes,
    ) -> usize {
        match self.received(origin, topic, kind, payload) {
            Some((shared, message)) => shared.dispatch(message, None),
            None => 0,
        }
    }

    /// As [`deliver`](Self::deliver), for huge topics: after every few hundred deliveries the task gives way to others. Whoever
    /// hands in the messages of one lane awaits each before the next.
    ///
    /// # Cancel safety
    ///
    /// Safe: it begins when first polled, and once begun it completes. Dropped meanwhile, the drop delivers what is left.
    pub async fn deliver_yielding(
        &self,
        origin: &Arc<Origin>,
        topic: TopicName,
        kind: Kind,
        payload: Bytes,
    ) -> usize {
        match self.received(origin, topic, kind, payload) {
            Some((shared, message)) => shared.dispatch_in_parts(&message, None).await,
            None => 0,
        }
    }

    fn received(
        &self,
        origin: &Arc<Origin>,
        topic: TopicName,
        kind: Kind,
        payload: Bytes,
    ) -> Option<(Arc<Shared>, Message)> {
        let shared = self.shared.upgrade()?;
        shared.counters.received.add(1);
        let message = Message::new(topic, kind, payload, Some(Arc::clone(origin)));
        Some((shared, message))
    }

    /// Tells what happened to a member. Stale and repeated events have no effect; see
    /// [`MemberTable::handle`](crate::cluster::MemberTable::handle). Sinks run in this thread.
    pub fn member(&self, event: MemberEvent) {
        if let Some(shared) = self.shared.upgrade() {
            shared.membership.handle(event);
        }
    }

    /// Takes the topics that got a first or lost a last subscriber since the last call, with what is true of each now.
    ///
    /// The queue is emptied before the first topic is asked about, so a change in between is in the next call's answer.
    /// Always empty unless the adapter [routes by interest](crate::Adapter::routes_by_interest).
    pub fn take_edges(&self) -> Vec<Edge> {
        let Some(shared) = self.shared.upgrade() else {
            return Vec::new();
        };
        let topics = shared.registry.take_edges().into_iter();
        let edge = |topic: TopicName| Edge {
            interested: shared.registry.is_registered(&topic),
            topic,
        };
        topics.map(edge).collect()
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").finish_non_exhaustive()
    }
}
