//! Under which names clients of this node hear who is here.

use std::str::FromStr;

use matryoshka_presence::{COUNT_EVENT, DIFF_EVENT, PresenceConfig, STATE_EVENT};

/// The longest name; more than anybody would type.
const MAX_BYTES: usize = 64;

/// Two names, a comma between: of the whole list, and of what has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PresenceEvents {
    state: String,
    diff: String,
}

impl Default for PresenceEvents {
    fn default() -> Self {
        Self {
            state: STATE_EVENT.to_owned(),
            diff: DIFF_EVENT.to_owned(),
        }
    }
}

impl PresenceEvents {
    /// The same settings with these names.
    pub(crate) fn name(&self, config: PresenceConfig) -> PresenceConfig {
        config
            .with_state_event(&self.state)
            .with_diff_event(&self.diff)
    }
}

impl FromStr for PresenceEvents {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (state, diff) = text.split_once(',').ok_or(())?;
        match is_name(state) && is_name(diff) && state != diff {
            true => Ok(Self {
                state: state.to_owned(),
                diff: diff.to_owned(),
            }),
            false => Err(()),
        }
    }
}

/// Whether a presence takes it, and no other event of ours is called so.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
    (1..=MAX_BYTES).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with("phx_")
        && text != COUNT_EVENT
}

#[cfg(test)]
mod tests {
    use matryoshka_presence::Presence;
    use matryoshka_presence::channel::pubsub::PubSub;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_starts_a_presence() {
        for text in ["people,moves", "presence_diff,presence_state", "a,b"] {
            let events: PresenceEvents = text.parse().unwrap();
            let config = events.name(PresenceConfig::default());
            assert!(Presence::start(&PubSub::local(), config).is_ok(), "{text}");
        }
    }

    #[test]
    fn two_different_names_that_are_not_the_protocols() {
        let long = format!("a,{}", "x".repeat(MAX_BYTES + 1));
        for text in [
            "",
            "people",
            "people,",
            ",moves",
            "same,same",
            "a,b,c",
            "phx_reply,b",
            "a,presence_count",
            "a b,c",
            &long,
        ] {
            assert_eq!(text.parse::<PresenceEvents>(), Err(()), "{text}");
        }
    }
}
