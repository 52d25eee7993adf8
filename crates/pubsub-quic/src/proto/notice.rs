//! What an operator is told, and that he is told it once.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How many subjects are remembered as told; beyond that the memory starts afresh.
const MAX_SUBJECTS: usize = 1024;
/// The same for the texts about one subject.
const MAX_TEXTS: usize = 16;

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Normal life.
    Info,
    /// Someone should look at it.
    Warn,
    /// This node cannot go on in the cluster.
    Error,
}

/// One line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// How much it matters.
    pub(crate) level: Level,
    /// What happened and, if something is wrong, what cures it.
    pub(crate) text: String,
}

/// Keeps a line that would be repeated at each attempt from being repeated.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    told: BTreeMap<String, BTreeSet<String>>,
}

impl Notices {
    /// Whether `text` has not been told about `subject` yet. From now on it has.
    pub(crate) fn is_news(&mut self, subject: &str, text: &str) -> bool {
        if self.told.len() >= MAX_SUBJECTS && !self.told.contains_key(subject) {
            self.told.clear();
        }
        let texts = self.told.entry(subject.to_owned()).or_default();
        if texts.len() >= MAX_TEXTS {
            texts.clear();
        }
        texts.insert(text.to_owned())
    }

    /// Whatever comes next about `subject` is news.
    pub(crate) fn settle(&mut self, subject: &str) {
        self.told.remove(subject);
    }
}

/// How many lines there may be about strangers: whoever invents addresses has a new one for each packet, and must not
/// fill the log with them.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u32,
    /// Until when `left` has been filled up.
    filled: Instant,
}

impl Allowance {
    /// How many lines may follow one another.
    pub(crate) const MOST: u32 = 64;
    /// How long it takes until one more may follow.
    pub(crate) const EACH: Duration = Duration::from_secs(10);

    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: Self::MOST,
            filled: now,
        }
    }

    /// Whether there may be a line now.
    pub(crate) fn may_tell(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        let more = (passed.as_millis() / Self::EACH.as_millis()).min(Self::MOST.into()) as u32;
        if more > 0 {
            self.left = (self.left + more).min(Self::MOST);
            self.filled += Self::EACH * more;
            if self.left == Self::MOST {
                self.filled = now;
            }
        }
        self.left > 0
    }

    /// One line is written. Gives what has to stand at its end.
    pub(crate) fn tell(&mut self) -> &'static str {
        self.left = self.left.saturating_sub(1);
        match self.left {
            0 => "; there are so many strangers that further ones are counted only",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_so_many_lines_and_then_one_at_a_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let all = |allowance: &mut Allowance, now| {
            let mut told = 0;
            while allowance.may_tell(now) {
                told += 1;
                let is_last = !allowance.tell().is_empty();
                assert_eq!(is_last, !allowance.may_tell(now));
            }
            told
        };
        assert_eq!(all(&mut allowance, start), Allowance::MOST);
        assert!(!allowance.may_tell(start + Allowance::EACH / 2));
        assert_eq!(all(&mut allowance, start + Allowance::EACH), 1);
        assert!(!allowance.may_tell(start + Allowance::EACH * 3 / 2));
        assert_eq!(all(&mut allowance, start + 4 * Allowance::EACH), 3);
        let later = start + 10_000 * Allowance::EACH;
        assert_eq!(all(&mut allowance, later), Allowance::MOST);
        assert!(!allowance.may_tell(later + Allowance::EACH / 2));
    }

    #[test]
    fn the_same_text_about_the_same_subject_is_told_once() {
        let mut notices = Notices::default();
        assert!(notices.is_news("10.0.0.1:5000", "wrong secret"));
        assert!(!notices.is_news("10.0.0.1:5000", "wrong secret"));
        assert!(notices.is_news("10.0.0.2:5000", "wrong secret"));
        assert!(notices.is_news("10.0.0.1:5000", "no answer"));
        assert!(!notices.is_news("10.0.0.1:5000", "wrong secret"));
        notices.settle("10.0.0.1:5000");
        assert!(notices.is_news("10.0.0.1:5000", "no answer"));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut notices = Notices::default();
        for subject in 0..10 * MAX_SUBJECTS {
            notices.is_news(&subject.to_string(), "x");
        }
        assert!(notices.told.len() <= MAX_SUBJECTS);
        for text in 0..10 * MAX_TEXTS {
            notices.is_news("one", &text.to_string());
        }
        assert!(notices.told["one"].len() <= MAX_TEXTS);
    }
}
