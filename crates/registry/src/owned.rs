//! What each owner has in one shard: found by its owner when that dies, by its slot when one entry goes.
//!
//! The notes of an owner form a ring, in the order of registration, that begins and ends at the owner's hub, a link without a
//! meaning. The hub stays until the owner dies, so an owner that comes and goes under the shard's keys allocates nothing.
//! Pure: no clock, no I/O, no tasks.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::OwnerId;
use crate::rings::{Rings, Slot};

/// What finds one entry in its shard: the hash of its key, and its serial, which no other entry of the shard ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) hash: u64,
    pub(crate) serial: u64,
}

/// The notes of a shard, all owners' together.
#[derive(Default)]
pub(crate) struct Owned {
    hubs: HashTable<Hub>,
    rings: Rings,
    /// The hub of who registered last, and often registers next.
    recent: Option<Hub>,
}

#[derive(Clone, Copy)]
struct Hub {
    owner: OwnerId,
    slot: Slot,
}

impl Owned {
    /// Notes an entry: its slot, and whether it is the first that this owner ever had here.
    #[inline]
    pub(crate) fn insert(&mut self, owner: OwnerId, note: Note) -> (Slot, bool) {
        let (hub, is_first) = match self.recent {
            Some(recent) if recent.owner == owner => (recent.slot, false),
            _ => self.hub(owner),
        };
        (self.rings.insert_before(hub, note), is_first)
    }

    /// The owner's hub, and whether it was made just now.
    #[inline]
    fn hub(&mut self, owner: OwnerId) -> (Slot, bool) {
        let place = self
            .hubs
            .entry(hash_of(owner), |hub| hub.owner == owner, rehash);
        let (slot, is_first) = match place {
            Place::Occupied(hub) => (hub.get().slot, false),
            Place::Vacant(place) => {
                let slot = self.rings.start(Note { hash: 0, serial: 0 });
                place.insert(Hub { owner, slot });
                (slot, true)
            }
        };
        self.recent = Some(Hub { owner, slot });
        (slot, is_first)
    }

    /// Forgets the entry in that slot. Only who took the entry out may call this, since slots are used again.
    #[inline]
    pub(crate) fn remove(&mut self, slot: Slot) -> Note {
        self.rings.remove(slot)
    }

    /// Forgets the oldest entry of that owner; with the last one, the owner.
    pub(crate) fn pop(&mut self, owner: OwnerId) -> Option<Note> {
        let found = self.hubs.find_entry(hash_of(owner), |h| h.owner == owner);
        let hub = found.ok()?;
        let slot = hub.get().slot;
        let first = self.rings.after(slot);
        let is_bare = first == slot;
        if is_bare {
            hub.remove();
            self.recent = None;
        }
        let note = self.rings.remove(first);
        (!is_bare).then_some(note)
    }

    /// The owner's notes, oldest first.
    pub(crate) fn notes(&self, owner: OwnerId) -> impl Iterator<Item = Note> {
        let hub = self.hubs.find(hash_of(owner), |hub| hub.owner == owner);
        let hub = hub.map(|hub| hub.slot);
        let slots = std::iter::successors(hub, move |&slot| {
            let after = self.rings.after(slot);
            (Some(after) != hub).then_some(after)
        });
        slots.skip(1).map(|slot| self.rings.note(slot))
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.hubs.is_empty() && self.rings.len() == 0
    }
}

/// Any fixed hash does: ids are numbers of our own, which nobody can choose.
fn hash_of(owner: OwnerId) -> u64 {
    FixedState::with_seed(0).hash_one(owner)
}

fn rehash(hub: &Hub) -> u64 {
    hash_of(hub.owner)
}

#[cfg(test)]
mod tests;
