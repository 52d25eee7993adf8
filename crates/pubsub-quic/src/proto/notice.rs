//! What an operator is told, and that he is told it once.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};

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
