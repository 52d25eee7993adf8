//! The wall clock, by which certificates count, and its reading in words.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::proto::trouble::Trouble;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// After so many years the calendar repeats itself, to the day.
const CYCLE_YEARS: u64 = 400;
const CYCLE_DAYS: u64 = 146_097;

/// How far clocks may be apart before that is told: a quarter of what makes certificates of one's own secret invalid.
const TOLERABLE: Duration = Duration::from_secs(6 * 60 * 60);

/// Where the time of day comes from: the system, or a test's pretence.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The machine's own.
    pub(crate) fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    /// One that reads whatever `read` says.
    #[cfg(test)]
    pub(crate) fn pretended(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time of day.
    pub(crate) fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// The time of day as a hello tells it: milliseconds since 1970.
    pub(crate) fn to_millis(&self) -> Option<u64> {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH);
        u64::try_from(since.ok()?.as_millis()).ok()
    }

    /// What is to be said of another node's clock, told in milliseconds since 1970, if it is much ahead or behind.
    pub(crate) fn compare(&self, theirs: u64) -> Option<Trouble> {
        let ours = self.now();
        let theirs = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(theirs))?;
        let apart = ours
            .duration_since(theirs)
            .unwrap_or_else(|other_way| other_way.duration());
        if apart < TOLERABLE {
            return None;
        }
        let text = format!(
            "its clock says {} and this node's {}: set the one that is wrong, for nodes refuse each other's certificates when their \
             clocks are too far apart",
            Utc(theirs),
            Utc(ours)
        );
        Some(Trouble::new("clocks apart", text))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A time of day as `date -u` would have it, to the second: `2026-11-28 10:15:00 UTC`.
#[derive(Clone, Copy)]
pub(crate) struct Utc(pub(crate) SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(since) = self.0.duration_since(SystemTime::UNIX_EPOCH) else {
            return f.write_str("a time before 1970");
        };
        let (days, second) = (since.as_secs() / DAY_SECONDS, since.as_secs() % DAY_SECONDS);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Whole days or hours, for a span that someone plans by: `6 days`, `23 hours`.
pub(crate) fn roughly(span: Duration) -> String {
    let hours = span.as_secs() / 3600;
    match hours {
        0 => "less than an hour".to_owned(),
        1 => "1 hour".to_owned(),
        2..=47 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

/// Year, month and day of the month of a day counted from 1 January 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / CYCLE_DAYS * CYCLE_YEARS;
    let mut left = days % CYCLE_DAYS;
    while left >= days_of_year(year) {
        left -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while left >= days_of_month(year, month) {
        left -= days_of_month(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_208_000, "2024-02-29 12:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_795_860_900, "2026-11-28 10:15:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc(time).to_string(), text);
        }
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Utc(early).to_string(), "a time before 1970");
    }

    #[test]
    fn spans_are_whole_days_or_hours() {
        for (hours, text) in [
            (0, "less than an hour"),
            (1, "1 hour"),
            (23, "23 hours"),
            (47, "47 hours"),
            (48, "2 days"),
            (7 * 24 - 1, "6 days"),
        ] {
            assert_eq!(roughly(Duration::from_secs(hours * 3600 + 60)), text);
        }
    }
}
