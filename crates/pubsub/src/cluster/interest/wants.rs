//! What the peers want: one map for all of them, from a topic's hash to the slots of the links that want it.
//!
//! A link that forgets everything at once gives its slot up and takes a fresh one, which is as good as clearing its bits. The
//! old bits stay behind masked (no link answers to that slot) and are swept a few topics at a time; after that the slot is used again.
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::hash::TopicHash;
use super::slots::{Slot, SlotSet};

/// Topics visited by one step of the sweep.
const SWEEP_STEP: usize = 1_000;
/// Slots that may wait for the sweep. At the next one all are swept at once, so that slots stay few, whatever peers do.
const MAX_RETIRED: usize = 64;

#[derive(Debug)]
pub(super) struct Wants {
    rows: BTreeMap<TopicHash, SlotSet>,
    /// Slots that were ever in use: all below this.
    slots: Slot,
    free: SlotSet,
    /// Given up since the present sweep began.
    retired: SlotSet,
    sweep: Option<Sweep>,
}

/// A pass over all topics.
#[derive(Debug)]
struct Sweep {
    slots: SlotSet,
    after: Option<TopicHash>,
}

impl Wants {
    pub(super) fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            slots: 0,
            free: SlotSet::EMPTY,
            retired: SlotSet::EMPTY,
            sweep: None,
        }
    }

    /// A slot that wants nothing.
    pub(super) fn take_slot(&mut self) -> Slot {
        if let Some(slot) = self.free.first() {
            self.free.remove(slot);
            return slot;
        }
        self.slots += 1;
        self.slots - 1
    }

    /// Forgets what that slot wants. The slot is no longer its link's.
    pub(super) fn retire(&mut self, slot: Slot) {
        self.retired.insert(slot);
        if self.retired.len() >= MAX_RETIRED {
            while self.sweep() {}
        }
    }

    /// Whether it is news.
    pub(super) fn insert(&mut self, slot: Slot, topic: TopicHash) -> bool {
        self.rows
            .entry(topic)
            .or_insert(SlotSet::EMPTY)
            .insert(slot)
    }

    /// Whether it was wanted.
    pub(super) fn remove(&mut self, slot: Slot, topic: TopicHash) -> bool {
        let Some(row) = self.rows.get_mut(&topic) else {
            return false;
        };
        let there = row.remove(slot);
        if row.is_empty() {
            self.rows.remove(&topic);
        }
        there
    }

    pub(super) fn contains(&self, slot: Slot, topic: TopicHash) -> bool {
        self.of(topic).is_some_and(|row| row.contains(slot))
    }

    /// Who wants that topic. Slots that were given up may be among them.
    pub(super) fn of(&self, topic: TopicHash) -> Option<&SlotSet> {
        self.rows.get(&topic)
    }

    /// Topics remembered.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Does a step of the sweep; whether there is more to do.
    pub(super) fn sweep(&mut self) -> bool {
        let Some(mut sweep) = self.sweep.take().or_else(|| self.next_sweep()) else {
            return false;
        };
        sweep.after = self.clear(&sweep);
        if sweep.after.is_some() {
            self.sweep = Some(sweep);
        } else {
            for slot in sweep.slots.iter() {
                self.free.insert(slot);
            }
        }
        self.sweep.is_some() || !self.retired.is_empty()
    }

    fn next_sweep(&mut self) -> Option<Sweep> {
        let slots = std::mem::replace(&mut self.retired, SlotSet::EMPTY);
        (!slots.is_empty()).then_some(Sweep { slots, after: None })
    }

    /// Clears the swept slots' bits from the next few topics; the last of them unless that was the end.
    fn clear(&mut self, sweep: &Sweep) -> Option<TopicHash> {
        let from = sweep.after.map_or(Unbounded, Excluded);
        let (mut visited, mut last, mut empty) = (0, None, Vec::new());
        for (topic, row) in self.rows.range_mut((from, Unbounded)).take(SWEEP_STEP) {
            row.remove_all(&sweep.slots);
            if row.is_empty() {
                empty.push(*topic);
            }
            (visited, last) = (visited + 1, Some(*topic));
        }
        for topic in empty {
            self.rows.remove(&topic);
        }
        last.filter(|_| visited == SWEEP_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::HashKey;
    use super::*;

    fn topic(n: usize) -> TopicHash {
        HashKey([1; 16]).hash(&n.to_string())
    }

    #[test]
    fn a_retired_slot_is_used_again_only_after_its_bits_are_swept() {
        let mut wants = Wants::new();
        let (old, other) = (wants.take_slot(), wants.take_slot());
        for n in 0..2_500 {
            assert!(wants.insert(old, topic(n)));
        }
        wants.insert(other, topic(1));
        wants.retire(old);
        assert!(wants.sweep());
        assert_eq!(wants.take_slot(), 2);
        assert!(wants.sweep());
        assert!(!wants.sweep());
        assert_eq!(wants.len(), 1);
        assert_eq!(wants.take_slot(), old);
        assert!(!wants.contains(old, topic(1)) && wants.contains(other, topic(1)));
    }

    #[test]
    fn slots_stay_few_without_a_sweep() {
        let mut wants = Wants::new();
        for n in 0..1_000 {
            let slot = wants.take_slot();
            assert!(slot <= 2 * MAX_RETIRED);
            wants.insert(slot, topic(n));
            wants.retire(slot);
        }
    }

    #[test]
    fn a_topic_that_nobody_wants_is_not_remembered() {
        let mut wants = Wants::new();
        let slot = wants.take_slot();
        assert!(wants.insert(slot, topic(1)) && !wants.insert(slot, topic(1)));
        assert!(wants.remove(slot, topic(1)) && !wants.remove(slot, topic(1)));
        assert_eq!(wants.len(), 0);
    }
}
