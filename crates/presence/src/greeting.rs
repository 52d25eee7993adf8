//! What a client gets after its join, made once for all that join at about the same time.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use matryoshka_channel::Socket;
use matryoshka_channel::transport::Json;
use matryoshka_tracker::{Closed, Entries};
use serde_json::json;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout;

use crate::departed::Missed;
use crate::difference::Difference;
use crate::error::PushStateError;
use crate::events::Events;
use crate::extras::Extras;
use crate::list::PresenceState;
use crate::mode::Count;
use crate::stats::Counters;
use crate::writing::{MOST_AT_ONCE, apart, write_all};

/// The list of a topic as its clients are to hold it, the number of those on it, or both.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    pub(crate) list: Option<Entries>,
    pub(crate) count: Option<Count>,
    pub(crate) extras: Extras,
    /// For those who had joined before on the same connection.
    pub(crate) missed: Missed,
    /// If differences may come before it to those who are given it.
    pub(crate) under_way: Option<UnderWay>,
    /// Written by the first who needs it; the others wait for that rather than write it again, and their threads do not.
    written: OnceCell<Json>,
    missed_written: OnceCell<Vec<Json>>,
}

/// The topic of a list that was under way, and its number.
pub(crate) type Arrival = (Arc<str>, u64);

/// Tells, when it is dropped, that all who were given a list have pushed it to their clients or gone.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pub(crate) topic: Arc<str>,
    pub(crate) way: u64,
    /// Not bounded by itself, so that whoever drops it need not wait: of each topic only so many lists are under way.
    pub(crate) arrived: mpsc::UnboundedSender<Arrival>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Without anybody who tells differences there is nobody to tell.
        let _ = self.arrived.send((Arc::clone(&self.topic), self.way));
    }
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
        keys.extend(self.missed().keys());
        keys.sort();
        keys.dedup();
        keys
    }

    /// Whether there may be anybody to fetch something for.
    pub(crate) fn names_somebody(&self) -> bool {
        let is_listed = self.list.as_ref().is_some_and(|list| !list.is_empty());
        is_listed || self.missed.len() > 0
    }

    /// Pushes the list, if it has one, and what a client that had joined before has missed of it. Not so, and `false`, if the client has no room
    /// for it within [`ROOM_WAIT`]; if the list is under way, at once: as long as it waited, the differences that overtake this list would have to
    /// be remembered.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing was pushed, and whoever waits for the same list writes it.
    pub(crate) async fn push_list(
        self: &Arc<Self>,
        socket: &Socket,
        events: &Events,
        counters: &Counters,
    ) -> Result<bool, PushStateError> {
        let Some(list) = &self.list else {
            return Ok(true);
        };
        let written = self.written.get_or_try_init(async || {
            counters.lists_written.add_one();
            match list.len() > MOST_AT_ONCE {
                true => self.write_apart().await,
                false => Ok(self.write()),
            }
        });
        let written = written.await?.clone();
        let missed: &[Json] = match socket.earlier_join_ended() {
            Some(_) => {
                self.missed_written
                    .get_or_init(|| self.write_missed())
                    .await
            }
            None => &[],
        };
        let pushing = socket.push_payload_when_room(events.state.clone(), written);
        let pushed = match &self.under_way {
            Some(_) => pushing.now_or_never(),
            None => timeout(ROOM_WAIT, pushing).await.ok(),
        };
        match pushed {
            None => return Ok(false),
            Some(pushed) => pushed?,
        }
        counters.states.add_one();
        // Right after it, whatever room there is: no difference may come between.
        for part in missed {
            socket.push_payload(events.diff.clone(), part.clone())?;
        }
        Ok(true)
    }

    async fn write_missed(self: &Arc<Self>) -> Vec<Json> {
        let (greeting, extras) = (Arc::clone(self), Arc::new(self.extras.clone()));
        let is_much = self.missed.len() > MOST_AT_ONCE;
        let missed = apart(is_much, move || greeting.missed()).await;
        write_all(missed, &extras).await
    }

    /// What is to be told after the list to those who had joined before.
    pub(crate) fn missed(&self) -> Difference {
        let list = self.list.as_ref();
        list.map_or_else(Difference::default, |list| self.missed.after(list))
    }

    /// In a thread that nobody else waits for.
    async fn write_apart(self: &Arc<Self>) -> Result<Json, PushStateError> {
        let greeting = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || greeting.write()).await;
        // It does not panic, so this is the runtime's end.
        written.map_err(|_| PushStateError::Closed(Closed))
    }

    fn write(&self) -> Json {
        let list = self.list.iter().flat_map(Entries::iter).cloned();
        PresenceState::with_extras(list, self.extras.clone()).to_json()
    }
}

/// How long a list is kept for a client that has no room for it. Who does not read would else keep it in memory for as long as it stays, and
/// each list of another moment; so it gets a newer one when it reads.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// The payload of `presence_count`.
pub(crate) fn count_json(count: Count) -> Json {
    let Count { keys, metas } = count;
    Json::of(&json!({ "count": keys, "metas": metas })).expect("two numbers have a JSON form")
}
