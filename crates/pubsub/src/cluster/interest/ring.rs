//! What was published and not sent to a peer, as long as that peer may still ask for it.
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::config::Config;
use super::hash::TopicHash;
use super::slots::{Slot, SlotSet};
use crate::Envelope;

/// A message, and who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) held: Held,
    pub(super) hash: TopicHash,
    pub(super) waiting: SlotSet,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) pos: u64,
    pub(super) lane: u16,
    pub(super) envelope: Arc<Envelope>,
}

impl Held {
    /// What it counts in the ring.
    pub(super) fn bytes(&self) -> usize {
        self.envelope.payload.len() + self.envelope.topic.len() + Config::ENTRY_BYTES
    }
}

/// All of them, oldest first. An entry for which nobody waits is gone.
#[derive(Debug)]
pub(super) struct Ring {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    max_bytes: usize,
    max_entries: usize,
}

impl Ring {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
            max_bytes: config.ring_bytes,
            max_entries: config.ring_entries,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is room for one of so many bytes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.max_bytes && self.entries.len() < self.max_entries
    }

    /// Appends one that is younger than all others.
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.held.bytes();
        self.entries.insert(entry.held.pos, entry);
    }

    pub(super) fn pop_oldest(&mut self) -> Option<Entry> {
        let (_, entry) = self.entries.pop_first()?;
        self.bytes -= entry.held.bytes();
        Some(entry)
    }

    /// Of a wrong variant: makes the slot wait again.
    #[cfg(test)]
    pub(super) fn put_back(&mut self, slot: Slot, held: &Held, hash: TopicHash) {
        if let Some(entry) = self.entries.get_mut(&held.pos) {
            entry.waiting.insert(slot);
        } else {
            let (held, waiting) = (held.clone(), SlotSet::one(slot));
            self.push(Entry {
                held,
                hash,
                waiting,
            });
        }
    }

    /// How many entries the slot waits for.
    #[cfg(test)]
    pub(super) fn waited_for(&self, slot: Slot) -> usize {
        let waits = |entry: &&Entry| entry.waiting.contains(slot);
        self.entries.values().filter(waits).count()
    }

    /// Of a wrong variant.
    #[cfg(test)]
    pub(super) fn pop_newest(&mut self) -> Option<Entry> {
        let (_, entry) = self.entries.pop_last()?;
        self.bytes -= entry.held.bytes();
        Some(entry)
    }

    /// That slot no longer waits for anything in `after + 1 ..= upto`; how many it waited for.
    pub(super) fn trim(&mut self, slot: Slot, after: u64, upto: u64) -> usize {
        let (mut count, mut empty) = (0, Vec::new());
        if after < upto {
            for (pos, entry) in self.entries.range_mut(after + 1..=upto) {
                if entry.waiting.remove(slot) {
                    count += 1;
                    if entry.waiting.is_empty() {
                        empty.push(*pos);
                    }
                }
            }
        }
        self.remove_all(&empty);
        count
    }

    /// Takes out all that the slot waits for after that position, oldest first.
    pub(super) fn take_all(&mut self, slot: Slot, after: u64) -> Vec<Held> {
        self.take_if(slot, after, |_| true)
    }

    /// Takes out what the slot waits for of these topics after that position, oldest first, in one pass.
    pub(super) fn take_topics(
        &mut self,
        slot: Slot,
        after: u64,
        topics: &BTreeSet<TopicHash>,
    ) -> Vec<Held> {
        self.take_if(slot, after, |entry| topics.contains(&entry.hash))
    }

    fn take_if(&mut self, slot: Slot, after: u64, wanted: impl Fn(&Entry) -> bool) -> Vec<Held> {
        let (mut taken, mut empty) = (Vec::new(), Vec::new());
        for (pos, entry) in self.entries.range_mut((Excluded(after), Unbounded)) {
            if entry.waiting.contains(slot) && wanted(entry) {
                entry.waiting.remove(slot);
                taken.push(entry.held.clone());
                if entry.waiting.is_empty() {
                    empty.push(*pos);
                }
            }
        }
        self.remove_all(&empty);
        taken
    }

    fn remove_all(&mut self, empty: &[u64]) {
        for pos in empty {
            let gone = self.entries.remove(pos);
            self.bytes -= gone.map_or(0, |entry| entry.held.bytes());
        }
    }
}
