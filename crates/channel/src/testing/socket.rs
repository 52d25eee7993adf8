//! One client of a test: its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use super::arrived::{Arrived, Body, list};
use super::channel::{TestChannel, TestPush};
use super::codec::{Sent, Version};
use super::{PATIENCE, settle};
use crate::transport::memory::Client as Wire;
use crate::transport::{Close, CloseCode, Outgoing};
use crate::wire;

/// A client's connection. Clones are the same; with the last one and its channels it is dropped, as if the network had.
#[derive(Clone)]
pub struct TestSocket {
    shared: Arc<Shared>,
}

struct Shared {
    version: Version,
    next_ref: AtomicU64,
    state: Mutex<State>,
}

struct State {
    wire: Wire,
    /// Everything, in the order in which it came.
    arrived: Vec<Arrived>,
    end: Option<End>,
}

/// How the server ended the connection.
enum End {
    Closed(Close),
    Dropped,
}

/// A join was refused, or crashed.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("the join of {topic} was refused: {response}")]
pub struct JoinRefused {
    /// The topic.
    pub topic: String,
    /// The response of the error reply; bytes are a list of numbers.
    pub response: Value,
}

impl TestSocket {
    pub(super) fn new(wire: Wire, version: Version) -> Self {
        let state = State {
            wire,
            arrived: Vec::new(),
            end: None,
        };
        Self {
            shared: Arc::new(Shared {
                version,
                next_ref: AtomicU64::new(1),
                state: Mutex::new(state),
            }),
        }
    }

    /// Joins a topic, and waits for the answer.
    ///
    /// # Errors
    /// [`JoinRefused`] if the answer is an error.
    ///
    /// # Panics
    /// If there is no answer, or the connection has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the topic may be joined all the same; joining again replaces that join.
    pub async fn join(
        &self,
        topic: &str,
        params: impl Serialize,
    ) -> Result<TestChannel, JoinRefused> {
        let reference = self.fresh_ref();
        let (join_ref, body) = (reference.as_str(), Body::of(params));
        self.send(Some(join_ref), join_ref, topic, wire::JOIN, body)
            .await;
        let answer = self
            .take(|arrived| {
                arrived.status.is_some() && arrived.reference.as_deref() == Some(join_ref)
            })
            .await;
        let Some(answer) = answer else {
            let report = self.report("the join was not answered", |_| true).await;
            panic!("{report}");
        };
        let response = answer.body.into_value();
        match answer.status.as_deref() {
            Some(wire::OK) => Ok(TestChannel::new(self.clone(), topic, reference, response)),
            _ => Err(JoinRefused {
                topic: topic.to_owned(),
                response,
            }),
        }
    }

    /// Sends an event on a topic that need not be joined, without a `join_ref`.
    ///
    /// # Panics
    /// If the connection has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing was sent.
    pub async fn push(&self, topic: &str, event: &str, payload: impl Serialize) -> TestPush {
        self.push_body(None, topic, event, Body::of(payload)).await
    }

    /// Says goodbye, as a client does whose page is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing was said.
    pub async fn close(&self) {
        self.lock().await.wire.close(Some(CloseCode::NORMAL)).await;
    }

    pub(super) async fn push_body(
        &self,
        join_ref: Option<&str>,
        topic: &str,
        event: &str,
        body: Body,
    ) -> TestPush {
        let reference = self.fresh_ref();
        self.send(join_ref, &reference, topic, event, body).await;
        TestPush::new(self.clone(), topic, event, reference)
    }

    async fn send(
        &self,
        join_ref: Option<&str>,
        reference: &str,
        topic: &str,
        event: &str,
        body: Body,
    ) {
        let sent = Sent {
            join_ref,
            reference,
            topic,
            event,
            body,
        };
        let frame = self.shared.version.encode(&sent);
        let is_sent = self.lock().await.wire.send(frame).await.is_ok();
        if !is_sent {
            let what = format!("{event:?} on {topic} could not be sent: the connection has ended");
            let report = self.report(&what, |_| true).await;
            panic!("{report}");
        }
    }

    /// Waits for the first message that fits, wherever it stands, and takes it.
    pub(super) async fn take(&self, fits: impl Fn(&Arrived) -> bool) -> Option<Arrived> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock().await;
        loop {
            if let Some(found) = state.take(&fits) {
                return Some(found);
            }
            match timeout_at(deadline, state.recv(self.shared.version)).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return None,
            }
        }
    }

    /// Whether a message that fits has come and not been taken, once no task has anything left to do.
    pub(super) async fn has(&self, fits: impl Fn(&Arrived) -> bool) -> bool {
        let mut state = self.lock().await;
        loop {
            settle().await;
            // What did not fit into the pair's own queue comes once there is room.
            let mut came = false;
            while state.recv(self.shared.version).now_or_never() == Some(true) {
                came = true;
            }
            if !came {
                return state
                    .arrived
                    .iter()
                    .any(|arrived| !arrived.is_taken && fits(arrived));
            }
        }
    }

    /// Waits for the end that the server gives the connection. For [`assert_closed!`](crate::assert_closed).
    ///
    /// # Errors
    /// A report of what did come, if there is no close with this code within [`PATIENCE`](super::PATIENCE).
    ///
    /// # Cancel safety
    /// Safe: what comes meanwhile is kept for other assertions.
    #[doc(hidden)]
    pub async fn check_closed(&self, code: u16) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock().await;
        while let Ok(true) = timeout_at(deadline, state.recv(self.shared.version)).await {}
        match &state.end {
            Some(End::Closed(close)) if close.code.0 == code => return Ok(()),
            _ => drop(state),
        }
        Err(self
            .report(&format!("no close with {code} came"), |_| true)
            .await)
    }

    /// What went wrong, and what did come.
    pub(super) async fn report(&self, what: &str, about: impl Fn(&Arrived) -> bool) -> String {
        let state = self.lock().await;
        let (here, elsewhere): (Vec<_>, Vec<_>) = state.arrived.iter().partition(|one| about(one));
        let mut report = format!("{what}\nwhat did come:{}", list(here));
        if !elsewhere.is_empty() {
            let topics = elsewhere.iter().map(|one| format!("{}: {one}", one.topic));
            report += &format!("\nand for other channels of this client:{}", list(topics));
        }
        match &state.end {
            Some(End::Closed(close)) => report += &format!("\nthen the server closed with {close}"),
            Some(End::Dropped) => report += "\nthen the connection was dropped",
            None => {}
        }
        report
    }

    fn fresh_ref(&self) -> String {
        let next = self.shared.next_ref.fetch_add(1, Ordering::Relaxed);
        next.to_string()
    }

    async fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().await
    }
}

impl State {
    fn take(&mut self, fits: impl Fn(&Arrived) -> bool) -> Option<Arrived> {
        let mut waiting = self.arrived.iter_mut().filter(|arrived| !arrived.is_taken);
        let found = waiting.find(|arrived| fits(arrived))?;
        let taken = found.clone();
        found.is_taken = true;
        Some(taken)
    }

    /// Waits for the next message; `false` at the connection's end.
    async fn recv(&mut self, version: Version) -> bool {
        if self.end.is_some() {
            return false;
        }
        match self.wire.recv().await {
            Some(Outgoing::Frame(frame)) => {
                self.arrived.push(version.decode(&frame));
                true
            }
            Some(Outgoing::Close(close)) => {
                self.end = Some(End::Closed(close));
                false
            }
            None => {
                self.end = Some(End::Dropped);
                false
            }
        }
    }
}

impl std::fmt::Debug for TestSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestSocket")
            .field("version", &self.shared.version)
            .finish_non_exhaustive()
    }
}
