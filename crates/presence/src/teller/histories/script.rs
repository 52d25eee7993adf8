//! What one client does and what comes to it, for the official client to do and to hear the same.
//!
//! Pure: no clock, no I/O, no tasks.

use serde_json::{Map, Value, json};

use super::TOPICS;
use super::client::Frame;
use crate::events::{COUNT_EVENT, DIFF_EVENT, STATE_EVENT};
use crate::mode::Count;

/// The script of one client, and what it holds in the end.
///
/// As JSON: `does` is a list of lists, each the name of what the client does and the topic that it is about, or
/// `["frame", topic, join, event, payload]`, where `join` counts the client's joins of that topic from 1, or is null. `lists` and `counts`
/// have by topic what it holds.
#[derive(Clone, Debug, Default)]
pub struct Script {
    does: Vec<Value>,
    lists: Map<String, Value>,
    counts: Map<String, Value>,
}

impl Script {
    /// It as JSON.
    pub fn to_json(&self) -> Value {
        json!({ "does": self.does, "lists": self.lists, "counts": self.counts })
    }

    pub(super) fn connect(&mut self) {
        self.does.push(json!(["connect"]));
    }

    pub(super) fn lose(&mut self) {
        self.does.push(json!(["lose"]));
    }

    pub(super) fn rejoin(&mut self) {
        self.does.push(json!(["rejoin"]));
    }

    pub(super) fn join(&mut self, topic: usize) {
        self.does.push(json!(["join", TOPICS[topic]]));
    }

    pub(super) fn leave(&mut self, topic: usize) {
        self.does.push(json!(["leave", TOPICS[topic]]));
    }

    pub(super) fn give_up(&mut self, topic: usize) {
        self.does.push(json!(["giveUp", TOPICS[topic]]));
    }

    pub(super) fn frame(&mut self, topic: usize, frame: &Frame) {
        let (event, payload) = match frame {
            Frame::Joined(_) => ("phx_reply", json!({ "status": "ok", "response": {} })),
            Frame::Failed(_) => ("phx_error", json!({})),
            Frame::State(_, state) => (STATE_EVENT, state.clone()),
            Frame::Missed(_, diff) | Frame::Diff(diff) => (DIFF_EVENT, diff.clone()),
            Frame::Count(_, count) => (COUNT_EVENT, counted(*count)),
        };
        let join = frame.join();
        self.does
            .push(json!(["frame", TOPICS[topic], join, event, payload]));
    }

    pub(super) fn holds_list(&mut self, topic: usize, list: Value) {
        self.lists.insert(TOPICS[topic].to_owned(), list);
    }

    pub(super) fn holds_count(&mut self, topic: usize, count: Count) {
        self.counts.insert(TOPICS[topic].to_owned(), counted(count));
    }
}

fn counted(count: Count) -> Value {
    json!({ "count": count.keys, "metas": count.metas })
}
