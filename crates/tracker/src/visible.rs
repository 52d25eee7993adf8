//! What this node lists, and how that changes from step to step.
//!
//! The set remembers what it held of every entry it touched since the last step was taken. So a step's diffs are the
//! difference of the set before and after it by construction, whatever was put in and taken out in between.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diff::Diff;
use crate::entries::{Entries, Place};
use crate::entry::Entry;

/// All visible entries, by topic.
#[derive(Debug, Default)]
pub(crate) struct VisibleSet {
    topics: BTreeMap<Arc<str>, Entries>,
    touched: BTreeMap<Arc<str>, Vec<Touched>>,
}

/// One topic after a step: what changed, and the list that came of it.
#[derive(Debug)]
pub(crate) struct TopicStep {
    pub(crate) diff: Diff,
    pub(crate) entries: Entries,
}

impl VisibleSet {
    /// The list of a topic, changes of the running step included.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn entries(&self, topic: &str) -> Entries {
        self.topics.get(topic).cloned().unwrap_or_default()
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.topics.values().flat_map(Entries::iter)
    }

    /// The visible entries under a key.
    pub(crate) fn by_key<'a>(
        &'a self,
        topic: &str,
        key: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.topics
            .get(topic)
            .into_iter()
            .flat_map(move |entries| entries.by_key(key))
    }

    /// Whether the running step already changed this entry.
    pub(crate) fn touched(&self, entry: &Entry) -> bool {
        self.touched.get(&entry.topic).is_some_and(|touched| {
            touched
                .iter()
                .rev()
                .any(|touched| touched.entry.reference == entry.reference)
        })
    }

    /// Makes an entry visible.
    pub(crate) fn insert(&mut self, entry: &Arc<Entry>) {
        let entries = self.topics.entry(Arc::clone(&entry.topic)).or_default();
        let was = entries.contains(&Place::of(entry));
        entries.insert(Arc::clone(entry));
        self.touch(entry, was);
    }

    /// Makes an entry invisible.
    pub(crate) fn remove(&mut self, entry: &Arc<Entry>) {
        let Some(entries) = self.topics.get_mut(&entry.topic) else {
            return;
        };
        if !entries.remove(entry) {
            return;
        }
        if entries.is_empty() {
            self.topics.remove(&entry.topic);
        }
        self.touch(entry, true);
    }

    fn touch(&mut self, entry: &Arc<Entry>, was_visible: bool) {
        let touched = Touched {
            entry: Arc::clone(entry),
            was_visible,
        };
        self.touched
            .entry(Arc::clone(&entry.topic))
            .or_default()
            .push(touched);
    }

    /// Ends the step: one item for each topic whose list differs from what it was when the last step ended.
    pub(crate) fn take_step(&mut self) -> Vec<TopicStep> {
        std::mem::take(&mut self.touched)
            .into_iter()
            .filter_map(|(topic, touched)| self.step_of(topic, touched))
            .collect()
    }

    fn step_of(&self, topic: Arc<str>, mut touched: Vec<Touched>) -> Option<TopicStep> {
        // Stable: the first touch of an entry, which knows how it was before the step, stays first.
        touched.sort_by(|a, b| Place::of(&a.entry).cmp(&Place::of(&b.entry)));
        touched.dedup_by(|later, first| Place::of(&later.entry) == Place::of(&first.entry));
        let entries = self.topics.get(&topic).cloned().unwrap_or_default();
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for Touched { entry, was_visible } in touched {
            match (was_visible, entries.contains(&Place::of(&entry))) {
                (false, true) => joins.push(entry),
                (true, false) => leaves.push(entry),
                (true, true) | (false, false) => {}
            }
        }
        let changed = !(joins.is_empty() && leaves.is_empty());
        changed.then(|| TopicStep {
            diff: Diff {
                topic,
                joins,
                leaves,
            },
            entries,
        })
    }
}

/// Lets entries that come from elsewhere share one copy of their topic's name.
pub(crate) struct SharedNames<'a> {
    visible: &'a VisibleSet,
    fresh: BTreeSet<Arc<str>>,
}

impl<'a> SharedNames<'a> {
    pub(crate) fn new(visible: &'a VisibleSet) -> Self {
        Self {
            visible,
            fresh: BTreeSet::new(),
        }
    }

    pub(crate) fn share(&mut self, name: &Arc<str>) -> Arc<str> {
        if let Some((shared, _)) = self.visible.topics.get_key_value(name) {
            return Arc::clone(shared);
        }
        if let Some(shared) = self.fresh.get(name) {
            return Arc::clone(shared);
        }
        self.fresh.insert(Arc::clone(name));
        Arc::clone(name)
    }
}

/// An entry that the running step changed, and whether it was visible before that change.
#[derive(Debug)]
struct Touched {
    entry: Arc<Entry>,
    was_visible: bool,
}

#[cfg(test)]
mod tests;
