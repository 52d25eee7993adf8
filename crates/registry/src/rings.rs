//! Rings of notes in one vector: a link costs no allocation of its own, and goes without a search.
//! Pure: no clock, no I/O, no tasks.

use crate::owned::Note;

/// Where a link stands, for as long as it is in a ring.
pub(crate) type Slot = u32;

#[derive(Default)]
pub(crate) struct Rings {
    links: Vec<Link>,
    /// The slots that are free, last freed first: each says the next one, and the last one itself.
    free: Option<Slot>,
}

struct Link {
    before: Slot,
    after: Slot,
    note: Note,
}

impl Rings {
    /// A new ring of one link.
    pub(crate) fn start(&mut self, note: Note) -> Slot {
        let slot = self.slot(note);
        self.join(slot, slot);
        slot
    }

    /// A new link before that one.
    #[inline]
    pub(crate) fn insert_before(&mut self, after: Slot, note: Note) -> Slot {
        let slot = self.slot(note);
        self.join(self.link(after).before, slot);
        self.join(slot, after);
        slot
    }

    /// Takes a link out of its ring.
    #[inline]
    pub(crate) fn remove(&mut self, slot: Slot) -> Note {
        let Link {
            before,
            after,
            note,
        } = *self.link(slot);
        self.join(before, after);
        self.link_mut(slot).after = self.free.unwrap_or(slot);
        self.free = Some(slot);
        note
    }

    /// The link after that one.
    pub(crate) fn after(&self, slot: Slot) -> Slot {
        self.link(slot).after
    }

    /// What stands there.
    pub(crate) fn note(&self, slot: Slot) -> Note {
        self.link(slot).note
    }

    #[inline]
    fn slot(&mut self, note: Note) -> Slot {
        if let Some(slot) = self.free {
            let link = self.link_mut(slot);
            link.note = note;
            let next = link.after;
            self.free = (next != slot).then_some(next);
            return slot;
        }
        let slot = Slot::try_from(self.links.len());
        let slot = slot.expect("fewer than 2^32 entries and owners in a shard");
        let (before, after) = (slot, slot);
        self.links.push(Link {
            before,
            after,
            note,
        });
        slot
    }

    #[inline]
    fn join(&mut self, before: Slot, after: Slot) {
        self.link_mut(before).after = after;
        self.link_mut(after).before = before;
    }

    fn link(&self, slot: Slot) -> &Link {
        &self.links[slot as usize]
    }

    fn link_mut(&mut self, slot: Slot) -> &mut Link {
        &mut self.links[slot as usize]
    }

    /// How many links are in rings.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let free = std::iter::successors(self.free, |&slot| {
            let next = self.after(slot);
            (next != slot).then_some(next)
        });
        self.links.len() - free.count()
    }
}
