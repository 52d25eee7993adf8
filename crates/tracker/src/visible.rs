//! What this node lists, and how that changes from step to step.
//!
//! The set remembers what it held of every entry it touched since the last step was taken. So a step's diffs are the
//! difference of the set before and after it by construction, whatever was put in and taken out in between.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use matryoshka_pubsub::NodeName;

use crate::diff::Diff;
use crate::entries::{Entries, Place};
use crate::entry::Entry;
use crate::life::Life;
use crate::reference::{PresenceRef, Writer};
pub(crate) use held_key::Beside;
use held_key::HeldKey;

/// All visible entries, by topic.
#[derive(Debug, Default)]
pub(crate) struct VisibleSet {
    topics: BTreeMap<Arc<str>, Entries>,
    /// Those of them that are held, and what they stand beside.
    held: BTreeMap<TopicKey, HeldKey>,
    /// How many were looked for because something was to be held beside them.
    #[cfg(test)]
    gathered: usize,
    /// Where the running step left nothing held. Until it ends something may be again: a held entry is updated in several changes.
    idle: Vec<TopicKey>,
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

    /// The visible entries that are held.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn held(&self) -> impl Iterator<Item = &ShownHeld> {
        self.held.values().flat_map(HeldKey::held)
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.topics.values().flat_map(Entries::iter)
    }

    /// Checks that no reference is listed twice under a key, and that of each key under which something is held all that is tracked is
    /// known to stand beside it.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn assert_consistent(&self) {
        for entries in self.topics.values() {
            let next = entries.iter().skip(1);
            for (entry, next) in entries.iter().zip(next) {
                assert_ne!(
                    (&entry.key, entry.reference),
                    (&next.key, next.reference),
                    "I14: one reference on two nodes"
                );
            }
        }
        for ((topic, key), there) in &self.held {
            assert!(!there.is_idle(), "nothing is held under {key}");
            let held: BTreeSet<_> = there.held().map(|held| held.entry.reference).collect();
            let listed = self.by_key(topic, key).map(|entry| entry.reference);
            let tracked: BTreeSet<_> = listed.filter(|entry| !held.contains(entry)).collect();
            let beside: BTreeSet<_> = there.beside().collect();
            assert_eq!(
                tracked, beside,
                "what is held under {key} gives way to new entries"
            );
        }
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

    /// Whether an entry is visible under the key and reference of this one, of whatever node it is.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        let entries = self.topics.get(&entry.topic);
        entries.is_some_and(|entries| entries.has(&entry.key, entry.reference))
    }

    /// Makes an entry visible. If it is new beside what is held under its topic and key, all of that is not visible any more: it is
    /// given back.
    pub(crate) fn insert(&mut self, entry: &Arc<Entry>, wrote_as: WroteAs<'_>) -> Vec<ShownHeld> {
        let displaced = self.displace(entry, wrote_as);
        for held in &displaced {
            self.take_out(&held.entry);
        }
        self.put_in(entry);
        displaced
    }

    /// Makes a held entry visible, unless its user is back. Whether it is.
    pub(crate) fn insert_held(
        &mut self,
        entry: &Arc<Entry>,
        of: HeldBy,
        beside: Beside<'_>,
        wrote_as: WroteAs<'_>,
    ) -> bool {
        let key = topic_key(entry);
        if !self.held.contains_key(&key) {
            let tracked = HeldKey::among(self.by_key(&entry.topic, &entry.key));
            #[cfg(test)]
            {
                self.gathered += tracked.beside().count();
            }
            self.held.insert(key.clone(), tracked);
        }
        let Some(there) = self.held.get_mut(&key) else {
            return false;
        };
        let is_held = there.hold(entry, of, beside, wrote_as);
        if there.holds_nothing() {
            self.idle.push(key);
        }
        if is_held {
            self.put_in(entry);
        }
        is_held
    }

    /// Somebody else has a held entry from now on, or a later value of it, which stands beside the same. Whether that is visible.
    pub(crate) fn hand_over(
        &mut self,
        before: &Arc<Entry>,
        entry: &Arc<Entry>,
        to: HeldBy,
    ) -> bool {
        let there = self.held.get_mut(&topic_key(before));
        let is_held = there.is_some_and(|there| there.hand_over(before, entry, to));
        if is_held {
            if before.reference != entry.reference {
                self.take_out(before);
            }
            self.put_in(entry);
        }
        is_held
    }

    /// The entry of a held set that is visible under the reference of this one, and which set it is.
    pub(crate) fn held_of_set(&self, entry: &Entry) -> Option<(Arc<Entry>, HeldBy)> {
        if self.held.is_empty() {
            return None;
        }
        let shown = self.held.get(&topic_key(entry))?.get(entry)?;
        let of_set = matches!(shown.of, HeldBy::Set(..));
        of_set.then(|| (Arc::clone(&shown.entry), shown.of.clone()))
    }

    /// Makes an entry invisible. Whether it was visible.
    pub(crate) fn remove(&mut self, entry: &Arc<Entry>) -> bool {
        let was_visible = self.take_out(entry);
        if was_visible && !self.held.is_empty() {
            self.forget_place(entry);
        }
        was_visible
    }

    fn forget_place(&mut self, entry: &Entry) {
        let key = topic_key(entry);
        if let Some(there) = self.held.get_mut(&key) {
            there.remove(entry);
            if there.holds_nothing() {
                self.idle.push(key);
            }
        }
    }

    /// Beside which entries one is held: so many at most as are told.
    pub(crate) fn beside(&self, entry: &Entry) -> Vec<PresenceRef> {
        let there = self.held.get(&topic_key(entry));
        let beside = there.into_iter().flat_map(HeldKey::beside);
        beside.take(MOST_TOLD).collect()
    }

    fn displace(&mut self, entry: &Arc<Entry>, wrote_as: WroteAs<'_>) -> Vec<ShownHeld> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let key = topic_key(entry);
        let Some(there) = self.held.get_mut(&key) else {
            return Vec::new();
        };
        let displaced = there.admit(entry, wrote_as);
        if there.holds_nothing() {
            self.idle.push(key);
        }
        displaced
    }

    fn put_in(&mut self, entry: &Arc<Entry>) {
        let entries = self.topics.entry(Arc::clone(&entry.topic)).or_default();
        let before = entries.insert(Arc::clone(entry));
        self.touch(entry, before, true);
    }

    fn take_out(&mut self, entry: &Arc<Entry>) -> bool {
        let Some(entries) = self.topics.get_mut(&entry.topic) else {
            return false;
        };
        let Some(before) = entries.remove(entry) else {
            return false;
        };
        if entries.is_empty() {
            self.topics.remove(&entry.topic);
        }
        self.touch(entry, Some(before), false);
        true
    }

    fn touch(&mut self, entry: &Arc<Entry>, before: Option<Arc<Entry>>, is_there: bool) {
        let touched = Touched {
            entry: Arc::clone(entry),
            before,
            is_there,
        };
        self.touched
            .entry(Arc::clone(&entry.topic))
            .or_default()
            .push(touched);
    }

    /// Ends the step: one item for each topic whose list differs from what it was when the last step ended.
    pub(crate) fn take_step(&mut self) -> Vec<TopicStep> {
        for key in mem::take(&mut self.idle) {
            if self.held.get_mut(&key).is_some_and(HeldKey::end_step) {
                self.held.remove(&key);
            }
        }
        mem::take(&mut self.touched)
            .into_iter()
            .filter_map(|(topic, touched)| self.step_of(topic, touched))
            .collect()
    }

    fn step_of(&self, topic: Arc<str>, mut touched: Vec<Touched>) -> Option<TopicStep> {
        // Stable: of several touches of one entry the first knows how it was before the step, the last how it is after it.
        touched.sort_by(|a, b| Place::of(&a.entry).cmp(&Place::of(&b.entry)));
        touched.dedup_by(|later, first| {
            let same = Place::of(&later.entry) == Place::of(&first.entry);
            if same {
                mem::swap(&mut first.entry, &mut later.entry);
                first.is_there = later.is_there;
            }
            same
        });
        let entries = self.topics.get(&topic).cloned().unwrap_or_default();
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for touched in touched {
            let (before, now) = touched.into_change();
            // The same by identity may still differ in what it says, if a peer does not speak the truth.
            if before != now {
                joins.extend(now);
                leaves.extend(before);
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

/// An entry that the running step changed, and what was visible in its place before that change.
#[derive(Debug)]
struct Touched {
    entry: Arc<Entry>,
    before: Option<Arc<Entry>>,
    /// Whether the entry is visible since then, or nothing in its place.
    is_there: bool,
}

impl Touched {
    /// What was visible, and what is.
    fn into_change(self) -> (Option<Arc<Entry>>, Option<Arc<Entry>>) {
        (self.before, self.is_there.then_some(self.entry))
    }
}

/// A held entry that is visible.
#[derive(Debug)]
pub(crate) struct ShownHeld {
    pub(crate) entry: Arc<Entry>,
    pub(crate) of: HeldBy,
}

impl ShownHeld {
    fn new(entry: &Arc<Entry>, of: HeldBy) -> Self {
        let entry = Arc::clone(entry);
        Self { entry, of }
    }
}

/// Who has a held entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldBy {
    /// This node's own log.
    Own,
    /// The copy of that node.
    Copy(NodeName),
    /// The held set of that life of that node.
    Set(NodeName, Life),
}

/// Whether the tracker that has an entry wrote as that one before it took another number.
pub(crate) type WroteAs<'a> = &'a dyn Fn(&Entry, Writer) -> bool;

/// No tracker has taken another number.
#[cfg(test)]
pub(crate) fn under_one_number(_: &Entry, _: Writer) -> bool {
    false
}

type TopicKey = (Arc<str>, Arc<str>);

fn topic_key(entry: &Entry) -> TopicKey {
    (Arc::clone(&entry.topic), Arc::clone(&entry.key))
}

/// So many entries beside a held one are told of: more places one user hardly has.
pub(crate) const MOST_TOLD: usize = 16;

mod held_key;

#[cfg(test)]
mod tests;
