//! How often something may happen: a token bucket.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// So many a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// So many a second, and twice as many at once.
    ///
    /// ```
    /// # use matryoshka_transport::Rate;
    /// assert_eq!(Rate::per_second(50), Some(Rate::new(50, 100).unwrap()));
    /// assert_eq!(Rate::per_second(0), None); // where 0 means: no limit
    /// ```
    pub const fn per_second(per_second: u32) -> Option<Self> {
        Self::new(per_second, per_second.saturating_mul(2))
    }

    /// So many a second, and so many at once; none if either is 0.
    pub const fn new(per_second: u32, burst: u32) -> Option<Self> {
        match (NonZeroU32::new(per_second), NonZeroU32::new(burst)) {
            (Some(per_second), Some(burst)) => Some(Self { per_second, burst }),
            _ => None,
        }
    }

    /// How many a second.
    pub const fn each_second(self) -> u32 {
        self.per_second.get()
    }

    /// How many at once, after a rest.
    pub const fn at_once(self) -> u32 {
        self.burst.get()
    }

    /// How long so many take in the long run.
    fn time_for(self, count: u64) -> Duration {
        let nanos = count.saturating_mul(1_000_000_000);
        Duration::from_nanos(nanos / u64::from(self.per_second.get()))
    }

    /// How long it takes until as many may come at once as ever.
    fn rest(self) -> Duration {
        self.time_for(self.burst.get().into())
    }
}

/// A token bucket for one [`Rate`], full at the start. It is kept as the moment at which it would be full again, which is
/// all there is to know.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub const fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one token, if there is one. Time that runs backwards counts as standing still.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let gap = rate.time_for(1);
        let full_at = self.full_at.max(now) + gap;
        let is_there = full_at - now <= gap * rate.burst.get();
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }

    /// Takes so many tokens, those also that are not there yet: they are owed. What would take longer than `longest` is let off.
    pub(crate) fn owe(&mut self, rate: Rate, count: usize, longest: Duration, now: Instant) {
        let full_at = self.full_at.max(now) + rate.time_for(count as u64);
        self.full_at = full_at.min(now + rate.rest() + longest);
    }

    /// How long it takes until nothing is owed.
    pub(crate) fn owed(&self, rate: Rate, now: Instant) -> Duration {
        let until_full = self.full_at.saturating_duration_since(now);
        until_full.saturating_sub(rate.rest())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_then_a_steady_rate() {
        let (rate, mut now) = (Rate::new(10, 5).expect("not 0"), Instant::now());
        let mut bucket = Bucket::full(now);
        let mut taken = |now| (0..100).filter(|_| bucket.take(rate, now)).count();
        assert_eq!(taken(now), 5);
        for _ in 0..3 {
            now += Duration::from_millis(200);
            assert_eq!(taken(now), 2);
        }
        now += Duration::from_secs(3600);
        assert_eq!(taken(now), 5, "a rest saves up no more than a burst");
    }

    #[test]
    fn whoever_owes_waits_until_it_is_paid_off_and_no_longer_than_said() {
        let (rate, mut now) = (Rate::new(10, 5).expect("not 0"), Instant::now());
        let (mut bucket, longest) = (Bucket::full(now), Duration::from_secs(2));
        bucket.owe(rate, 4, longest, now);
        assert_eq!(bucket.owed(rate, now), Duration::ZERO);
        bucket.owe(rate, 11, longest, now);
        assert_eq!(bucket.owed(rate, now), Duration::from_secs(1));
        now += Duration::from_millis(400);
        assert_eq!(bucket.owed(rate, now), Duration::from_millis(600));
        bucket.owe(rate, usize::MAX, longest, now);
        assert_eq!(bucket.owed(rate, now), longest);
        now += longest;
        assert_eq!(bucket.owed(rate, now), Duration::ZERO);
        bucket.owe(rate, 1, longest, now);
        assert_eq!(bucket.owed(rate, now), Duration::from_millis(100));
    }

    proptest! {
        /// In no stretch of time more than the burst and the rate allow, and never less than asked for if that is within both.
        #[test]
        fn no_stretch_of_time_has_more_than_its_share(
            per_second in 1u32..2_000,
            burst in 1u32..50,
            gaps in prop::collection::vec(0u64..50_000, 1..100),
        ) {
            let rate = Rate::new(per_second, burst).expect("not 0");
            let earned = |from: u64, to: u64| (to - from) as f64 * f64::from(per_second) / 1e6;
            let (start, mut micros) = (Instant::now(), 0);
            let mut bucket = Bucket::full(start);
            let mut times = Vec::new();
            for gap in gaps {
                micros += gap;
                if bucket.take(rate, start + Duration::from_micros(micros)) {
                    times.push(micros);
                } else {
                    let share = |from: u64| f64::from(burst) + earned(from, micros);
                    let is_used_up = |(count, from): (u32, &u64)| f64::from(count) + 1.0 > share(*from) - 1e-3;
                    prop_assert!((1..).zip(times.iter().rev()).any(is_used_up), "too early");
                }
            }
            for (index, from) in times.iter().enumerate() {
                for (count, to) in (1..).zip(&times[index..]) {
                    let share = f64::from(burst) + earned(*from, *to);
                    prop_assert!(f64::from(count) <= share + 1.0);
                }
            }
        }
    }
}
