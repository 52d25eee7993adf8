//! Moments that may be as good as never.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::{Duration, Instant};

/// Stands for a time that no clock can count to: 30 years.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// That much after `now`. Any time may be waited, up to `Duration::MAX`, which is for ever.
pub(crate) fn later(now: Instant, time: Duration) -> Instant {
    now + time.min(FOR_EVER)
}
