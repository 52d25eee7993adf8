//! What became of the datagrams.
//!
//! Pure: no clock, no I/O, no tasks.

use std::ops::AddAssign;

/// Counted since the line, or the relay, exists. Each datagram that came in is at last one of `forwarded`, `lost`,
/// `dropped`, `cut` and `overflowed`; copies add to `doubled`, and to what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Datagrams that came in.
    pub received: u64,
    /// Datagrams and copies that went out.
    pub forwarded: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped on order.
    pub dropped: u64,
    /// Stopped by a cut.
    pub cut: u64,
    /// Without room to wait in.
    pub overflowed: u64,
    /// Held back before they went out.
    pub delayed: u64,
    /// Copies made.
    pub doubled: u64,
    /// Gone out after one that came in later.
    pub reordered: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.received += other.received;
        self.forwarded += other.forwarded;
        self.lost += other.lost;
        self.dropped += other.dropped;
        self.cut += other.cut;
        self.overflowed += other.overflowed;
        self.delayed += other.delayed;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
    }
}
