//! What a held link has under way, as a bad network treats it, and how the far end makes a sound lane of it again.
//!
//! Frames are numbered per lane. The network may delay, reorder, repeat and lose them; the far end hands them on in order and
//! once, and where one was lost for good a gap stands in its place. A wire stands under a lock, and payloads are the user's to
//! drop: so what goes is always returned.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::Envelope;

/// Frames under way on one held link. Beyond, the newest messages are dropped, which the far end is told by a gap.
const HELD_FRAMES: usize = 1_024;

/// Publishers share so many lanes.
const LANES: u64 = 8;

#[derive(Default)]
pub(super) struct Wire {
    flight: VecDeque<Frame>,
    /// The sending end, by lane.
    sending: HashMap<u64, Sending>,
    /// The far end, by lane.
    arriving: HashMap<u64, Arriving>,
}

#[derive(Clone)]
struct Frame {
    lane: u64,
    number: u64,
    content: Content,
}

#[derive(Clone)]
pub(super) enum Content {
    Message(Envelope),
    /// So many messages are missing here.
    Gap(u64),
}

#[derive(Default)]
struct Sending {
    next: u64,
    /// Dropped, and not told yet.
    dropped: u64,
}

#[derive(Default)]
struct Arriving {
    next: u64,
    /// What came before its turn.
    early: BTreeMap<u64, Content>,
}

/// What becomes of frames that arrive.
#[derive(Default)]
pub(super) struct Arrival {
    /// What the far end hands on now, in order.
    pub(super) in_turn: Vec<Content>,
    /// What it had already.
    repeated: Vec<Content>,
}

impl Arrival {
    pub(super) fn is_empty(&self) -> bool {
        self.in_turn.is_empty() && self.repeated.is_empty()
    }
}

impl Wire {
    /// Sends a message; whether there was room.
    pub(super) fn send(&mut self, envelope: Envelope) -> bool {
        let lane = envelope.lane % LANES;
        if self.frames() >= HELD_FRAMES {
            self.sending.entry(lane).or_default().dropped += 1;
            return false;
        }
        self.tell_dropped(lane);
        self.put(lane, Content::Message(envelope));
        true
    }

    /// Frames under way or waiting for their turn.
    fn frames(&self) -> usize {
        let early = self.arriving.values().map(|lane| lane.early.len());
        self.flight.len() + early.sum::<usize>()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flight.len()
    }

    fn tell_dropped(&mut self, lane: u64) {
        let sending = self.sending.entry(lane).or_default();
        let dropped = std::mem::take(&mut sending.dropped);
        if dropped > 0 {
            self.put(lane, Content::Gap(dropped));
        }
    }

    fn put(&mut self, lane: u64, content: Content) {
        let sending = self.sending.entry(lane).or_default();
        let number = sending.next;
        sending.next += 1;
        self.flight.push_back(Frame {
            lane,
            number,
            content,
        });
    }

    /// The frame at that place arrives.
    pub(super) fn carry(&mut self, index: usize) -> Arrival {
        let mut arrival = Arrival::default();
        self.carry_into(index, &mut arrival);
        arrival
    }

    /// All that is under way arrives, oldest first, and the last gaps are told.
    pub(super) fn carry_all(&mut self) -> Arrival {
        let lanes: Vec<u64> = self.sending.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.tell_dropped(lane));
        let mut arrival = Arrival::default();
        while !self.flight.is_empty() {
            self.carry_into(0, &mut arrival);
        }
        arrival
    }

    fn carry_into(&mut self, index: usize, arrival: &mut Arrival) {
        let Some(frame) = self.flight.remove(index) else {
            return;
        };
        let lane = self.arriving.entry(frame.lane).or_default();
        if lane.has(frame.number) {
            arrival.repeated.push(frame.content);
            return;
        }
        lane.early.insert(frame.number, frame.content);
        while let Some(content) = lane.early.remove(&lane.next) {
            lane.next += 1;
            arrival.in_turn.push(content);
        }
    }

    /// The frame at that place is there twice.
    pub(super) fn duplicate(&mut self, index: usize) {
        let copy = self.flight.get(index).cloned();
        if self.frames() < HELD_FRAMES {
            self.flight.extend(copy);
        }
    }

    /// The frame at that place is lost, and returned. If no copy of it is left, a gap stands for it.
    pub(super) fn lose(&mut self, index: usize) -> Option<Content> {
        let Frame {
            lane,
            number,
            content,
        } = self.flight.remove(index)?;
        let arrived = self.arriving.get(&lane).is_some_and(|at| at.has(number));
        let is_copy = |frame: &Frame| (frame.lane, frame.number) == (lane, number);
        if !arrived && !self.flight.iter().any(is_copy) {
            let gap = Frame {
                lane,
                number,
                content: Content::Gap(content.messages()),
            };
            self.flight.insert(index, gap);
        }
        Some(content)
    }
}

impl Arriving {
    /// Whether that frame is there, or was handed on.
    fn has(&self, number: u64) -> bool {
        number < self.next || self.early.contains_key(&number)
    }
}

impl Content {
    /// How many messages are missing where this is.
    fn messages(&self) -> u64 {
        match self {
            Self::Message(_) => 1,
            Self::Gap(missing) => *missing,
        }
    }
}
