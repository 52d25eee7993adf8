//! How many of something are due at a steady rate.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// How far apart two looks at the clock are at least: 10 ms. What falls due in between is due together.
const STEP: Duration = Duration::from_millis(10);

/// A steady rate, from a moment on: the first one is due at once.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u128,
    start: Instant,
    taken: u128,
    last: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: NonZeroU32, now: Instant) -> Self {
        Self {
            per_second: per_second.get().into(),
            start: now,
            taken: 0,
            last: now,
        }
    }

    /// How many have fallen due since the last time.
    pub(crate) fn take(&mut self, now: Instant) -> u128 {
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        let due = 1 + elapsed * self.per_second / NANOS;
        self.last = now;
        due - std::mem::replace(&mut self.taken, due).min(due)
    }

    /// When to ask again.
    pub(crate) fn next(&self) -> Instant {
        let nanos = (self.taken * NANOS).div_ceil(self.per_second);
        let due = self.start + Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX));
        due.max(self.last + STEP)
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(per_second: u32, now: Instant) -> Pace {
        Pace::new(NonZeroU32::new(per_second).expect("not 0"), now)
    }

    #[test]
    fn a_slow_pace_takes_one_at_a_time_and_a_fast_one_a_step_at_a_time() {
        for (per_second, first, step_millis, each) in [(4, 1, 250, 1), (10_000, 1, 10, 100)] {
            let mut now = Instant::now();
            let mut pace = pace(per_second, now);
            assert_eq!(pace.take(now), first);
            for _ in 0..5 {
                assert_eq!(pace.next(), now + Duration::from_millis(step_millis));
                now = pace.next();
                assert_eq!(pace.take(now), each);
            }
        }
    }

    proptest! {
        #[test]
        fn whenever_it_is_asked_it_keeps_the_rate(
            per_second in 1u32..100_000,
            gaps in prop::collection::vec(0u64..3_000, 1..50),
        ) {
            let start = Instant::now();
            let (mut pace, mut now, mut taken) = (pace(per_second, start), start, 0);
            for gap in gaps {
                now += Duration::from_millis(gap);
                taken += pace.take(now);
                let due = (now - start).as_millis() * u128::from(per_second) / 1_000;
                prop_assert_eq!(taken, 1 + due);
                prop_assert!(pace.next() > now);
            }
        }
    }
}
