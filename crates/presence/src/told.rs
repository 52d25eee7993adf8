//! What this node's clients have been told, and hence what they must be told next.
//!
//! A diff of the tracker usually becomes one `presence_diff`. When diffs were lost on the way, because this node fell
//! too far behind, the difference between everything told and everything tracked becomes one `presence_diff` for each
//! topic. Either way a client that applies them in order holds the tracker's list.
//!
//! That rests on a promise of the tracker: its lists show the ends of steps only. A list that showed the middle of a step
//! could name an entry that is gone at its end, and no diff would ever say so.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use matryoshka_tracker::{Diff, Entry, PresenceRef};

use crate::list::{PresenceDiff, PresenceState};

/// Every entry that clients have been told of and not been told the end of.
///
/// Diffs may be older than a [`resync`](Self::resync) before them: what they say again is left out.
#[derive(Debug, Default)]
pub(crate) struct Told {
    topics: BTreeMap<Arc<str>, BTreeMap<PresenceRef, Arc<Entry>>>,
}

impl Told {
    /// What to tell after the tracker's diff; `None` if clients know all of it.
    pub(crate) fn diff(&mut self, diff: &Diff) -> Option<PresenceDiff> {
        let told = self.topics.entry(Arc::clone(&diff.topic)).or_default();
        let leaves: Vec<_> = diff
            .leaves
            .iter()
            .filter_map(|entry| told.remove(&entry.reference))
            .collect();
        let joins: Vec<_> = diff
            .joins
            .iter()
            .filter(|entry| told.insert(entry.reference, Arc::clone(entry)).is_none())
            .map(Arc::clone)
            .collect();
        if told.is_empty() {
            self.topics.remove(&diff.topic);
        }
        grouped(joins, leaves)
    }

    /// What to tell, by topic, so that clients hold exactly `all`. Topics come in order.
    pub(crate) fn resync(
        &mut self,
        all: impl IntoIterator<Item = Arc<Entry>>,
    ) -> Vec<(Arc<str>, PresenceDiff)> {
        let mut tracked: BTreeMap<Arc<str>, Vec<Arc<Entry>>> = BTreeMap::new();
        for entry in all {
            tracked
                .entry(Arc::clone(&entry.topic))
                .or_default()
                .push(entry);
        }
        for topic in self.topics.keys() {
            tracked.entry(Arc::clone(topic)).or_default();
        }
        tracked
            .into_iter()
            .filter_map(|(topic, entries)| {
                let diff = self.difference(&topic, entries);
                self.diff(&diff).map(|diff| (topic, diff))
            })
            .collect()
    }

    fn difference(&self, topic: &Arc<str>, entries: Vec<Arc<Entry>>) -> Diff {
        let tracked: BTreeSet<PresenceRef> = entries.iter().map(|entry| entry.reference).collect();
        let leaves = self
            .topics
            .get(topic)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|entry| !tracked.contains(&entry.reference))
            .map(Arc::clone)
            .collect();
        Diff {
            topic: Arc::clone(topic),
            joins: entries,
            leaves,
        }
    }

    /// How many entries clients know of.
    pub(crate) fn len(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }
}

fn grouped(joins: Vec<Arc<Entry>>, leaves: Vec<Arc<Entry>>) -> Option<PresenceDiff> {
    let changed = !joins.is_empty() || !leaves.is_empty();
    changed.then(|| PresenceDiff {
        joins: PresenceState::new(joins),
        leaves: PresenceState::new(leaves),
    })
}

#[cfg(test)]
mod tests;
