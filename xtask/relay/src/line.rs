//! One direction of one pair: what becomes of each datagram, from a seed.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::faults::Faults;
use crate::tally::Tally;

/// How many datagrams wait on one line at most. Full: further ones are lost, and counted.
pub const MAX_WAITING: usize = 16_384;
/// How many bytes wait on one line at most. Full: further ones are lost, and counted.
pub const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// How far a line with a limited rate may be behind: what comes then is lost, and counted as without room. As the buffer before
/// a slow line.
pub const MAX_BEHIND: Duration = Duration::from_millis(200);

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never leaves.
    Lost,
    /// It leaves, and is then to be reported to [`Line::leave`] with this number.
    Leaves {
        /// Its number on this line.
        number: u64,
        /// When: the time that was given, if it is not held back.
        at: Instant,
        /// When a copy of it leaves, if there is one.
        again: Option<Instant>,
    },
}

/// One direction of one pair. It keeps no datagrams: its owner does, until they are to leave.
#[derive(Debug, Clone)]
pub struct Line {
    faults: Faults,
    dice: Dice,
    tally: Tally,
    ordered: Ordered,
    waiting: usize,
    waiting_bytes: usize,
    /// When a line with a limited rate has carried all that it was given.
    busy_until: Option<Instant>,
    /// One above the highest number that has left.
    left: u64,
}

/// How many of the next datagrams are dropped, and from which size on.
#[derive(Debug, Clone, Copy, Default)]
struct Ordered {
    count: u32,
    at_least: usize,
}

impl Line {
    /// A line without faults, whose chances come from this seed.
    pub fn new(seed: u64) -> Self {
        Line {
            faults: Faults::NONE,
            dice: Dice::new(seed),
            tally: Tally::default(),
            ordered: Ordered::default(),
            waiting: 0,
            waiting_bytes: 0,
            busy_until: None,
            left: 0,
        }
    }

    /// From now on this is wrong with the line. What waits already keeps its time.
    ///
    /// # Panics
    ///
    /// If a share is not from 0 to 1, or a rate is 0.
    pub fn set(&mut self, faults: Faults) {
        for share in [faults.lost, faults.doubled] {
            assert!((0.0..=1.0).contains(&share), "{share} is no share: 0 to 1");
        }
        assert_ne!(faults.bytes_per_second, Some(0), "a cut is `cut`");
        self.faults = faults;
        self.busy_until = None;
    }

    /// Drops exactly the next `count` datagrams of `at_least` so many bytes, whatever else is set.
    pub fn drop_next(&mut self, count: u32, at_least: usize) {
        self.ordered = Ordered { count, at_least };
    }

    /// Decides about a datagram of so many bytes that came in now.
    pub fn arrive(&mut self, now: Instant, bytes: usize) -> Fate {
        let number = self.tally.received;
        self.tally.received += 1;
        // Always as many rolls: what becomes of datagram n depends on the seed, n and the faults, not on earlier ones.
        let lost = self.dice.happens(self.faults.lost);
        let doubled = self.dice.happens(self.faults.doubled);
        let (way, other_way) = (self.under_way(), self.under_way());
        if self.faults.cut {
            self.tally.cut += 1;
            return Fate::Lost;
        }
        if self.ordered.count > 0 && bytes >= self.ordered.at_least {
            self.ordered.count -= 1;
            self.tally.dropped += 1;
            return Fate::Lost;
        }
        if lost {
            self.tally.lost += 1;
            return Fate::Lost;
        }
        let Some(carried) = self.carry(now, bytes) else {
            self.tally.overflowed += 1;
            return Fate::Lost;
        };
        let (at, again) = (carried + way, carried + other_way);
        if at > now {
            if !self.has_room(bytes) {
                self.tally.overflowed += 1;
                return Fate::Lost;
            }
            self.tally.delayed += 1;
        }
        self.wait(bytes);
        let doubled = doubled && self.has_room(bytes);
        if doubled {
            self.tally.doubled += 1;
            self.wait(bytes);
        }
        Fate::Leaves {
            number,
            at,
            again: doubled.then_some(again),
        }
    }

    /// A datagram, or a copy, is about to leave. False: the line is cut, it must not.
    pub fn leave(&mut self, number: u64, bytes: usize) -> bool {
        self.waiting -= 1;
        self.waiting_bytes -= bytes;
        if self.faults.cut {
            self.tally.cut += 1;
            return false;
        }
        if number + 1 < self.left {
            self.tally.reordered += 1;
        }
        self.left = self.left.max(number + 1);
        self.tally.forwarded += 1;
        true
    }

    /// Whether something has been decided about and has not left.
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// What became of everything so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// When a datagram has passed the slowest part of the line, behind all before it; none if too much is before it.
    fn carry(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.faults.bytes_per_second else {
            return Some(now);
        };
        let begins = self.busy_until.map_or(now, |until| until.max(now));
        if begins - now > MAX_BEHIND {
            return None;
        }
        let ends = begins + Duration::from_secs_f64(bytes as f64 / f64::from(rate));
        self.busy_until = Some(ends);
        Some(ends)
    }

    fn under_way(&mut self) -> Duration {
        let longest = u64::try_from(self.faults.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        self.faults.delay + Duration::from_nanos(self.dice.below(longest + 1))
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.waiting < MAX_WAITING && self.waiting_bytes + bytes <= MAX_WAITING_BYTES
    }

    fn wait(&mut self, bytes: usize) {
        self.waiting += 1;
        self.waiting_bytes += bytes;
    }
}

#[cfg(test)]
mod tests;
