//! How the presence of some topics is told: `PATTERN=MODE` or `PATTERN=MODE/SECONDS`.

use std::str::FromStr;
use std::time::Duration;

use matryoshka_presence::channel::Router;
use matryoshka_presence::tracker::TrackerConfig;
use matryoshka_presence::{Mode, PresenceConfig, TopicConfig};

/// One topic, or the beginning of several with a `*` after it; and what their clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PresenceTopics {
    pattern: String,
    config: TopicConfig,
}

impl PresenceTopics {
    /// The same settings with this rule after those that are there.
    pub(crate) fn add(&self, config: PresenceConfig) -> PresenceConfig {
        config.with_topics(&self.pattern, self.config)
    }
}

impl FromStr for PresenceTopics {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // A topic may have a sign of equality, a mode has none.
        let (pattern, treatment) = text.rsplit_once('=').ok_or(())?;
        let (mode_text, grace) = match treatment.split_once('/') {
            Some((mode, seconds)) => (mode, drop_grace(seconds)?),
            None => (treatment, Duration::ZERO),
        };
        if pattern.is_empty() || Router::new().add(pattern, ()).is_err() {
            return Err(());
        }
        Ok(Self {
            pattern: pattern.to_owned(),
            config: TopicConfig::default()
                .with_mode(mode(mode_text)?)
                .with_drop_grace(grace),
        })
    }
}

fn mode(text: &str) -> Result<Mode, ()> {
    match text.split_once(':') {
        Some(("window", keys)) => keys.parse().map(Mode::Window).map_err(|_| ()),
        None if text == "full" => Ok(Mode::Full),
        None if text == "count" => Ok(Mode::Count),
        _ => Err(()),
    }
}

/// As long as anything is held for at most.
pub(crate) fn longest_grace() -> Duration {
    TrackerConfig::default().permdown_period
}

fn drop_grace(text: &str) -> Result<Duration, ()> {
    let grace = text.parse().map(Duration::from_secs).map_err(drop)?;
    (grace <= longest_grace()).then_some(grace).ok_or(())
}

#[cfg(test)]
mod tests {
    use matryoshka_presence::Presence;
    use matryoshka_presence::channel::pubsub::PubSub;

    use super::*;

    fn rule(pattern: &str, config: TopicConfig) -> PresenceTopics {
        let pattern = pattern.to_owned();
        PresenceTopics { pattern, config }
    }

    #[tokio::test]
    async fn a_rule_is_a_pattern_a_mode_and_perhaps_a_grace_and_a_presence_takes_it() {
        let of = |mode, seconds| {
            let grace = Duration::from_secs(seconds);
            TopicConfig::default()
                .with_mode(mode)
                .with_drop_grace(grace)
        };
        for (text, pattern, config) in [
            ("stadium=count", "stadium", of(Mode::Count, 0)),
            ("hall:*=window:20", "hall:*", of(Mode::Window(20), 0)),
            ("room:*=full/3", "room:*", of(Mode::Full, 3)),
            ("a=b=count/1200", "a=b", of(Mode::Count, 1_200)),
            ("*=full/0", "*", of(Mode::Full, 0)),
        ] {
            let read: PresenceTopics = text.parse().unwrap();
            assert_eq!(read, rule(pattern, config), "{text}");
            let config = read.add(PresenceConfig::default());
            assert!(Presence::start(&PubSub::local(), config).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "room:*",
            "=count",
            "a*b=count",
            "**=count",
            "room=many",
            "room=count:3",
            "room=window",
            "room=window:-1",
            "room=window:few",
            "room=full/",
            "room=full/1201",
            "room=full/0.5",
            "room=/3",
        ] {
            assert_eq!(text.parse::<PresenceTopics>(), Err(()), "{text}");
        }
    }
}
