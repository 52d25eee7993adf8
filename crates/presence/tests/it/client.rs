//! A Phoenix client: frames over the in-memory transport, and the presence list that a browser would hold.

use std::time::Duration;

use matryoshka_presence::channel::transport::Frame;
use matryoshka_presence::channel::transport::memory;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::js_client::{Held, JsPresence};

/// Longer than anything in these tests takes. The clock is paused, so it moves only when nothing else can happen.
const QUIET: Duration = Duration::from_secs(1);

/// One client on one topic.
pub(crate) struct Client {
    end: memory::Client,
    topic: &'static str,
    references: u64,
    join: u64,
    /// The join that has its list.
    listed: u64,
    presence: JsPresence,
    /// Whether what comes to it may be of a join that it has given up since.
    is_far: bool,
    /// Events that came while something else was waited for, oldest first.
    waiting: Vec<(String, Value)>,
}

impl Client {
    pub(crate) fn new(end: memory::Client, topic: &'static str) -> Self {
        let presence = JsPresence::default();
        Self {
            end,
            topic,
            references: 0,
            join: 0,
            listed: 0,
            presence,
            is_far: false,
            waiting: Vec::new(),
        }
    }

    /// So far away that it has read nothing when it leaves and joins again.
    pub(crate) fn far(mut self) -> Self {
        self.is_far = true;
        self
    }

    /// Joins, or joins again, and reads nothing.
    pub(crate) async fn ask(&mut self, params: Value) {
        self.join = self.references + 1;
        self.send("phx_join", params).await;
    }

    /// Joins, or joins again, and gives the reply.
    pub(crate) async fn join(&mut self, params: Value) -> Value {
        self.join = self.references + 1;
        self.call("phx_join", params).await
    }

    /// Sends an event and gives its reply.
    pub(crate) async fn call(&mut self, event: &str, payload: Value) -> Value {
        self.send(event, payload).await;
        loop {
            let (event, payload) = self.receive().await.expect("a reply");
            if event == "phx_reply" {
                return payload;
            }
            self.waiting.push((event, payload));
        }
    }

    pub(crate) async fn send(&mut self, event: &str, payload: Value) {
        self.references += 1;
        let frame = json!([
            self.join.to_string(),
            self.references.to_string(),
            self.topic,
            event,
            payload
        ]);
        self.end.send_text(frame.to_string()).await.unwrap();
    }

    /// The next event; the test fails if there is none or it is another one.
    pub(crate) async fn expect(&mut self, wanted: &str) -> Value {
        let (event, payload) = match self.waiting.is_empty() {
            true => self
                .receive()
                .await
                .unwrap_or_else(|| panic!("nothing came, waiting for {wanted}")),
            false => self.waiting.remove(0),
        };
        assert_eq!(event, wanted, "{payload}");
        payload
    }

    /// All events until nothing can happen any more.
    pub(crate) async fn settle(&mut self) -> Vec<(String, Value)> {
        let mut all = std::mem::take(&mut self.waiting);
        while let Some(event) = self.receive().await {
            all.push(event);
        }
        all
    }

    /// The list that a browser would show now, metas sorted by reference.
    pub(crate) async fn held(&mut self) -> Held {
        let events = self.settle().await;
        self.waiting = events;
        self.presence.list()
    }

    /// The next frame for this topic, fed to the presence; none if nothing can happen any more.
    async fn receive(&mut self) -> Option<(String, Value)> {
        let frame = timeout(QUIET, self.end.recv_frame()).await.ok()??;
        let Frame::Text(text) = frame else {
            panic!("{frame:?}")
        };
        let mut frame: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(frame[2], self.topic, "{text}");
        let payload = frame.pop().unwrap();
        let event = frame.pop().unwrap().as_str().unwrap().to_owned();
        match event.as_str() {
            "presence_state" => {
                // Pushed after a join, or told to all when the node fell behind.
                let join = frame[0].as_str().map(str::to_owned);
                let this = self.join.to_string();
                if self.is_far && join.as_ref() != Some(&this) {
                    // It says of which join it is, so the official client passes it over.
                    return Some((event, payload));
                }
                assert_eq!(join.unwrap_or_else(|| this.clone()), this, "another join");
                self.listed = self.join;
                self.presence.handle_state(self.join, &payload);
            }
            "presence_diff" => {
                // A broadcast does not say of which join it is; what a join missed of an earlier one does.
                let this = self.join.to_string();
                if let Some(join) = frame[0].as_str().filter(|join| *join != this) {
                    assert!(self.is_far, "of join {join}: {text}");
                    return Some((event, payload));
                }
                assert!(
                    self.is_far || self.listed == self.join,
                    "before the list: {text}"
                );
                self.presence.handle_diff(self.join, &payload);
            }
            _ => {}
        }
        Some((event, payload))
    }
}
