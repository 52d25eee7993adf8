//! What a client gets after its join, made once for all that join at about the same time.

use std::sync::{Arc, OnceLock};

use matryoshka_channel::transport::Json;
use matryoshka_channel::{PushError, Socket};
use matryoshka_tracker::Entries;
use serde_json::json;

use crate::events::Events;
use crate::extras::Extras;
use crate::list::PresenceState;
use crate::mode::Count;
use crate::stats::Counters;

/// The list of a topic as its clients are to hold it, the number of those on it, or both.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    pub(crate) list: Option<Entries>,
    pub(crate) count: Option<Count>,
    pub(crate) extras: Extras,
    /// Written by the first who needs it; the others wait for that rather than write it again.
    written: OnceLock<Json>,
}

impl Greeting {
    pub(crate) fn new(list: Option<Entries>, count: Option<Count>) -> Self {
        Self {
            list,
            count,
            ..Self::default()
        }
    }

    /// The keys that are named in it, in order.
    pub(crate) fn keys(&self) -> Vec<Arc<str>> {
        let entries = self.list.iter().flat_map(Entries::iter);
        let mut keys: Vec<Arc<str>> = entries.map(|entry| Arc::clone(&entry.key)).collect();
        keys.dedup();
        keys
    }

    /// Whether there is anybody to fetch something for.
    pub(crate) fn names_somebody(&self) -> bool {
        self.list.as_ref().is_some_and(|list| !list.is_empty())
    }

    /// The same with data of the application.
    pub(crate) fn with_extras(&self, extras: Extras) -> Self {
        Self {
            extras,
            ..Self::new(self.list.clone(), self.count)
        }
    }

    /// Pushes the list, if it has one.
    pub(crate) fn push_list(
        &self,
        socket: &Socket,
        events: &Events,
        counters: &Counters,
    ) -> Result<(), PushError> {
        let Some(list) = &self.list else {
            return Ok(());
        };
        let written = self.written.get_or_init(|| {
            counters.list_written();
            PresenceState::with_extras(list.iter().cloned(), self.extras.clone()).to_json()
        });
        counters.state();
        socket.push_payload(events.state.clone(), written.clone())
    }
}

/// The payload of `presence_count`.
pub(crate) fn count_json(count: Count) -> Json {
    let Count { keys, metas } = count;
    Json::of(&json!({ "count": keys, "metas": metas })).expect("two numbers have a JSON form")
}
