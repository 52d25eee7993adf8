//! In one step what a driver does in several, for tests and the simulator.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use super::{HoldAt, Shard};

impl Shard {
    /// An owner is dead, and all that it tracked ends in one step. How much it was.
    pub(crate) fn owner_died(&mut self, owner: u64, now: Duration) -> usize {
        self.disconnect_some(owner, usize::MAX, now)
    }

    /// Holds all that these owners track in one step.
    pub(crate) fn hold(&mut self, owners: &[u64], now: Duration) {
        let mut at = HoldAt::default();
        self.hold_some(owners, &mut at, usize::MAX, now);
        self.confirm_hold(&at, now);
    }

    /// Ends all that an owner tracks in one step. How much it was.
    pub(crate) fn untrack_owner(&mut self, owner: u64, now: Duration) -> usize {
        self.untrack_some(owner, usize::MAX, now)
    }

    /// The tracker is over, and everything leaves in one step.
    pub(crate) fn leave(&mut self, _now: Duration) {
        self.depart();
        self.clear(usize::MAX);
    }
}
