//! Looking into a shard, for tests and the simulator.
//!
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::NodeName;

use super::Shard;
use crate::entries::Entries;
use crate::entry::Entry;
use crate::message::Position;
use crate::owner_log::Slot;

impl Shard {
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.visible.iter()
    }

    pub(crate) fn entries(&self, topic: &str) -> Entries {
        self.visible.entries(topic)
    }

    pub(crate) fn own_slot(&self, slot: &Slot) -> Option<&Arc<Entry>> {
        self.own.get(slot)
    }

    pub(crate) fn at(&self) -> Position {
        self.own.at()
    }

    /// What is held of another node, shown or not.
    pub(crate) fn have(&self, node: &NodeName) -> Option<Position> {
        self.peers.get(node)?.have()
    }

    /// Whether a timer is due.
    pub(crate) fn due(&self, now: Duration) -> bool {
        self.poll_timeout() <= now
    }

    /// Checks what must hold between any two inputs.
    pub(crate) fn assert_consistent(&self) {
        self.own.assert_consistent();
        assert!(
            self.outbox.is_empty(),
            "the outbox is emptied before the next input"
        );
        for (node, peer) in &self.peers {
            assert!(node != self.own.node(), "a node is no peer of its own");
            assert!(
                !peer.shown || peer.link.is_some(),
                "{node} is shown without a link"
            );
            assert!(
                !peer.shown || peer.caught_up(),
                "{node} is shown before it caught up"
            );
        }
        let own = self.own.iter();
        let shown = self.peers.values().filter(|peer| peer.shown);
        let shown = shown.flat_map(|peer| peer.replica.iter().flat_map(|replica| replica.iter()));
        let mut expected: Vec<&Arc<Entry>> = own.chain(shown).collect();
        let mut listed: Vec<&Arc<Entry>> = self.visible.iter().collect();
        let order = |entry: &&Arc<Entry>| (entry.reference, entry.node.clone());
        expected.sort_by_key(order);
        listed.sort_by_key(order);
        assert_eq!(
            expected, listed,
            "I21: the list is what the copies that are shown hold"
        );
    }
}
