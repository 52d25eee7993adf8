//! Subscribers of one topic, in tasks of their own.

use std::sync::Arc;

use matryoshka_pubsub::mailbox::Bound;
use matryoshka_pubsub::{Message, PubSub};
use tokio::task::JoinHandle;

use super::load::Arrived;

/// More than a window ever has.
const BOUND: usize = 1_000_000;
const BOUND_BYTES: usize = 64 * 1024 * 1024;

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
