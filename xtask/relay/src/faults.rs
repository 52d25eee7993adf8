//! What is wrong with a line.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

/// What one direction of one pair does to what passes. Default: [`NONE`](Faults::NONE).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// The share of datagrams that are lost, from 0 to 1.
    pub lost: f64,
    /// The share of datagrams that arrive twice, from 0 to 1.
    pub doubled: f64,
    /// How long everything is under way.
    pub delay: Duration,
    /// Each copy takes up to this much longer: what was closer together than that comes out of order.
    pub jitter: Duration,
    /// How many bytes a second get through; none: as many as come. What comes faster waits, up to
    /// [`MAX_BEHIND`](crate::MAX_BEHIND), and beyond that is lost.
    pub bytes_per_second: Option<u32>,
    /// Nothing gets through, and neither does what is under way already.
    pub cut: bool,
}

impl Faults {
    /// Everything arrives, at once.
    pub const NONE: Faults = Faults {
        lost: 0.0,
        doubled: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        bytes_per_second: None,
        cut: false,
    };

    /// Nothing arrives.
    pub const CUT: Faults = Faults {
        cut: true,
        ..Faults::NONE
    };
}
