//! Subscribers of one topic: sinks, and tasks of their own.

use std::sync::Arc;

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::{Delivery, Message, PubSub, Sink, SinkSubscription};
use tokio::task::JoinHandle;

use super::load::Arrived;

/// More than a window ever has.
const BOUND: usize = 1_000_000;
const BOUND_BYTES: usize = 64 * 1024 * 1024;

/// Takes messages in the task that reads them from the link, as a bare reader does.
pub(super) struct Counting(Arc<Arrived>);

impl Counting {
    /// Counts the messages on a topic, as long as the guard lives.
    pub(super) fn start(pubsub: &PubSub, topic: &str, arrived: &Arc<Arrived>) -> SinkSubscription {
        let sink = Self(Arc::clone(arrived));
        let subscription = pubsub.subscribe_sink(topic, Arc::new(sink));
        subscription.expect("a short name")
    }
}

impl Sink for Counting {
    fn deliver(&self, _: &Message) -> Delivery {
        self.0.add(1);
        Delivery::Delivered
    }
}

/// A subscriber's task, which ends with this.
pub(super) struct Receiving(JoinHandle<()>);

impl Receiving {
    /// Tells `arrived` of each message on a topic.
    pub(super) fn start(
        pubsub: &PubSub,
        topic: &str,
        arrived: impl Fn(&Message) + Send + 'static,
    ) -> Self {
        let bound = Bound::messages(BOUND).with_bytes(BOUND_BYTES);
        let subscription = pubsub.subscribe_bounded(topic, bound);
        let mut subscription = subscription.expect("a short name");
        Self(tokio::spawn(async move {
            while let Some(message) = subscription.next().await {
                arrived(&message.expect("the subscription holds all"));
            }
        }))
    }

    /// Counts the messages on a topic.
    pub(super) fn count(pubsub: &PubSub, topic: &str, arrived: &Arc<Arrived>) -> Self {
        let arrived = Arc::clone(arrived);
        Self::start(pubsub, topic, move |_| arrived.add(1))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.abort();
    }
}
