//! What waits for one connection, and what gives way when its client reads slowly.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    Close, Frame, Limits,
    held::{Held, Large, Mark, steps},
    run::{Part, SharedFrame},
    slot::{SLOT_BYTES, Slot},
};

/// From which size on a frame is large: 64 KiB. What it has beyond counts against
/// [`outbox_large_bytes`](Limits::outbox_large_bytes) instead of [`outbox_bytes`](Limits::outbox_bytes), so that a few
/// large frames do not make a reader slow who is not.
pub const LARGE_FRAME_BYTES: usize = 64 * 1024;

/// Capacity that an emptied queue may keep until it is told to [`release`](Queue::release) that too, in items: more than that
/// was a burst, and is given back at once.
const KEPT_CAPACITY: usize = 4;

/// Capacity that it keeps even then: room for one answer, or each would allocate its own. Every idle connection pays for it.
const LEAST_CAPACITY: usize = 1;

/// A bound of more bytes is as this one, 1 GiB, and so is what a larger thing weighs: what waits can be counted in half words.
const MOST_BYTES: u32 = 1 << 30;

/// What becomes of a frame when its reader is slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenSlow {
    /// It waits as long as there is room, and beyond that the connection is closed with 1008, which makes clients come
    /// back: they miss nothing without knowing.
    #[default]
    Close,
    /// It is dropped once half of the bound waits, so that what must arrive still has room.
    Drop,
    /// It takes the place of a waiting frame of the same key: a reader sees the latest state, and none of those before. Where
    /// none waits it is as [`Drop`](Self::Drop). A heavier one needs room for itself as that does: where there is none, neither it
    /// nor the older one is kept, which the reader would take for the latest.
    Latest(u64),
}

impl WhenSlow {
    /// [`Latest`](Self::Latest) of a key that is no number: a name, or several values together. Two keys get the same number
    /// by an accident that nobody has to reckon with.
    pub fn latest_of(key: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self::Latest(hasher.finish())
    }
}

/// How much waits for clients to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Frames and mails.
    pub items: usize,
    /// The bytes of their contents.
    pub bytes: usize,
}

/// Whether something of so many bytes is large.
pub(super) fn is_large(bytes: usize) -> bool {
    bytes > LARGE_FRAME_BYTES
}

/// One thing that waits.
pub(crate) enum Item<M> {
    /// To be written as it is.
    Frame(Frame),
    /// To be handled by the session.
    Mail(M),
    /// To end the connection.
    Close(Close),
}

/// How much may wait behind the first thing that waits.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(super) items: u32,
    /// The largest frame that can be written. Like the items in half of a word, since each connection has one.
    pub(super) largest: u32,
    pub(super) load: Load,
}

/// What things weigh against the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Of each thing as far as it is not large.
    bytes: u32,
    /// What large things have beyond.
    large: u32,
}

/// Where something that was pushed went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    Last,
    /// Where an older one of its key stood, or stood until there was no room for another.
    InPlaceOfOlder,
    /// There was no room for something that may be dropped. An older one of its key is gone as well.
    Nowhere,
    /// There was no room for something that may not.
    TooMuch,
}

#[repr(C)]
pub(super) struct Queue<M> {
    /// What waits behind the slots: here, and not in one more of them, a frame is added without a look at anything else.
    tail: Option<Part>,
    /// Of all that waits.
    load: Load,
    /// How many things wait, vacant places included.
    items: u32,
    /// How many bytes of the load count once with what others hold of them. None of it is large.
    shared: u32,
    slots: VecDeque<Slot<M>>,
    /// Where the waiting keys stand. Few queues ever have one: hence the box.
    keys: Option<Box<Keys>>,
}

/// The slots are numbered without gaps.
#[derive(Default)]
struct Keys {
    /// The number of the first slot.
    first: u64,
    slots: BTreeMap<u64, u64>,
    /// The slots that have a key, first ones first. Not in the slots themselves: most have none, and a fan-out writes a slot of
    /// every socket.
    order: VecDeque<(u64, u64)>,
}

/// What a push leaves to be dropped elsewhere.
pub(super) struct LetGo<M> {
    /// What was to be placed, and was not.
    #[allow(dead_code, reason = "it is only dropped, where no lock is held")]
    pub(super) item: Option<Item<M>>,
    /// What waited until then.
    pub(super) older: Option<Item<M>>,
}

impl<M> LetGo<M> {
    const NOTHING: Self = Self {
        item: None,
        older: None,
    };

    fn slot(slot: Slot<M>) -> Self {
        Self {
            item: slot.into_item(),
            older: None,
        }
    }
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self {
            tail: None,
            load: Load::default(),
            items: 0,
            shared: 0,
            slots: VecDeque::new(),
            keys: None,
        }
    }
}

impl<M> Queue<M> {
    /// What stands from here on is not looked at where a frame [follows](Self::follow).
    #[cfg(all(target_pointer_width = "64", not(test)))]
    pub(super) const COLD_FROM: usize = std::mem::offset_of!(Self, slots);

    /// Places an item by its policy.
    pub(super) fn push(
        &mut self,
        item: Item<M>,
        bytes: usize,
        when_slow: WhenSlow,
        bound: &Bound,
    ) -> (Placed, LetGo<M>) {
        self.settle();
        self.place(Slot::new(item, bytes), when_slow, bound)
    }

    /// Places a frame that goes to many, and is counted, right behind one that others hold as well: whether it makes the queue's
    /// [mark](Self::mark) another. `None` says that more is to be done, and that nothing is.
    ///
    /// It looks at nothing but the beginning of the queue.
    pub(super) fn follow(
        &mut self,
        shared: &mut SharedFrame,
        when_slow: WhenSlow,
        bound: &Bound,
    ) -> Option<bool> {
        if when_slow != WhenSlow::Close || !shared.is_small() || self.is_full(bound) {
            return None;
        }
        let tail = self.tail.as_mut()?;
        tail.push(shared).then(|| {
            let before = steps(self.shared as usize);
            self.weigh_shared(shared);
            steps(self.shared as usize) != before
        })
    }

    /// Places a frame that goes to many, is counted, and could not [`follow`](Self::follow).
    pub(super) fn push_shared(
        &mut self,
        shared: &mut SharedFrame,
        when_slow: WhenSlow,
        bound: &Bound,
    ) -> (Placed, LetGo<M>) {
        if when_slow == WhenSlow::Close && shared.is_small() && !self.is_full(bound) {
            self.settle();
            self.tail = Some(Part::begin(shared));
            self.weigh_shared(shared);
            return (Placed::Last, LetGo::NOTHING);
        }
        self.settle();
        self.place(Slot::counted(shared.frame().clone()), when_slow, bound)
    }

    fn place(&mut self, slot: Slot<M>, when_slow: WhenSlow, bound: &Bound) -> (Placed, LetGo<M>) {
        let key = match when_slow {
            WhenSlow::Close if self.is_full(bound) => {
                return (Placed::TooMuch, LetGo::slot(slot));
            }
            WhenSlow::Close => None,
            WhenSlow::Drop => None,
            WhenSlow::Latest(key) => match self.place_of(key) {
                Some(index) => return self.replace(index, slot, bound),
                None => Some(key),
            },
        };
        if when_slow != WhenSlow::Close && self.is_half_full(bound) {
            return (Placed::Nowhere, LetGo::slot(slot));
        }
        if let Some(key) = key {
            let keys = self.keys.get_or_insert_default();
            keys.add(key, self.slots.len());
        }
        self.weigh(&slot);
        self.items += 1;
        self.put_last(slot);
        (Placed::Last, LetGo::NOTHING)
    }

    /// A frame was put into the tail.
    fn weigh_shared(&mut self, shared: &SharedFrame) {
        let bytes = shared.frame().len();
        self.load.add(bytes);
        self.shared += short(bytes);
        self.items += 1;
    }

    /// Gives what waits behind the slots slots of its own: one for a whole run, since whoever keeps a part of it keeps all of it in
    /// memory, else one for each frame.
    fn settle(&mut self) {
        let Some(tail) = self.tail.take() else {
            return;
        };
        if tail.is_whole() {
            self.put_last(Slot::Run(tail));
            return;
        }
        for frame in tail.into_frames() {
            self.put_last(Slot::counted(frame));
        }
    }

    /// Puts something without weight last, whatever the bound.
    pub(super) fn append(&mut self, item: Item<M>) {
        self.settle();
        self.items += 1;
        self.put_last(Slot::new(item, 0));
    }

    fn put_last(&mut self, slot: Slot<M>) {
        if self.slots.capacity() == 0 {
            // By itself it would take room for four.
            self.slots.reserve_exact(LEAST_CAPACITY);
        }
        self.slots.push_back(slot);
    }

    pub(super) fn next(&mut self) -> Option<Item<M>> {
        let part = match self.slots.front_mut() {
            Some(Slot::Run(part)) => part,
            Some(_) => return self.next_slot()?.into_item(),
            None => self.tail.as_mut()?,
        };
        let (frame, is_last) = part.next();
        self.shared -= short(frame.len());
        self.count_out(frame.len());
        if is_last && self.slots.is_empty() {
            self.tail = None;
        } else if is_last {
            self.remove_slot();
        }
        Some(Item::Frame(frame))
    }

    fn next_slot(&mut self) -> Option<Slot<M>> {
        let slot = self.remove_slot()?;
        self.shared -= short(slot.shared_bytes());
        self.count_out(slot.bytes());
        Some(slot)
    }

    fn count_out(&mut self, bytes: usize) {
        self.items -= 1;
        self.load.subtract(bytes);
    }

    /// Takes the first slot away, and the places behind it that are vacant.
    fn remove_slot(&mut self) -> Option<Slot<M>> {
        let slot = self.slots.pop_front()?;
        if let Some(keys) = &mut self.keys {
            keys.next();
            while self.slots.front().is_some_and(Slot::is_vacant) {
                self.slots.pop_front();
                self.items -= 1;
                keys.next();
            }
        }
        if self.slots.is_empty() {
            self.keys = None;
            if self.slots.capacity() > KEPT_CAPACITY {
                self.slots = VecDeque::new();
            }
        }
        Some(slot)
    }

    /// Gives back what an empty queue has kept, but for the least.
    pub(super) fn release(&mut self) {
        if self.slots.is_empty() && self.slots.capacity() > LEAST_CAPACITY {
            self.slots = VecDeque::new();
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            items: self.items as usize,
            bytes: self.load.bytes as usize + self.load.large as usize,
        }
    }

    /// How much that is where all connections count together.
    pub(super) fn mark(&self) -> Mark {
        let large = self.load.large as usize;
        Mark::of(large, self.own_bytes(), self.shared as usize)
    }

    /// The bytes of what is this client's alone, with its places. Of large things it has their beginnings.
    fn own_bytes(&self) -> usize {
        (self.load.bytes - self.shared) as usize + self.slots.len() * SLOT_BYTES
    }

    /// What that is.
    pub(super) fn held(&self) -> Held {
        let large = self.large();
        Held {
            own: self.own_bytes() - large.len() * LARGE_FRAME_BYTES,
            shared: self.shared as usize,
            large,
        }
    }

    /// What of it is large. (Nothing that is counted is.)
    fn large(&self) -> Vec<Large> {
        if self.load.large == 0 {
            return Vec::new();
        }
        let large = self.slots.iter().filter_map(|slot| match slot {
            Slot::Frame(frame) => Large::of(frame),
            Slot::Mail(_, bytes) => is_large(*bytes).then_some(Large::Mail(*bytes)),
            _ => None,
        });
        large.collect()
    }

    pub(super) fn is_half_full(&self, bound: &Bound) -> bool {
        self.reaches(&bound.half())
    }

    pub(super) fn is_full(&self, bound: &Bound) -> bool {
        self.reaches(bound)
    }

    /// Whatever waits first does not count: it is on its way, and anything fits into an empty queue.
    fn reaches(&self, bound: &Bound) -> bool {
        if self.items >= bound.items {
            return self.items > 0;
        }
        self.weighs(&bound.load)
    }

    /// As [`reaches`](Self::reaches), however many items wait.
    fn weighs(&self, bound: &Load) -> bool {
        // Mostly all together are less, and the first one, whose place in memory is cold, need not be looked at.
        if !self.load.reaches(bound) {
            return false;
        }
        let first = match (self.slots.front(), &self.tail) {
            (Some(slot), _) => slot.bytes(),
            (None, Some(tail)) => tail.first().len(),
            (None, None) => return false,
        };
        let mut behind = self.load;
        behind.subtract(first);
        behind.reaches(bound)
    }

    /// Where the latest of that key waits, or would if there had been room.
    fn place_of(&self, key: u64) -> Option<usize> {
        let keys = self.keys.as_ref()?;
        usize::try_from(keys.slots.get(&key)? - keys.first).ok()
    }

    /// Puts an item where one of its key stands. One that makes the queue heavier has to fit as a new one would, once the older one
    /// is gone; in the first place anything does, and no item is added anywhere.
    fn replace(&mut self, index: usize, slot: Slot<M>, bound: &Bound) -> (Placed, LetGo<M>) {
        let old = std::mem::replace(&mut self.slots[index], Slot::Vacant);
        let is_heavier = slot.bytes() > old.bytes() || old.is_vacant();
        self.load.subtract(old.bytes());
        self.shared -= short(old.shared_bytes());
        let older = old.into_item();
        if index > 0 && is_heavier && self.weighs(&bound.half().load) {
            let item = slot.into_item();
            return (Placed::Nowhere, LetGo { item, older });
        }
        self.weigh(&slot);
        self.slots[index] = slot;
        (Placed::InPlaceOfOlder, LetGo { item: None, older })
    }

    fn weigh(&mut self, slot: &Slot<M>) {
        self.load.add(slot.bytes());
        self.shared += short(slot.shared_bytes());
    }
}

impl Keys {
    /// The slot at this index, the last one, is of that key.
    fn add(&mut self, key: u64, index: usize) {
        let slot = self.first + index as u64;
        self.slots.insert(key, slot);
        self.order.push_back((slot, key));
    }

    /// The first slot is gone.
    fn next(&mut self) {
        if let Some(&(slot, key)) = self.order.front()
            && slot == self.first
        {
            self.order.pop_front();
            self.slots.remove(&key);
        }
        self.first += 1;
    }
}

impl Bound {
    pub(crate) fn of(limits: &Limits, largest_frame: usize) -> Self {
        Self {
            items: short(limits.outbox_items.max(1)),
            largest: short(largest_frame),
            load: Load {
                bytes: short(limits.outbox_bytes).clamp(1, MOST_BYTES),
                large: short(limits.outbox_large_bytes).clamp(1, MOST_BYTES),
            },
        }
    }

    fn half(&self) -> Self {
        let half = |whole: u32| whole.div_ceil(2);
        Self {
            items: half(self.items),
            largest: self.largest,
            load: Load {
                bytes: half(self.load.bytes),
                large: half(self.load.large),
            },
        }
    }
}

fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Load {
    fn of(bytes: usize) -> Self {
        let counted = bytes.min(LARGE_FRAME_BYTES);
        Self {
            bytes: short(counted),
            large: short(bytes - counted).min(MOST_BYTES),
        }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        let one = Self::of(bytes);
        self.bytes += one.bytes;
        self.large += one.large;
    }

    pub(super) fn subtract(&mut self, bytes: usize) {
        let one = Self::of(bytes);
        self.bytes -= one.bytes;
        self.large -= one.large;
    }

    pub(super) fn reaches(&self, bound: &Self) -> bool {
        self.bytes >= bound.bytes || self.large >= bound.large
    }
}

#[cfg(test)]
#[path = "queue/tests.rs"]
mod tests;
