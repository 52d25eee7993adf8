//! The names under which clients are told.

use matryoshka_channel::Broadcast;

/// The event that tells a client the whole list of its topic, unless it was given another name.
pub const STATE_EVENT: &str = "presence_state";

/// The event that tells clients who came and who went, unless it was given another name.
pub const DIFF_EVENT: &str = "presence_diff";

/// The event that tells clients how many are here, unless it was given another name.
pub const COUNT_EVENT: &str = "presence_count";

/// Three different names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) state: String,
    pub(crate) diff: String,
    pub(crate) count: String,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            state: STATE_EVENT.to_owned(),
            diff: DIFF_EVENT.to_owned(),
            count: COUNT_EVENT.to_owned(),
        }
    }
}

impl Events {
    /// The first name that cannot be one.
    pub(crate) fn wrong(&self) -> Option<&str> {
        let names = [&self.state, &self.diff, &self.count];
        let is_wrong = |name: &String| {
            let length = 1..=Broadcast::MAX_EVENT_BYTES;
            let twice = names.iter().filter(|other| **other == name).count() > 1;
            !length.contains(&name.len()) || name.starts_with("phx_") || twice
        };
        names
            .into_iter()
            .find(|name| is_wrong(name))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_not_the_protocols() {
        let with = |state: &str| Events {
            state: state.to_owned(),
            ..Events::default()
        };
        assert_eq!(Events::default().wrong(), None);
        assert_eq!(with("people").wrong(), None);
        for name in ["", "phx_reply", DIFF_EVENT, &"x".repeat(70_000)] {
            assert_eq!(with(name).wrong(), Some(name));
        }
    }
}
