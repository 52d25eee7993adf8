//! The task that turns the tracker's diffs into `presence_diff` for this node's clients.
//!
//! One task tells everything, in the tracker's order, so a client never hears of a leave before its join. Every node
//! hears of every change from its own tracker and tells its own clients: a `presence_diff` never crosses to another node.

use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{Either, select};
use matryoshka_channel::Broadcast;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::Json;
use matryoshka_tracker::{DiffEvent, Diffs, Snapshot};

use crate::listing::Listing;
use crate::presence::{DIFF_EVENT, STATE_EVENT};
use crate::stats::Counters;
use crate::told::Told;

pub(crate) struct Broadcaster {
    pub(crate) pubsub: PubSub,
    pub(crate) diffs: Diffs,
    pub(crate) told: Told,
    pub(crate) listing: Arc<Listing>,
    pub(crate) counters: Arc<Counters>,
}

impl Broadcaster {
    /// Runs until the tracker ends.
    pub(crate) async fn run(mut self) {
        while let Some(event) = self.next().await {
            match event {
                DiffEvent::Diff(diff) => {
                    if let Some(news) = self.told.diff(&diff) {
                        self.counters.diff();
                        self.tell(&diff.topic, DIFF_EVENT, news.to_json());
                    }
                }
                DiffEvent::Resync(snapshot) => self.resync(&snapshot),
            }
            // A burst of diffs must not keep the thread from everyone else.
            tokio::task::consume_budget().await;
        }
    }

    async fn next(&mut self) -> Option<DiffEvent> {
        loop {
            let waiting = |diffs: &mut Diffs| diffs.next().now_or_never();
            if let Some(event) = waiting(&mut self.diffs) {
                return event;
            }
            if let Some(event) = self.listing.forget_unless(|| waiting(&mut self.diffs)) {
                return event;
            }
            let (event, crowded) = (pin!(self.diffs.next()), pin!(self.listing.crowded()));
            if let Either::Left((event, _)) = select(event, crowded).await {
                return event;
            }
        }
    }

    fn resync(&mut self, snapshot: &Snapshot) {
        self.counters.resync();
        tracing::warn!("presence fell behind its tracker; clients are told whole lists");
        let listing = Arc::clone(&self.listing);
        listing.resync(|listed| {
            let lists = snapshot.topics().map(|(_, entries)| entries);
            let all = lists.flat_map(|entries| entries.iter().cloned());
            for (topic, list) in self.told.resync(all, &listed) {
                self.tell(&topic, STATE_EVENT, list.to_json());
            }
        });
    }

    fn tell(&self, topic: &str, event: &'static str, payload: Json) {
        let sent = Broadcast::with_payload(topic, event, payload)
            .and_then(|broadcast| broadcast.send_local(&self.pubsub));
        if let Err(error) = sent {
            tracing::error!(%error, event, "not sent; clients of one topic are wrong until they join again");
        }
    }
}
