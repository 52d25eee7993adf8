//! How fast the clock of a node runs.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use super::random::Random;

/// The rate of a clock, in thousandths of the true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(u64);

impl Rate {
    pub(super) const TRUE: Self = Self(1_000);

    /// Any that is wrong by at most [`RATE_ERROR`].
    pub(super) fn any(random: &mut Random) -> Self {
        let above_the_lowest = random.below(2 * RATE_ERROR + 1) as u64;
        Self(Self::TRUE.0 - RATE_ERROR as u64 + above_the_lowest)
    }

    /// What passes on such a clock in that time.
    pub(super) fn shows(self, time: Duration) -> Duration {
        Duration::from_nanos(nanos(time) * self.0 / Self::TRUE.0)
    }

    /// How long it takes until so much has passed on such a clock.
    pub(super) fn takes(self, shown: Duration) -> Duration {
        Duration::from_nanos((nanos(shown) * Self::TRUE.0).div_ceil(self.0))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a history is no century long")
}

/// Four in a hundred: much more than any clock that works is wrong by.
const RATE_ERROR: usize = 40;

#[cfg(test)]
const NANO: Duration = Duration::from_nanos(1);

#[test]
fn what_is_due_on_a_clock_is_due_when_it_shows_it() {
    let mut random = Random::new(1);
    for _ in 0..10_000 {
        let (rate, shown) = (Rate::any(&mut random), random.millis(100_000));
        let time = rate.takes(shown);
        assert!(rate.shows(time) >= shown);
        assert!(rate.shows(time.saturating_sub(NANO)) < shown.max(NANO));
    }
}
