//! The server of a test.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::codec::{ClientSerializer, Version};
use super::socket::TestSocket;
use super::topic::TestTopic;
use crate::Sockets;
use crate::pubsub::PubSub;
use crate::transport::memory::{self, MemoryService};
use crate::transport::{ConnectInfo, Limits, Params, Rejection};

/// The version that a client speaks whose parameters name none.
const DEFAULT_VSN: &str = "2.0.0";

/// Sockets that clients of the same test connect to.
#[derive(Clone, Debug)]
pub struct TestSockets<App> {
    sockets: Sockets<App>,
    service: MemoryService<Sockets<App>>,
    own: Vec<&'static dyn ClientSerializer>,
}

impl<App: Clone + Send + Sync + 'static> TestSockets<App> {
    /// Serves by these sockets and their limits, but for silence: a test's client sends no heartbeats, and is not closed
    /// for that.
    pub fn new(sockets: Sockets<App>) -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        let limits = sockets.limits().clone().with_idle_timeout(day);
        Self::with_limits(sockets, limits)
    }

    /// Serves by these sockets and other limits of the carrier.
    pub fn with_limits(sockets: Sockets<App>, limits: Limits) -> Self {
        let service = MemoryService::new(sockets.clone()).with_limits(limits);
        Self {
            sockets,
            service,
            own: Vec::new(),
        }
    }

    /// Lets clients speak a version of one's own, which the sockets' configuration serves
    /// ([`HttpConfig::serializers`](crate::transport::HttpConfig::serializers)): those whose parameter `vsn` names it.
    #[must_use]
    pub fn with_client_serializer(mut self, serializer: &'static dyn ClientSerializer) -> Self {
        self.own.push(serializer);
        self
    }

    /// Connects a client with these parameters: an object, whose values become what a query can hold. The parameter `vsn` chooses the
    /// version of the wire, among those that the sockets' configuration serves; without it, it is version 2.
    ///
    /// # Errors
    /// [`Rejection`] if `on_connect` refuses, or the parameter `vsn` names a version that is not served.
    ///
    /// # Panics
    /// If the parameters are no object, or the version is one of your own whose client's side is not there
    /// ([`with_client_serializer`](Self::with_client_serializer)).
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, no client is connected, though `on_connect` may have been asked.
    pub async fn connect(&self, params: impl Serialize) -> Result<TestSocket, Rejection> {
        self.connect_with(params, |info| info).await
    }

    /// As [`connect`](Self::connect), with what else `on_connect` is told of a client: its token, its address, its request.
    ///
    /// ```
    /// # use matryoshka_channel::{Sockets, pubsub::PubSub, testing::{TestSockets, json}};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
    /// # let sockets = Sockets::new(&PubSub::local(), ());
    /// let test = TestSockets::new(sockets);
    /// let here = "192.0.2.1:4000".parse().ok();
    /// let socket = test.connect_with(json!({}), |info| info.with_peer_addr(here)).await?;
    /// # drop(socket);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// As [`connect`](Self::connect).
    pub async fn connect_with(
        &self,
        params: impl Serialize,
        with: impl FnOnce(ConnectInfo) -> ConnectInfo,
    ) -> Result<TestSocket, Rejection> {
        let mut params = params_of(params);
        if params.param("vsn").is_none() {
            params.set("vsn", DEFAULT_VSN);
        }
        let served = self.sockets.serializers();
        let info = ConnectInfo::speaking(served, memory::NAME, params);
        let info = info.map_err(|_unknown| Rejection::forbidden())?;
        let vsn = info.serializer.vsn();
        let version = Version::of(vsn, &self.own).unwrap_or_else(|| {
            panic!("a test's client speaks no version {vsn} of itself: give it by with_client_serializer")
        });
        let wire = self.service.connect(with(info)).await?;
        Ok(TestSocket::new(wire, version))
    }

    /// Listens to the broadcasts on a topic, for [`assert_broadcast!`](crate::assert_broadcast).
    ///
    /// # Panics
    /// If the topic is longer than the pubsub takes.
    pub fn subscribe(&self, topic: &str) -> TestTopic {
        TestTopic::new(self.pubsub(), topic)
    }

    /// The sockets that are tested.
    pub fn sockets(&self) -> &Sockets<App> {
        &self.sockets
    }

    /// Their pubsub: for broadcasts from outside, and for what else the program does with it.
    pub fn pubsub(&self) -> &PubSub {
        self.sockets.pubsub()
    }
}

/// Lets every task do what it can do now, the clients' connections included. That passes a millisecond, as every `refute` does: time
/// that is paused moves only when nothing else can happen, which is how that is known.
///
/// # Panics
/// If time is not paused: write `#[tokio::test(start_paused = true)]`.
///
/// # Cancel safety
/// May be dropped: some tasks may still have something to do.
pub async fn settle() {
    // Time moves on by itself only when nothing else can happen.
    tokio::time::advance(Duration::ZERO).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Lets so much time pass, timers that become due meanwhile included, and then every task do what it can do. It ends a millisecond after
/// that time, as [`settle`] does.
///
/// # Panics
/// As [`settle`].
///
/// # Cancel safety
/// May be dropped: what time has passed has passed.
pub async fn advance(by: Duration) {
    let end = Instant::now() + by;
    settle().await;
    tokio::time::sleep_until(end).await;
    settle().await;
}

fn params_of(params: impl Serialize) -> Params {
    let params = serde_json::to_value(params).expect("the test's parameters have a JSON form");
    let Value::Object(params) = params else {
        panic!("parameters are an object");
    };
    let mut query = Vec::new();
    for (name, value) in &params {
        flatten(&escape(name), value, &mut query);
    }
    Params::parse(&query.join("&")).expect("they are within the limits of a query")
}

/// As the official client does: brackets nest, and null is left out.
fn flatten(name: &str, value: &Value, query: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                flatten(&format!("{name}[{}]", escape(field)), value, query);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                flatten(&format!("{name}[{index}]"), value, query);
            }
        }
        Value::String(text) => query.push(format!("{name}={}", escape(text))),
        plain => query.push(format!("{name}={plain}")),
    }
}

fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
