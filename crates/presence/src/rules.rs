//! Which topics are treated how.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use crate::mode::Mode;

/// How the topics of one kind are treated: what their clients are told, and how long a lost client stays listed. Goes into
/// [`PresenceConfig::topics`](crate::PresenceConfig::topics).
///
/// ```
/// # use std::time::Duration;
/// # use matryoshka_presence::{Mode, TopicConfig};
/// let stadium = TopicConfig::default().mode(Mode::Count).drop_grace(Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicConfig {
    pub(crate) mode: Mode,
    pub(crate) drop_grace: Duration,
}

impl TopicConfig {
    /// What clients are told. Default: [`Mode::Full`].
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How long somebody whose channel ended stays listed, so that a connection that breaks for a moment is not seen as a leave and
    /// a join: who comes back in time, on whatever node, replaces the old meta in one `presence_diff`. What is
    /// [untracked](crate::Presence::untrack) leaves at once, and so does a channel that ends on purpose: its client left the topic, or
    /// it was stopped, closed or disconnected by the server. Default: zero, which is no grace; the tracker's permdown period is the
    /// most.
    #[must_use]
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }
}

/// The topics that are treated in a way of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<(Pattern, TopicConfig)>);

impl Rules {
    /// Adds a rule after the ones there are; `None` if the pattern is none.
    pub(crate) fn add(&mut self, pattern: &str, config: TopicConfig) -> Option<()> {
        self.0.push((Pattern::parse(pattern)?, config));
        Some(())
    }

    /// What the first rule says that fits.
    pub(crate) fn of(&self, topic: &str) -> TopicConfig {
        let rule = self.0.iter().find(|(pattern, _)| pattern.fits(topic));
        rule.map(|(_, config)| *config).unwrap_or_default()
    }
}

/// A topic, or all that begin alike: `room:*`.
#[derive(Clone, Debug)]
enum Pattern {
    Exactly(Box<str>),
    BeginsWith(Box<str>),
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (start, begins) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        match (start.contains('*'), begins, start.is_empty()) {
            (true, ..) | (false, false, true) => None,
            (false, true, _) => Some(Self::BeginsWith(start.into())),
            (false, false, false) => Some(Self::Exactly(start.into())),
        }
    }

    fn fits(&self, topic: &str) -> bool {
        match self {
            Self::Exactly(name) => topic == &**name,
            Self::BeginsWith(start) => topic.starts_with(&**start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let mut rules = Rules::default();
        let mode = |mode| TopicConfig::default().mode(mode);
        rules.add("room:big", mode(Mode::Window(3))).unwrap();
        rules.add("room:*", mode(Mode::Count)).unwrap();
        rules.add("room:other", mode(Mode::Full)).unwrap();
        assert_eq!(rules.of("room:big").mode, Mode::Window(3));
        assert_eq!(rules.of("room:other").mode, Mode::Count);
        assert_eq!(rules.of("lobby").mode, Mode::Full);
    }

    #[test]
    fn a_star_stands_at_the_end_or_nowhere() {
        for pattern in ["", "a*b", "*a", "a**"] {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
        assert!(Pattern::parse("*").unwrap().fits("anything"));
    }
}
