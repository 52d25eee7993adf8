//! phoenix-chan, unmodified, against a node.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod node;

use std::time::Duration;

use phoenix_chan::{Client, Error, Message};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::node::{DEADLINE, Node};

/// A client that waits for what it wants, within a deadline.
struct Talk(Client);

impl Talk {
    async fn connect(node: &Node, user: &str) -> Self {
        let client = Client::builder(node.uri(user)).unwrap().connect().await;
        Self(client.unwrap())
    }

    async fn joined(node: &Node, user: &str, topic: &str) -> Self {
        let talk = Self::connect(node, user).await;
        assert_eq!(talk.join(topic, json!({})).await["status"], "ok");
        talk
    }

    async fn next(&self) -> Message<Value> {
        let next = timeout(DEADLINE, self.0.recv()).await;
        next.expect("a message in time").unwrap()
    }

    /// Joins, and gives the payload of the reply.
    async fn join(&self, topic: &str, params: Value) -> Value {
        let id = self.0.join_with_payload(topic, params).await.unwrap();
        self.reply_to(id).await
    }

    /// Sends an event, and gives the payload of its reply.
    async fn ask(&self, topic: &str, event: &str, payload: Value) -> Value {
        let id = self.0.send(topic, event, payload).await.unwrap();
        self.reply_to(id).await
    }

    async fn reply_to(&self, id: usize) -> Value {
        let reply = self.next().await;
        assert_eq!(reply.event_name, "phx_reply", "{reply:?}");
        assert_eq!(reply.message_reference, Some(id.to_string()), "{reply:?}");
        reply.payload
    }

    /// Expects this event next.
    async fn hears(&self, event: &str) -> Message<Value> {
        let message = self.next().await;
        assert_eq!(message.event_name, event, "{message:?}");
        message
    }
}

fn ok(response: Value) -> Value {
    json!({ "status": "ok", "response": response })
}

fn error(response: Value) -> Value {
    json!({ "status": "error", "response": response })
}

#[tokio::test]
async fn joins_are_answered_or_refused() {
    let node = Node::start().await;
    let talk = Talk::connect(&node, "anna").await;
    let joined = talk.join("lab:a", json!({ "a": 1 })).await;
    assert_eq!(
        joined,
        ok(json!({ "topic": "lab:a", "params": { "a": 1 } }))
    );
    let refused = talk.join("lab:b", json!({ "deny": "full" })).await;
    assert_eq!(refused, error(json!({ "reason": "full" })));
    let unmatched = talk.join("nowhere", json!({})).await;
    assert_eq!(unmatched, error(json!({ "reason": "unmatched topic" })));
    let crashed = talk.join("lab:c", json!({ "crash": true })).await;
    assert_eq!(crashed, error(json!({ "reason": "join crashed" })));
}

#[tokio::test]
async fn a_client_without_a_user_is_refused() {
    let node = Node::start().await;
    let refused = Client::builder(node.uri("")).unwrap().connect().await;
    let Err(Error::Connect(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("403"), "{error}");
}

#[tokio::test]
async fn messages_are_answered() {
    let node = Node::start().await;
    let talk = Talk::joined(&node, "anna", "lab:a").await;
    let text = json!({ "text": "é", "list": [1, null] });
    assert_eq!(talk.ask("lab:a", "echo", text.clone()).await, ok(text));
    assert_eq!(talk.ask("lab:a", "fail", json!({})).await, error(json!({})));
    for n in 1..=3 {
        let count = talk.ask("lab:a", "count", json!({})).await;
        assert_eq!(count, ok(json!({ "count": n })));
    }
}

#[tokio::test]
async fn broadcasts_reach_all_and_pushes_one() {
    let node = Node::start().await;
    let anna = Talk::joined(&node, "anna", "lab:a").await;
    let ben = Talk::joined(&node, "ben", "lab:a").await;
    anna.0
        .send("lab:a", "shout", json!({ "n": 1 }))
        .await
        .unwrap();
    for talk in [&anna, &ben] {
        let heard = talk.hears("shout").await;
        assert_eq!(heard.payload, json!({ "n": 1 }));
        assert_eq!(
            (heard.join_reference, heard.message_reference),
            (None, None)
        );
    }
    anna.0
        .send("lab:a", "push_me", json!({ "n": 2 }))
        .await
        .unwrap();
    let pushed = anna.hears("pushed").await;
    assert_eq!(pushed.join_reference.as_deref(), Some("1"));
    assert_eq!(pushed.payload, json!({ "n": 2 }));
    ben.0.send("lab:a", "tell_secret", json!({})).await.unwrap();
    let secret = ben.hears("secret").await;
    assert_eq!(secret.payload, json!({ "seen_by": "ben" }));
}

#[tokio::test]
async fn channels_crash_stop_and_are_left() {
    let node = Node::start().await;
    let talk = Talk::joined(&node, "anna", "lab:a").await;
    talk.0.send("lab:a", "crash", json!({})).await.unwrap();
    let crashed = talk.hears("phx_error").await;
    assert_eq!(crashed.payload, json!({ "reason": "channel_crash" }));
    assert_eq!(talk.join("lab:a", json!({})).await["status"], "ok");
    assert_eq!(talk.ask("lab:a", "stop", json!({})).await, ok(json!({})));
    talk.hears("phx_close").await;
    assert_eq!(talk.join("lab:a", json!({})).await["status"], "ok");
    let id = talk.0.leave("lab:a").await.unwrap();
    assert_eq!(talk.reply_to(id).await, ok(json!({})));
    talk.hears("phx_close").await;
    let late = talk.ask("lab:a", "echo", json!({})).await;
    assert_eq!(late, error(json!({ "reason": "unmatched topic" })));
}

#[tokio::test]
async fn a_room_tells_who_is_there() {
    let node = Node::start().await;
    let talk = Talk::joined(&node, "anna", "room:a").await;
    let mut came = [talk.next().await, talk.next().await];
    came.sort_by(|a, b| a.event_name.cmp(&b.event_name));
    let [diff, state] = came;
    assert_eq!(
        (&*diff.event_name, &*state.event_name),
        ("presence_diff", "presence_state")
    );
    assert_eq!(
        diff.payload,
        json!({ "joins": state.payload, "leaves": {} })
    );
    assert!(state.payload["anna"]["metas"][0]["phx_ref"].is_string());
}

/// It sends them while it waits for messages.
#[tokio::test]
async fn heartbeats_are_answered() {
    let node = Node::start().await;
    let client = Client::builder(node.uri("anna")).unwrap();
    let client = client.heartbeat(Duration::from_millis(20)).connect().await;
    let talk = Talk(client.unwrap());
    for _ in 0..3 {
        let answer = talk.hears("phx_reply").await;
        assert_eq!(
            (&*answer.topic_name, answer.payload),
            ("phoenix", ok(json!({})))
        );
        assert_eq!(answer.join_reference, None);
    }
}
