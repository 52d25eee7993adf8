//! How the topics of one kind are treated.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_channel::Router;

use crate::mode::Mode;

/// How the topics of one kind are treated: what their clients are told, and how long a lost client stays listed. Goes into
/// [`PresenceConfig::with_topics`](crate::PresenceConfig::with_topics).
///
/// ```
/// # use std::time::Duration;
/// # use matryoshka_presence::{Mode, TopicConfig};
/// let stadium = TopicConfig::default().with_mode(Mode::Count).with_drop_grace(Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicConfig {
    /// What clients are told. Default: [`Mode::Full`].
    pub mode: Mode,
    /// How long somebody whose channel ended stays listed, so that a connection that breaks for a moment is not seen as a leave and
    /// a join: who comes back in time, on whatever node, replaces the old meta in one `presence_diff`. What is
    /// [untracked](crate::Presence::untrack) leaves at once, and so does a channel that ends on purpose: its client left the topic, or
    /// it was stopped, closed or disconnected by the server. Default: zero, which is no grace; the tracker's permdown period is the
    /// most.
    pub drop_grace: Duration,
}

impl TopicConfig {
    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`drop_grace`](Self::drop_grace).
    #[must_use]
    pub fn with_drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }
}

/// What the first pattern says that fits a topic; the default where none does.
pub(crate) fn of_topic(rules: &Router<TopicConfig>, topic: &str) -> TopicConfig {
    rules.find(topic).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let mut rules = Router::new();
        let mode = |mode| TopicConfig::default().with_mode(mode);
        rules.add("room:big", mode(Mode::Window(3))).unwrap();
        rules.add("room:*", mode(Mode::Count)).unwrap();
        rules.add("room:other", mode(Mode::Window(4))).unwrap();
        for (topic, expected) in [
            ("room:big", Mode::Window(3)),
            ("room:other", Mode::Count),
            ("lobby", Mode::Full),
        ] {
            assert_eq!(of_topic(&rules, topic).mode, expected, "{topic}");
        }
    }
}
