//! What can be set when a presence starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use matryoshka_channel::Router;
use matryoshka_tracker::TrackerConfig;

use crate::error::StartError;
use crate::events::Events;
use crate::fetch::{AnyFetch, Fetch};
use crate::handler::HandleMetas;
use crate::handling::AnyHandler;
use crate::topic_config::TopicConfig;

/// Settings of a [`Presence`](crate::Presence). The default is right for one presence in an application.
///
/// ```
/// # use std::time::Duration;
/// # use matryoshka_presence::{Mode, PresenceConfig, TopicConfig};
/// let config = PresenceConfig::default()
///     .with_name("support")
///     .with_topics("stadium:*", TopicConfig::default().with_mode(Mode::Count))
///     .with_topics("room:*", TopicConfig::default().with_drop_grace(Duration::from_secs(3)));
/// ```
#[non_exhaustive]
pub struct PresenceConfig {
    /// The settings of the tracker beneath. Its name is the one under which the presences of all nodes find each other; default
    /// [`DEFAULT_NAME`](Self::DEFAULT_NAME).
    pub tracker: TrackerConfig,
    /// The least time between two `presence_diff` of a topic: the first change after a quiet time is told at once, and what comes
    /// until the time is over goes into one diff. Clients that join a topic within that time share one list, which they are given at its
    /// end. Default: [`DEFAULT_PERIOD`](Self::DEFAULT_PERIOD); at most [`MAX_TIME`](Self::MAX_TIME).
    pub period: Duration,
    /// How long a fetch may take, the wait for its [turn](Self::fetches_at_once) included; then clients get the metas alone. Of a topic
    /// one list and one difference are fetched for at a time, so a client waits for either at most twice as long. Default:
    /// [`DEFAULT_FETCH_LIMIT`](Self::DEFAULT_FETCH_LIMIT); at most [`MAX_TIME`](Self::MAX_TIME).
    pub fetch_limit: Duration,
    /// How many fetches for clients are under way at a time, over all topics; at least 1. Further topics wait for their turn,
    /// within the [limit](Self::fetch_limit), and at most 16,384 lists and diffs: what is more is told at once, with the metas alone. Default:
    /// two for each core.
    pub fetches_at_once: usize,
    pub(crate) events: Events,
    pub(crate) topics: Vec<(String, TopicConfig)>,
    pub(crate) fetch: Option<Arc<dyn AnyFetch>>,
    pub(crate) handler: Option<Box<dyn AnyHandler>>,
}

impl PresenceConfig {
    /// The name of a presence that was given no other.
    pub const DEFAULT_NAME: &'static str = "presence";

    /// The time for which changes are collected if none is set.
    pub const DEFAULT_PERIOD: Duration = Duration::from_millis(50);

    /// The time limit of a fetch if none is set.
    pub const DEFAULT_FETCH_LIMIT: Duration = Duration::from_secs(5);

    /// The longest [`period`](Self::period) and [`fetch_limit`](Self::fetch_limit): an hour.
    pub const MAX_TIME: Duration = Duration::from_secs(60 * 60);

    /// The name under which the presences of all nodes find each other. Default: [`DEFAULT_NAME`](Self::DEFAULT_NAME).
    ///
    /// Two presences of different names share no list, so one application may have several: on topics of their own, or with
    /// [events](Self::with_state_event) of their own, since a client of a topic is told by both.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.tracker.name = name.into();
        self
    }

    /// Sets [`tracker`](Self::tracker), its name included.
    #[must_use]
    pub fn with_tracker(mut self, tracker: TrackerConfig) -> Self {
        self.tracker = tracker;
        self
    }

    /// Sets [`period`](Self::period).
    #[must_use]
    pub fn with_period(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// The event that clients get whole lists by. Default: [`STATE_EVENT`](crate::STATE_EVENT).
    #[must_use]
    pub fn with_state_event(mut self, name: impl Into<String>) -> Self {
        self.events.state = name.into();
        self
    }

    /// The event that clients hear of changes by. Default: [`DIFF_EVENT`](crate::DIFF_EVENT).
    #[must_use]
    pub fn with_diff_event(mut self, name: impl Into<String>) -> Self {
        self.events.diff = name.into();
        self
    }

    /// The event that clients get numbers by. Default: [`COUNT_EVENT`](crate::COUNT_EVENT).
    #[must_use]
    pub fn with_count_event(mut self, name: impl Into<String>) -> Self {
        self.events.count = name.into();
        self
    }

    /// How the topics of a pattern are treated: one topic, or with a `*` at the end all that begin alike, as the channels' patterns
    /// do. Of several that fit a topic the first one given counts.
    #[must_use]
    pub fn with_topics(mut self, pattern: impl Into<String>, config: TopicConfig) -> Self {
        self.topics.push((pattern.into(), config));
        self
    }

    /// Adds data of the application to what clients are told. Default: nothing is added.
    #[must_use]
    pub fn with_fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Sets [`fetch_limit`](Self::fetch_limit).
    #[must_use]
    pub fn with_fetch_limit(mut self, limit: Duration) -> Self {
        self.fetch_limit = limit;
        self
    }

    /// Sets [`fetches_at_once`](Self::fetches_at_once).
    #[must_use]
    pub fn with_fetches_at_once(mut self, most: usize) -> Self {
        self.fetches_at_once = most;
        self
    }

    /// Calls the application for everybody who comes, goes or changes. Default: nobody is called.
    #[must_use]
    pub fn with_handler(mut self, handler: impl HandleMetas) -> Self {
        self.handler = Some(Box::new(handler));
        self
    }

    /// The topics' settings, once all settings are found to make sense.
    pub(crate) fn checked(&self) -> Result<Router<TopicConfig>, StartError> {
        if let Some(name) = self.events.wrong() {
            return Err(StartError::EventName(name.to_owned()));
        }
        if self.fetches_at_once == 0 {
            return Err(StartError::NoFetches);
        }
        for (setting, time) in [("period", self.period), ("fetch_limit", self.fetch_limit)] {
            if time > Self::MAX_TIME {
                return Err(StartError::TooLong { setting, time });
            }
        }
        let mut rules = Router::new();
        for (pattern, config) in &self.topics {
            let added = rules.add(pattern, *config);
            // There is no topic without a name.
            if pattern.is_empty() || added.is_err() {
                return Err(StartError::Pattern(pattern.clone()));
            }
        }
        Ok(rules)
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            tracker: TrackerConfig::named(Self::DEFAULT_NAME),
            period: Self::DEFAULT_PERIOD,
            fetch_limit: Self::DEFAULT_FETCH_LIMIT,
            fetches_at_once: 2 * cores,
            events: Events::default(),
            topics: Vec::new(),
            fetch: None,
            handler: None,
        }
    }
}

impl fmt::Debug for PresenceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceConfig")
            .field("tracker", &self.tracker)
            .field("period", &self.period)
            .field("events", &self.events)
            .field("topics", &self.topics)
            .field("fetch", &self.fetch.is_some())
            .field("fetch_limit", &self.fetch_limit)
            .field("fetches_at_once", &self.fetches_at_once)
            .field("handler", &self.handler.is_some())
            .finish()
    }
}
