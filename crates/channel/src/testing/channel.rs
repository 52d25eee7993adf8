//! One client of a test on one topic, and what it has pushed.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::arrived::{Arrived, Body, Expected};
use super::socket::TestSocket;
use crate::wire;

/// One join of one topic, from the client's end.
#[derive(Clone, Debug)]
pub struct TestChannel {
    socket: TestSocket,
    topic: String,
    join_ref: String,
    response: Value,
}

impl TestChannel {
    pub(super) fn new(socket: TestSocket, topic: &str, join_ref: String, response: Value) -> Self {
        Self {
            socket,
            topic: topic.to_owned(),
            join_ref,
            response,
        }
    }

    /// Its connection.
    pub fn socket(&self) -> &TestSocket {
        &self.socket
    }

    /// The response of the join's `ok` reply; bytes are a list of numbers.
    pub fn response(&self) -> &Value {
        &self.response
    }

    /// Sends an event. The reply is for [`assert_reply!`](crate::assert_reply).
    ///
    /// # Panics
    /// If the connection has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing was sent.
    pub async fn push(&self, event: &str, payload: impl Serialize) -> TestPush {
        self.push_body(event, Body::of(payload)).await
    }

    /// Sends an event that carries bytes.
    ///
    /// # Panics
    /// If the connection has ended, or is of version 1.
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_bytes(&self, event: &str, bytes: impl Into<Bytes>) -> TestPush {
        self.push_body(event, Body::Bytes(bytes.into())).await
    }

    /// Leaves the topic. The reply is for [`assert_reply!`](crate::assert_reply); `phx_close` follows.
    ///
    /// # Panics
    /// If the connection has ended.
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn leave(&self) -> TestPush {
        self.push(wire::LEAVE, Value::Object(serde_json::Map::new()))
            .await
    }

    async fn push_body(&self, event: &str, body: Body) -> TestPush {
        let join_ref = Some(self.join_ref.as_str());
        self.socket
            .push_body(join_ref, &self.topic, event, body)
            .await
    }

    /// For [`assert_push!`](crate::assert_push).
    ///
    /// # Errors
    /// A report of what did come, if it does not come within [`PATIENCE`](super::PATIENCE).
    ///
    /// # Cancel safety
    /// Safe: it is taken only when it is returned.
    #[doc(hidden)]
    pub async fn check_push(&self, event: &str, expected: Expected) -> Result<Value, String> {
        match self.socket.take(self.event(event, &expected)).await {
            Some(arrived) => Ok(arrived.body.into_value()),
            None => {
                let what = format!("no push {event:?}{expected} came on {}", self.topic);
                Err(self.report(&what).await)
            }
        }
    }

    /// For [`refute_push!`](crate::refute_push).
    ///
    /// # Errors
    /// A report of what did come, if there is such a one.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken.
    #[doc(hidden)]
    pub async fn check_no_push(&self, event: &str, expected: Expected) -> Result<(), String> {
        match self.socket.has(self.event(event, &expected)).await {
            false => Ok(()),
            true => {
                let what = format!("a push {event:?}{expected} came on {}", self.topic);
                Err(self.report(&what).await)
            }
        }
    }

    /// For [`refute_push!`](crate::refute_push), of any event.
    ///
    /// # Errors
    /// A report of what did come, if there is such a one.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken.
    #[doc(hidden)]
    pub async fn check_silence(&self) -> Result<(), String> {
        let is_push = |arrived: &Arrived| arrived.status.is_none() && self.is_for_it(arrived);
        match self.socket.has(is_push).await {
            false => Ok(()),
            true => {
                let what = format!("a push came on {} that no assertion took", self.topic);
                Err(self.report(&what).await)
            }
        }
    }

    fn event(&self, event: &str, expected: &Expected) -> impl Fn(&Arrived) -> bool {
        move |arrived| {
            let is_push = arrived.status.is_none() && arrived.event == event;
            is_push && self.is_for_it(arrived) && expected.fits(&arrived.body)
        }
    }

    fn is_for_it(&self, arrived: &Arrived) -> bool {
        arrived.is_for(&self.topic, &self.join_ref)
    }

    async fn report(&self, what: &str) -> String {
        self.socket.report(what, |one| self.is_for_it(one)).await
    }
}

/// A message that a client has sent, and whose reply can be asked for.
#[derive(Clone, Debug)]
pub struct TestPush {
    socket: TestSocket,
    topic: String,
    event: String,
    reference: String,
}

impl TestPush {
    pub(super) fn new(socket: TestSocket, topic: &str, event: &str, reference: String) -> Self {
        Self {
            socket,
            topic: topic.to_owned(),
            event: event.to_owned(),
            reference,
        }
    }

    /// For [`assert_reply!`](crate::assert_reply).
    ///
    /// # Errors
    /// A report of what did come, if it does not come within [`PATIENCE`](super::PATIENCE).
    ///
    /// # Cancel safety
    /// Safe: it is taken only when it is returned.
    #[doc(hidden)]
    pub async fn check_reply(&self, status: &str, expected: Expected) -> Result<Value, String> {
        match self.socket.take(self.answer(Some(status), &expected)).await {
            Some(arrived) => Ok(arrived.body.into_value()),
            None => Err(self
                .report(&format!("no reply {status}{expected} came"))
                .await),
        }
    }

    /// For [`refute_reply!`](crate::refute_reply).
    ///
    /// # Errors
    /// A report of what did come, if there is such a one.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken.
    #[doc(hidden)]
    pub async fn check_no_reply(
        &self,
        status: Option<&str>,
        expected: Expected,
    ) -> Result<(), String> {
        match self.socket.has(self.answer(status, &expected)).await {
            false => Ok(()),
            true => {
                let status = status.map_or_else(String::new, |status| format!(" {status}"));
                Err(self
                    .report(&format!("a reply{status}{expected} came"))
                    .await)
            }
        }
    }

    /// An answer to it, of this status or of any.
    fn answer(&self, status: Option<&str>, expected: &Expected) -> impl Fn(&Arrived) -> bool {
        move |arrived| {
            let is_answer =
                arrived.status.is_some() && arrived.reference.as_ref() == Some(&self.reference);
            let has_status = status.is_none_or(|status| arrived.status.as_deref() == Some(status));
            is_answer && has_status && expected.fits(&arrived.body)
        }
    }

    async fn report(&self, what: &str) -> String {
        let Self {
            topic,
            event,
            reference,
            ..
        } = self;
        let what = format!("{what} to {event:?} on {topic}, which is message {reference}");
        self.socket.report(&what, |one| one.topic == *topic).await
    }
}
