//! How a tracker behaves.

use std::time::Duration;

use matryoshka_pubsub::{Limits, TopicName};

use crate::error::ConfigError;

/// Settings of a [`Tracker`](crate::Tracker). All have defaults that suit a cluster of tens of nodes in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct TrackerConfig {
    /// Trackers of one name on different nodes belong together. One node has each name once per pubsub.
    /// Default `tracker`.
    pub name: String,
    /// Shards among which topics are divided, each a task. **Must be the same on all nodes**: with different numbers a topic is in
    /// different shards, and the nodes do not see each other's entries. Default 1.
    pub pool_size: usize,
    /// How long changes are collected before they are sent to the other nodes. Default 50 ms; at least 1 ms.
    pub broadcast_period: Duration,
    /// How often a node tells how far it is, so that others notice what they missed. Default 2 s; at least twice the
    /// broadcast period.
    pub vector_period: Duration,
    /// How long the entries of a node without link are kept, hidden, so that it need not send all of them when it comes
    /// back, and the most that anything is held. Default 20 minutes; longer than the vector period, and at most 365 days.
    pub permdown_period: Duration,
    /// Bytes of recent operations that each shard keeps, for peers that missed a few. Who missed more gets everything.
    /// Default 1 MiB; at least 256 KiB.
    pub log_bytes: usize,
    /// Messages of other nodes that may wait for a shard. Beyond, a message is dropped and its sender is asked again
    /// for what is missing. Default 8,192; at least 1. A quarter more is kept for news about nodes. One link has half of it at most.
    pub inbox_messages: usize,
    /// The same in bytes of those messages, whichever bound is met first. An empty queue takes any message. Default 64 MiB; at least
    /// 1 MiB.
    pub inbox_bytes: usize,
    /// Diffs that may wait for a consumer, and together they have at most 262,144 joins and leaves, unless a single one has more. Beyond,
    /// they are dropped and it gets one resync. Default 4,096; at least 1.
    pub consumer_diffs: usize,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            name: "tracker".to_owned(),
            pool_size: 1,
            broadcast_period: Duration::from_millis(50),
            vector_period: Duration::from_secs(2),
            permdown_period: Duration::from_secs(20 * 60),
            log_bytes: 1024 * 1024,
            inbox_messages: 8_192,
            inbox_bytes: 64 * 1024 * 1024,
            consumer_diffs: 4_096,
        }
    }
}

impl TrackerConfig {
    /// The defaults under another name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Sets [`pool_size`](Self::pool_size).
    pub fn with_pool_size(mut self, shards: usize) -> Self {
        self.pool_size = shards;
        self
    }

    /// Sets [`broadcast_period`](Self::broadcast_period).
    pub fn with_broadcast_period(mut self, time: Duration) -> Self {
        self.broadcast_period = time;
        self
    }

    /// Sets [`vector_period`](Self::vector_period).
    pub fn with_vector_period(mut self, time: Duration) -> Self {
        self.vector_period = time;
        self
    }

    /// Sets [`permdown_period`](Self::permdown_period).
    pub fn with_permdown_period(mut self, time: Duration) -> Self {
        self.permdown_period = time;
        self
    }

    /// Sets [`log_bytes`](Self::log_bytes).
    pub fn with_log_bytes(mut self, most: usize) -> Self {
        self.log_bytes = most;
        self
    }

    /// Sets [`inbox_messages`](Self::inbox_messages).
    pub fn with_inbox_messages(mut self, most: usize) -> Self {
        self.inbox_messages = most;
        self
    }

    /// Sets [`inbox_bytes`](Self::inbox_bytes).
    pub fn with_inbox_bytes(mut self, most: usize) -> Self {
        self.inbox_bytes = most;
        self
    }

    /// Sets [`consumer_diffs`](Self::consumer_diffs).
    pub fn with_consumer_diffs(mut self, most: usize) -> Self {
        self.consumer_diffs = most;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let error = if self.name.is_empty() || self.name.len() > MAX_NAME_BYTES {
            ConfigError::Name
        } else if !(1..=MAX_POOL_SIZE).contains(&self.pool_size) {
            ConfigError::PoolSize(self.pool_size)
        } else if self.broadcast_period < MIN_BROADCAST_PERIOD {
            ConfigError::BroadcastPeriod
        } else if self.vector_period / 2 < self.broadcast_period {
            ConfigError::VectorPeriod
        } else if self.permdown_period <= self.vector_period
            || self.permdown_period > MAX_PERMDOWN_PERIOD
        {
            ConfigError::PermdownPeriod
        } else if self.log_bytes < MIN_LOG_BYTES {
            ConfigError::LogBytes(self.log_bytes)
        } else if self.inbox_bytes < MIN_INBOX_BYTES {
            ConfigError::InboxBytes(self.inbox_bytes)
        } else if self.inbox_messages == 0 || self.consumer_diffs == 0 {
            ConfigError::EmptyQueue
        } else {
            return Ok(());
        };
        Err(error)
    }

    /// Whether the pubsub takes the topics by which the shards of different nodes reach each other. Else nothing would leave this node.
    pub(crate) fn check_topics(&self, limits: Limits) -> Result<(), ConfigError> {
        let bytes = self.topic(self.pool_size - 1).len();
        let max = limits.topic_bytes();
        if bytes > max {
            return Err(ConfigError::TopicTooLong { bytes, max });
        }
        Ok(())
    }

    /// The topic of the messages between the shards of that number.
    pub(crate) fn topic(&self, shard: usize) -> TopicName {
        format!("matryoshka:tracker:{}:{shard}", self.name).into()
    }
}

/// Each shard is a task, a topic between nodes and a log; more than cores are of no use.
pub(crate) const MAX_POOL_SIZE: usize = 1_024;

/// Timers count milliseconds: with less a shard would do nothing but look at them.
pub(crate) const MIN_BROADCAST_PERIOD: Duration = Duration::from_millis(1);

/// Times are added to each other, and to the age of the tracker: with this bound none of that overflows.
pub(crate) const MAX_PERMDOWN_PERIOD: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Some of the largest messages, so that a single peer's state does not fill it.
pub(crate) const MIN_INBOX_BYTES: usize = 1024 * 1024;

pub(crate) const MAX_NAME_BYTES: usize = 255;

/// Two full messages, so that what is being sent never pushes what was just sent out of the log.
pub(crate) const MIN_LOG_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut TrackerConfig)) -> ConfigError {
        let mut config = TrackerConfig::default();
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(TrackerConfig::default().check(), Ok(()));
    }

    #[test]
    fn p2_relations_between_periods_are_checked() {
        assert_eq!(
            refused(|c| c.broadcast_period = Duration::ZERO),
            ConfigError::BroadcastPeriod
        );
        assert_eq!(
            refused(|c| c.broadcast_period = Duration::from_micros(999)),
            ConfigError::BroadcastPeriod
        );
        assert_eq!(
            refused(|c| c.vector_period = c.broadcast_period),
            ConfigError::VectorPeriod
        );
        assert_eq!(
            refused(|c| c.permdown_period = c.vector_period),
            ConfigError::PermdownPeriod
        );
    }

    #[test]
    fn p2_periods_that_no_clock_can_count_are_refused() {
        assert_eq!(
            refused(|c| c.broadcast_period = Duration::MAX),
            ConfigError::VectorPeriod
        );
        assert_eq!(
            refused(|c| c.vector_period = Duration::MAX),
            ConfigError::PermdownPeriod
        );
        assert_eq!(
            refused(|c| c.permdown_period = Duration::MAX),
            ConfigError::PermdownPeriod
        );
        assert_eq!(
            refused(|c| c.permdown_period = MAX_PERMDOWN_PERIOD + Duration::from_nanos(1)),
            ConfigError::PermdownPeriod
        );
        let most = TrackerConfig {
            permdown_period: MAX_PERMDOWN_PERIOD,
            ..TrackerConfig::default()
        };
        assert_eq!(most.check(), Ok(()));
    }

    #[test]
    fn a_name_has_to_fit_into_the_topics_of_the_shards() {
        let longest = |name: usize, pool_size| TrackerConfig {
            pool_size,
            ..TrackerConfig::named("n".repeat(name))
        };
        let check = |name, pool_size| longest(name, pool_size).check_topics(Limits::default());
        let (bytes, max) = (256, 255);
        assert_eq!(check(234, 10), Ok(()));
        assert_eq!(
            check(234, 11),
            Err(ConfigError::TopicTooLong { bytes, max })
        );
        assert_eq!(
            check(235, 10),
            Err(ConfigError::TopicTooLong { bytes, max })
        );
        assert_eq!(check(233, 11), Ok(()));
        let wider = Limits::default().with_topic_bytes(300).unwrap();
        assert_eq!(longest(255, 1).check_topics(wider), Ok(()));
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!(refused(|c| c.name.clear()), ConfigError::Name);
        assert_eq!(refused(|c| c.pool_size = 0), ConfigError::PoolSize(0));
        assert_eq!(refused(|c| c.log_bytes = 10), ConfigError::LogBytes(10));
        assert_eq!(refused(|c| c.inbox_bytes = 10), ConfigError::InboxBytes(10));
        assert_eq!(refused(|c| c.inbox_messages = 0), ConfigError::EmptyQueue);
        assert_eq!(refused(|c| c.consumer_diffs = 0), ConfigError::EmptyQueue);
    }
}
