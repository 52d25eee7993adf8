//! The task that turns the tracker's diffs into `presence_diff` for this node's clients.
//!
//! One task tells everything, in the tracker's order, so a client never hears of a leave before its join. Every node
//! hears of every change from its own tracker and tells its own clients: a `presence_diff` never crosses to another node.

use std::sync::Arc;

use matryoshka_channel::Broadcast;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_tracker::{DiffEvent, Diffs};

use crate::list::PresenceDiff;
use crate::presence::DIFF_EVENT;
use crate::stats::Counters;
use crate::told::Told;

pub(crate) struct Broadcaster {
    pub(crate) pubsub: PubSub,
    pub(crate) diffs: Diffs,
    pub(crate) counters: Arc<Counters>,
}

impl Broadcaster {
    /// Runs until the tracker ends.
    pub(crate) async fn run(mut self) {
        let mut told = Told::default();
        while let Some(event) = self.diffs.next().await {
            match event {
                DiffEvent::Diff(diff) => {
                    if let Some(tell) = told.diff(&diff) {
                        self.tell(&diff.topic, &tell);
                    }
                }
                DiffEvent::Resync(snapshot) => {
                    self.counters.resync();
                    let all = snapshot
                        .topics()
                        .flat_map(|(_, entries)| entries.iter().cloned());
                    for (topic, tell) in told.resync(all) {
                        self.tell(&topic, &tell);
                        tokio::task::consume_budget().await;
                    }
                }
            }
            // A burst of diffs must not keep the thread from everyone else.
            tokio::task::consume_budget().await;
        }
    }

    fn tell(&self, topic: &str, diff: &PresenceDiff) {
        self.counters.diff();
        let sent = Broadcast::with_payload(topic, DIFF_EVENT, diff.to_json())
            .and_then(|broadcast| broadcast.send_local(&self.pubsub));
        if let Err(error) = sent {
            tracing::error!(%error, "a presence_diff could not be sent; this topic's clients are wrong until they join again");
        }
    }
}
