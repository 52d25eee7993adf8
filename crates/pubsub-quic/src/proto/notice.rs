//! What an operator is told, and that he is told it once.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;

/// How many subjects are remembered as told; beyond that the memory starts afresh.
const MAX_SUBJECTS: usize = 1024;

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
    told: BTreeMap<String, String>,
}

impl Notices {
    /// Whether `text` is news about `subject`. A subject's latest text counts as told.
    pub(crate) fn is_news(&mut self, subject: &str, text: &str) -> bool {
        if self.told.get(subject).is_some_and(|told| told == text) {
            return false;
        }
        if self.told.len() >= MAX_SUBJECTS {
            self.told.clear();
        }
        self.told.insert(subject.to_owned(), text.to_owned());
        true
    }

    /// Whatever comes next about `subject` is news.
    pub(crate) fn settle(&mut self, subject: &str) {
        self.told.remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_about_the_same_subject_is_told_once() {
        let mut notices = Notices::default();
        assert!(notices.is_news("10.0.0.1:5000", "wrong secret"));
        assert!(!notices.is_news("10.0.0.1:5000", "wrong secret"));
        assert!(notices.is_news("10.0.0.2:5000", "wrong secret"));
        assert!(notices.is_news("10.0.0.1:5000", "no answer"));
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
    }
}
