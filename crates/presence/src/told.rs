//! What this node's clients have been told, and hence what they must be told next.
//!
//! A diff of the tracker becomes one `presence_diff`. When diffs were lost on the way, because this node fell too far
//! behind, the clients of every topic that may be concerned are told its whole list again.
//!
//! Why not the difference alone? A client may hold what no diff ever told: it joined, and its list named somebody whose
//! arrival and departure were both among the lost diffs. So the topics whose lists went to clients meanwhile are
//! remembered (`listed`), and a list also takes away what it does not name.
//!
//! All this rests on a promise of the tracker: its lists show the ends of steps only. A list that showed the middle of a
//! step could name an entry that is gone at its end, and no diff would ever say so.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use matryoshka_tracker::{Diff, Entry, PresenceRef};

use crate::list::{PresenceDiff, PresenceState};

/// The entries that clients have been told of by diffs, and not been told the end of.
#[derive(Debug, Default)]
pub(crate) struct Told {
    topics: BTreeMap<Arc<str>, BTreeSet<PresenceRef>>,
}

impl Told {
    /// What to tell after the tracker's diff; `None` if clients know all of it.
    pub(crate) fn diff(&mut self, diff: &Diff) -> Option<PresenceDiff> {
        let told = self.topics.entry(Arc::clone(&diff.topic)).or_default();
        let leaves = news(&diff.leaves, |reference| told.remove(reference));
        let joins = news(&diff.joins, |reference| told.insert(*reference));
        if told.is_empty() {
            self.topics.remove(&diff.topic);
        }
        let changed = !joins.is_empty() || !leaves.is_empty();
        changed.then(|| PresenceDiff {
            joins: PresenceState::new(joins),
            leaves: PresenceState::new(leaves),
        })
    }

    /// The topics whose clients may hold something else than `all` says, each with its list, in order. `listed` are the
    /// topics whose lists were given to clients since all diffs were last told.
    pub(crate) fn resync(
        &mut self,
        all: impl IntoIterator<Item = Arc<Entry>>,
        listed: &BTreeSet<Arc<str>>,
    ) -> Vec<(Arc<str>, PresenceState)> {
        let mut lists: BTreeMap<Arc<str>, Vec<Arc<Entry>>> = BTreeMap::new();
        for topic in self.topics.keys().chain(listed) {
            lists.entry(Arc::clone(topic)).or_default();
        }
        for entry in all {
            let topic = Arc::clone(&entry.topic);
            lists.entry(topic).or_default().push(entry);
        }
        lists
            .into_iter()
            .filter(|(topic, list)| self.replace(topic, list) || listed.contains(topic))
            .map(|(topic, list)| (topic, PresenceState::new(list)))
            .collect()
    }

    /// Makes the list what was told of a topic. Whether it was something else.
    fn replace(&mut self, topic: &Arc<str>, list: &[Arc<Entry>]) -> bool {
        let now: BTreeSet<_> = list.iter().map(|entry| entry.reference).collect();
        let before = if now.is_empty() {
            self.topics.remove(topic)
        } else {
            self.topics.insert(Arc::clone(topic), now.clone())
        };
        before.unwrap_or_default() != now
    }
}

fn news(entries: &[Arc<Entry>], mut is_news: impl FnMut(&PresenceRef) -> bool) -> Vec<Arc<Entry>> {
    let news = entries.iter().filter(|entry| is_news(&entry.reference));
    news.cloned().collect()
}

#[cfg(test)]
mod tests;
