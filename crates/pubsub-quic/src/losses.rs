//! What is said in the log of messages lost on links that live.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use matryoshka_pubsub::NodeName;

use crate::adapter::Shared;
use crate::stats::PeerCounters;

/// It is said at most once in this time: whoever is too slow for one message is too slow for many.
const EVERY: Duration = Duration::from_secs(10);

/// What such lines are filed under.
const TARGET: &str = "matryoshka::mesh::loss";

/// How far the losses have been told.
pub(crate) struct Losses {
    told: Instant,
    /// Dropped for that peer, and lost on the way from it.
    of: HashMap<NodeName, (u64, u64)>,
}

impl Losses {
    /// Nothing was lost before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            told: now,
            of: HashMap::new(),
        }
    }

    /// Says what is new, if it is time to.
    pub(crate) fn tell(
        &mut self,
        now: Instant,
        shared: &Shared,
        peers: &HashMap<NodeName, Arc<PeerCounters>>,
    ) {
        if now < self.told + EVERY {
            return;
        }
        self.told = now;
        let node = shared.name();
        for (peer, counters) in peers {
            let sent = shared.with_traffic(|traffic| traffic.sent_to(peer));
            let all = (sent.routing.dropped, counters.lost.get());
            let before = self.of.insert(peer.clone(), all).unwrap_or_default();
            let dropped = all.0.saturating_sub(before.0);
            if dropped > 0 {
                tracing::warn!(
                    target: TARGET, %node, %peer, dropped,
                    "messages for that node were dropped: it reads too slowly, or takes none so large"
                );
            }
            let lost = all.1.saturating_sub(before.1);
            if lost > 0 {
                tracing::warn!(
                    target: TARGET, %node, %peer, lost,
                    "messages of that node were lost on their way here: this node reads too slowly, or takes none so large"
                );
            }
        }
    }

    /// That member is counted no more.
    pub(crate) fn forget(&mut self, name: &NodeName) {
        self.of.remove(name);
    }
}
