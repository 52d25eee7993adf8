//! When a certificate has to be replaced, and when its operator has to be told.
//!
//! Everything goes by the wall clock, looked at again and again: a timer that was set once would miss the time in
//! which the machine slept, and a clock that was set right.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before its issue a leaf is valid already: clocks of two nodes may differ by that much.
pub(super) const VALID_BEFORE: Duration = DAY;
/// How long after its issue a leaf is valid.
pub(super) const VALID_AFTER: Duration = Duration::from_secs(7 * DAY.as_secs());
/// After how long a leaf is replaced by a fresh one; open connections are not touched by that.
const RENEW_AFTER: Duration = Duration::from_secs(VALID_AFTER.as_secs() / 2);
/// A clock that went back by this much since a leaf's issue was set right; others may find the leaf not valid yet.
const RENEW_BEFORE: Duration = Duration::from_secs(VALID_BEFORE.as_secs() / 2);

/// Whether a leaf issued at `issued` is to be replaced: half of its life is over, on either side of its issue.
pub(super) fn is_renewal_due(issued: SystemTime, now: SystemTime) -> bool {
    match now.duration_since(issued) {
        Ok(passed) => passed >= RENEW_AFTER,
        Err(back) => back.duration() >= RENEW_BEFORE,
    }
}

/// How near the end of a certificate is that only its operator can replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    /// Over a week away.
    Far,
    /// Within a week.
    Week,
    /// Within a day.
    Day,
    /// It has come.
    Over,
}

/// What was told already of a certificate's end.
#[derive(Debug)]
pub(super) struct Countdown(Nearness);

impl Default for Countdown {
    fn default() -> Self {
        Self(Nearness::Far)
    }
}

impl Countdown {
    /// What is to be told now, if it was not told before.
    pub(super) fn news(&mut self, until: SystemTime, now: SystemTime) -> Option<Nearness> {
        let nearness = match until.duration_since(now) {
            Ok(left) if left > 7 * DAY => Nearness::Far,
            Ok(left) if left > DAY => Nearness::Week,
            Ok(_) => Nearness::Day,
            Err(_) => Nearness::Over,
        };
        // A clock that is set back is no reason to tell the same again.
        let is_news = nearness > self.0;
        self.0 = self.0.max(nearness);
        is_news.then_some(nearness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(1_800_000_000.0 + days * 86_400.0)
    }

    #[test]
    fn a_leaf_is_renewed_at_half_its_life() {
        assert!(!is_renewal_due(at(0.0), at(0.0)));
        assert!(!is_renewal_due(at(0.0), at(3.49)));
        assert!(is_renewal_due(at(0.0), at(3.5)));
        // The machine slept through all of it.
        assert!(is_renewal_due(at(0.0), at(30.0)));
    }

    #[test]
    fn a_clock_that_is_set_back_asks_for_a_fresh_leaf_too() {
        assert!(!is_renewal_due(at(0.0), at(-0.49)));
        assert!(is_renewal_due(at(0.0), at(-0.5)));
        assert!(is_renewal_due(at(0.0), SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn the_end_of_a_certificate_is_told_a_week_and_a_day_before_and_when_it_comes() {
        let mut countdown = Countdown::default();
        let end = at(30.0);
        assert_eq!(countdown.news(end, at(22.9)), None);
        assert_eq!(countdown.news(end, at(23.0)), Some(Nearness::Week));
        assert_eq!(countdown.news(end, at(28.9)), None);
        assert_eq!(countdown.news(end, at(22.0)), None);
        assert_eq!(countdown.news(end, at(23.1)), None);
        assert_eq!(countdown.news(end, at(29.0)), Some(Nearness::Day));
        assert_eq!(countdown.news(end, at(30.0)), None);
        assert_eq!(countdown.news(end, at(30.1)), Some(Nearness::Over));
        assert_eq!(countdown.news(end, at(99.0)), None);
        // A machine that slept through the week is told once, of where it stands.
        assert_eq!(
            Countdown::default().news(end, at(40.0)),
            Some(Nearness::Over)
        );
    }
}
