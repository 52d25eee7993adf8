//! The flags of what clients are told of who is here.

use clap::Args;
use matryoshka_presence::PresenceConfig;

use crate::presence_events::PresenceEvents;
use crate::presence_topics::{PresenceTopics, longest_grace};

/// What clients are told of who is here.
#[derive(Debug, Args)]
pub(crate) struct PresenceFlags {
    /// Events by which clients of this node get presence lists and what changes in them
    #[arg(long, env = "MATRYOSHKA_PRESENCE_EVENTS", value_name = "STATE,DIFF", default_value = "presence_state,presence_diff", value_parser = presence_events)]
    presence_events: PresenceEvents,

    /// What clients are told of who is on such topics: `full`, `count` or `window:N`, the first N and how many there are. With seconds, up to
    /// 1200, who loses the connection stays listed for so long. The first that fits a topic counts; repeatable
    #[arg(long, env = "MATRYOSHKA_PRESENCE_TOPICS", value_name = "PATTERN=MODE[/SECONDS]", value_delimiter = ',', value_parser = presence_topics)]
    presence_topics: Vec<PresenceTopics>,
}

impl PresenceFlags {
    /// What the presence of this node is started with.
    pub(crate) fn config(&self) -> PresenceConfig {
        let named = self.presence_events.name(PresenceConfig::default());
        let topics = self.presence_topics.iter();
        topics.fold(named, |config, topics| topics.add(config))
    }
}

fn presence_events(value: &str) -> Result<PresenceEvents, String> {
    value.parse().map_err(|()| {
        "it takes two names with a comma between, such as people,moves, that are not the protocol's own"
            .to_owned()
    })
}

fn presence_topics(value: &str) -> Result<PresenceTopics, String> {
    value.parse().map_err(|()| {
        let most = longest_grace().as_secs();
        format!("it takes a topic or a beginning and *, then full, count or window:N, perhaps with up to {most} seconds, such as hall:*=window:20 or room:*=full/3")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::CommandLine;
    use super::super::tests::{flags, refusal};
    use super::*;

    #[test]
    fn the_help_says_the_longest_grace() {
        let help = CommandLine::command().render_long_help().to_string();
        let most = format!("up to {}", longest_grace().as_secs());
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(&most), "{help}");
    }

    #[test]
    fn presence_lists_come_by_phoenix_events_unless_told_otherwise() {
        let events = |arguments: &[&str]| flags(arguments).presence.presence_events;
        assert_eq!(events(&[]), PresenceEvents::default());
        let named = events(&["--presence-events", "people,moves"]);
        assert_eq!(named, "people,moves".parse().unwrap());
        let line = refusal(&["--presence-events", "people"]);
        assert!(line.contains("two names with a comma between"), "{line}");
    }

    #[test]
    fn presence_is_told_whole_unless_topics_are_named() {
        let topics = |arguments: &[&str]| flags(arguments).presence.presence_topics;
        assert_eq!(topics(&[]), []);
        let named = topics(&[
            "--presence-topics",
            "big=count,hall:*=window:9",
            "--presence-topics=*=full/3",
        ]);
        let rules = ["big=count", "hall:*=window:9", "*=full/3"];
        assert_eq!(named, rules.map(|rule| rule.parse().unwrap()));
        let line = refusal(&["--presence-topics", "room:*"]);
        assert!(line.contains("full, count or window:N"), "{line}");
    }
}
