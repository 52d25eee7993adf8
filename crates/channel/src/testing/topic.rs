//! What is broadcast on a topic, whoever has joined it.

use std::fmt;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use serde_json::Value;

use super::arrived::{Body, Expected, list};
use super::{PATIENCE, settle};
use crate::Broadcast;
use crate::pubsub::{Message, PubSub, Subscription};

/// A test's own subscription to a topic.
#[derive(Debug)]
pub struct TestTopic {
    topic: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    subscription: Subscription,
    arrived: Vec<Event>,
}

/// One broadcast that came.
#[derive(Debug)]
struct Event {
    event: String,
    body: Body,
    is_taken: bool,
}

impl TestTopic {
    pub(super) fn new(pubsub: &PubSub, topic: &str) -> Self {
        let subscription = pubsub.subscribe(topic);
        let subscription = subscription.unwrap_or_else(|error| panic!("{error}"));
        Self {
            topic: topic.to_owned(),
            state: Mutex::new(State {
                subscription,
                arrived: Vec::new(),
            }),
        }
    }

    /// For [`assert_broadcast!`](crate::assert_broadcast).
    ///
    /// # Errors
    /// A report of what did come, if it does not come within [`PATIENCE`](super::PATIENCE).
    ///
    /// # Cancel safety
    /// Safe: it is taken only when it is returned.
    #[doc(hidden)]
    pub async fn check_broadcast(&self, event: &str, expected: Expected) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().await;
        loop {
            let fits = |one: &&mut Event| one.fits(event, &expected);
            if let Some(found) = state.arrived.iter_mut().find(fits) {
                found.is_taken = true;
                return Ok(found.body.clone().into_value());
            }
            match timeout_at(deadline, state.subscription.next()).await {
                Ok(Some(Ok(message))) => state.note(&message),
                Ok(Some(Err(lagged))) => {
                    return Err(format!("the test reads too slowly: {lagged}"));
                }
                Ok(None) | Err(_) => break,
            }
        }
        let what = format!("no broadcast {event:?}{expected} came on {}", self.topic);
        Err(state.report(&what))
    }

    /// For [`refute_broadcast!`](crate::refute_broadcast).
    ///
    /// # Errors
    /// A report of what did come, if there is such a one.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken.
    #[doc(hidden)]
    pub async fn check_no_broadcast(&self, event: &str, expected: Expected) -> Result<(), String> {
        let what = format!("a broadcast {event:?}{expected} came on {}", self.topic);
        self.refute(&what, |one| one.fits(event, &expected)).await
    }

    /// For [`refute_broadcast!`](crate::refute_broadcast), of any event.
    ///
    /// # Errors
    /// A report of what did come, if there is such a one.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken.
    #[doc(hidden)]
    pub async fn check_silence(&self) -> Result<(), String> {
        let what = format!("a broadcast came on {} that no assertion took", self.topic);
        self.refute(&what, |one| !one.is_taken).await
    }

    async fn refute(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Result<(), String> {
        let mut state = self.state.lock().await;
        settle().await;
        while let Some(next) = state.subscription.try_next() {
            match next {
                Ok(message) => state.note(&message),
                Err(lagged) => return Err(format!("the test reads too slowly: {lagged}")),
            }
        }
        match state.arrived.iter().any(fits) {
            false => Ok(()),
            true => Err(state.report(what)),
        }
    }
}

impl State {
    /// Other kinds of messages are no broadcasts of channels.
    fn note(&mut self, message: &Message) {
        if let Some(Ok(broadcast)) = Broadcast::from_message(message) {
            self.arrived.push(Event {
                event: broadcast.event().to_owned(),
                body: broadcast.payload().into(),
                is_taken: false,
            });
        }
    }

    fn report(&self, what: &str) -> String {
        format!("{what}\nwhat did come:{}", list(&self.arrived))
    }
}

impl Event {
    fn fits(&self, event: &str, expected: &Expected) -> bool {
        !self.is_taken && self.event == event && expected.fits(&self.body)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.event, self.body)?;
        match self.is_taken {
            true => f.write_str(" (asserted before)"),
            false => Ok(()),
        }
    }
}
