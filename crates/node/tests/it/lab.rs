//! The topic `lab:*`, over both versions of the wire.

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::{Body, Client, VERSIONS, Version};
use crate::process::{DEADLINE, Node};

const TOPIC: &str = "lab:one";

/// A node, and a client on `lab:one`, for each version.
async fn labs() -> Vec<(Node, Client)> {
    let mut labs = Vec::new();
    for version in VERSIONS {
        let node = Node::start(&[]).await;
        let mut client = Client::connect(&node, "anna", version).await;
        client.join_ok(TOPIC, json!({})).await;
        labs.push((node, client));
    }
    labs
}

fn ok(response: Value) -> (String, Value) {
    ("ok".to_owned(), response)
}

#[tokio::test]
async fn joins_answer_as_told() {
    for version in VERSIONS {
        let node = Node::start(&[]).await;
        let mut client = Client::connect(&node, "anna", version).await;
        let joined = client.join("lab:a", json!({"x": [1, "two"]})).await;
        assert_eq!(
            joined,
            ok(json!({"topic": "lab:a", "params": {"x": [1, "two"]}}))
        );
        let denied = client.join("lab:b", json!({"deny": "too late"})).await;
        assert_eq!(denied, ("error".to_owned(), json!({"reason": "too late"})));
        let denied = client.join("lab:b", json!({"deny": null})).await;
        assert_eq!(denied, ("error".to_owned(), json!({"reason": null})));
        let wishless = client.join("lab:b", json!(["not", true])).await;
        assert_eq!(
            wishless,
            ok(json!({"topic": "lab:b", "params": ["not", true]}))
        );
        let crashed = client.join("lab:c", json!({"crash": true})).await;
        assert_eq!(
            crashed,
            ("error".to_owned(), json!({"reason": "join crashed"}))
        );
        let unknown = client.join("elsewhere:d", json!({})).await;
        assert_eq!(
            unknown,
            ("error".to_owned(), json!({"reason": "unmatched topic"}))
        );
        // The first channel lives on.
        assert_eq!(
            client.ask("lab:a", "echo", json!({"still": 1})).await,
            ok(json!({"still": 1}))
        );
    }
}

#[tokio::test]
async fn echo_fail_and_quiet() {
    for (_node, mut client) in labs().await {
        let payload = json!({"text": "é\u{2028}", "n": 12345678901234567890_u64, "deep": {"a": [null, true]}});
        assert_eq!(
            client.ask(TOPIC, "echo", payload.clone()).await,
            ok(payload.clone())
        );
        assert_eq!(
            client.ask(TOPIC, "echo", json!([1, 2])).await,
            ok(json!([1, 2]))
        );
        let failed = client.ask(TOPIC, "fail", payload.clone()).await;
        assert_eq!(failed, ("error".to_owned(), payload));
        client.push(TOPIC, "quiet", json!({})).await;
        // Events are handled in turn: a reply to `quiet` would have come before this one.
        client.ask(TOPIC, "echo", json!({})).await;
        client.refute(TOPIC, "phx_reply").await;
    }
}

#[tokio::test]
async fn a_late_reply_comes_after_what_was_asked_later() {
    for (_node, mut client) in labs().await {
        // Long enough that even on a starved machine the echo is back before.
        let payload = json!({"ms": 1500, "x": 1});
        let late = client.push(TOPIC, "later", payload.clone()).await;
        let soon = client.push(TOPIC, "echo", json!({"x": 2})).await;
        let first = client.wait(|message| message.event == "phx_reply").await;
        assert_eq!(first.reference, json!(soon));
        assert_eq!(client.reply(&late).await, ok(payload));
    }
}

#[tokio::test]
async fn shout_reaches_all_and_whisper_all_but_the_sender() {
    let node = Node::start(&[]).await;
    let mut anna = Client::connect(&node, "anna", Version::V2).await;
    let mut ben = Client::connect(&node, "ben", Version::V1).await;
    anna.join_ok(TOPIC, json!({})).await;
    ben.join_ok(TOPIC, json!({})).await;

    anna.push(TOPIC, "shout", json!({"n": 1})).await;
    assert_eq!(anna.event(TOPIC, "shout").await, json!({"n": 1}));
    assert_eq!(ben.event(TOPIC, "shout").await, json!({"n": 1}));

    anna.push(TOPIC, "whisper", json!({"n": 2})).await;
    assert_eq!(ben.event(TOPIC, "shout").await, json!({"n": 2}));
    anna.push(TOPIC, "shout", json!({"n": 3})).await;
    assert_eq!(anna.event(TOPIC, "shout").await, json!({"n": 3}));
    anna.refute(TOPIC, "phx_reply").await;
}

#[tokio::test]
async fn push_me_and_count() {
    for (_node, mut client) in labs().await {
        client.push(TOPIC, "push_me", json!({"n": 1})).await;
        assert_eq!(client.event(TOPIC, "pushed").await, json!({"n": 1}));
        for n in 1..=3 {
            assert_eq!(
                client.ask(TOPIC, "count", json!({})).await,
                ok(json!({"count": n}))
            );
        }
        // The count belongs to the channel: another one starts over.
        client.join_ok("lab:two", json!({})).await;
        assert_eq!(
            client.ask("lab:two", "count", json!({})).await,
            ok(json!({"count": 1}))
        );
    }
}

/// Whose payload nobody could read ends alone.
#[tokio::test]
async fn a_secret_that_is_no_object_ends_its_sender_only() {
    let node = Node::start(&[]).await;
    let mut ben = Client::connect(&node, "ben", Version::V2).await;
    ben.join_ok(TOPIC, json!({})).await;
    for bytes in [false, true] {
        let mut anna = Client::connect(&node, "anna", Version::V2).await;
        let join_ref = anna.join_ok(TOPIC, json!({})).await;
        match bytes {
            true => {
                anna.push_bytes(&join_ref, TOPIC, "tell_secret", &[1, 2])
                    .await
            }
            false => anna.push(TOPIC, "tell_secret", json!([1])).await,
        };
        assert_eq!(
            anna.event(TOPIC, "phx_error").await["reason"],
            "channel_crash"
        );
    }
    ben.push(TOPIC, "tell_secret", json!({"a": 1})).await;
    assert_eq!(
        ben.event(TOPIC, "secret").await,
        json!({"a": 1, "seen_by": "ben"})
    );
}

#[tokio::test]
async fn the_line_on_an_unknown_event_has_no_more_than_its_beginning() {
    let mut node = Node::start(&[]).await;
    let mut ben = Client::connect(&node, "ben", Version::V2).await;
    ben.join_ok(TOPIC, json!({})).await;
    let long = "x".repeat(255);
    ben.push(TOPIC, &long, json!({})).await;
    ben.event(TOPIC, "phx_error").await;
    let line = node.logged("lab has no event").await;
    assert!(!line.contains(&long), "{line}");
    assert!(line.contains("it has echo, "), "the cure: {line}");
}

#[tokio::test]
async fn late_replies_hold_so_many_bytes_and_no_more() {
    for (_node, mut client) in labs().await {
        let large = |ms| json!({"ms": ms, "x": "x".repeat(5_000_000)});
        for _ in 0..2 {
            let given_back = client.ask(TOPIC, "later", large(1)).await;
            assert_eq!(given_back, ok(large(1)));
        }
        client.push(TOPIC, "later", large(3_600_000)).await;
        let reason = "over 8000000 bytes of late replies are owed";
        assert_eq!(
            client.ask(TOPIC, "later", large(3_600_000)).await,
            ("error".to_owned(), json!({"reason": reason}))
        );
        client.join_ok("lab:two", json!({})).await;
        let (status, _) = client.ask("lab:two", "later", large(3_600_000)).await;
        assert_eq!(status, "error", "they are the connection's");
        let small = json!({"ms": 1});
        assert_eq!(client.ask(TOPIC, "later", small.clone()).await, ok(small));
        assert_eq!(
            client.ask(TOPIC, "count", json!({})).await,
            ok(json!({"count": 1}))
        );
    }
}

/// Who connects again and again holds no more than that, and what it held is free when it has gone.
#[tokio::test]
async fn late_replies_end_with_their_connections_which_hold_so_many_bytes_together() {
    let node = Node::start(&[]).await;
    let large = |ms| json!({"ms": ms, "x": "x".repeat(5_000_000)});
    let mut clients = Vec::new();
    for n in 0..12 {
        let mut client = Client::connect(&node, &n.to_string(), Version::V2).await;
        client.join_ok(TOPIC, json!({})).await;
        client.push(TOPIC, "later", large(3_600_000)).await;
        client.ask(TOPIC, "count", json!({})).await;
        clients.push(client);
    }
    let last = clients.last_mut().unwrap();
    let reason = "late replies of too many bytes are owed by this node";
    let too_much = ("error".to_owned(), json!({"reason": reason}));
    assert_eq!(last.ask(TOPIC, "later", large(1)).await, too_much);
    clients.drain(..11);
    let last = clients.last_mut().unwrap();
    let free = timeout(DEADLINE, async {
        while last.ask(TOPIC, "later", large(1)).await == too_much {}
    });
    free.await.expect("they still hold it");
    assert_eq!(last.ask(TOPIC, "later", large(1)).await, ok(large(1)));
}

#[tokio::test]
async fn a_secret_is_seen_with_the_user_who_sees_it() {
    let node = Node::start(&[]).await;
    let mut anna = Client::connect(&node, "anna", Version::V2).await;
    let mut ben = Client::connect(&node, "ben", Version::V1).await;
    anna.join_ok(TOPIC, json!({})).await;
    ben.join_ok(TOPIC, json!({})).await;
    anna.push(TOPIC, "tell_secret", json!({"code": 7})).await;
    assert_eq!(
        anna.event(TOPIC, "secret").await,
        json!({"code": 7, "seen_by": "anna"})
    );
    assert_eq!(
        ben.event(TOPIC, "secret").await,
        json!({"code": 7, "seen_by": "ben"})
    );
}

#[tokio::test]
async fn a_crash_ends_one_channel_only() {
    for (node, mut client) in labs().await {
        client.join_ok("lab:two", json!({})).await;
        for event in ["crash", "no_such_event"] {
            client.push(TOPIC, event, json!({})).await;
            client.event(TOPIC, "phx_error").await;
            assert_eq!(
                client.ask("lab:two", "echo", json!({"n": 1})).await,
                ok(json!({"n": 1}))
            );
            let (status, response) = client.ask(TOPIC, "echo", json!({})).await;
            assert_eq!(
                (status.as_str(), response),
                ("error", json!({"reason": "unmatched topic"}))
            );
            client.join_ok(TOPIC, json!({})).await;
            assert_eq!(
                client.ask(TOPIC, "count", json!({})).await,
                ok(json!({"count": 1}))
            );
        }
        assert_eq!(
            crate::request::get(node.http, "/health/ready").await.status,
            200
        );
    }
}

#[tokio::test]
async fn stop_replies_and_then_closes_the_channel() {
    for (_node, mut client) in labs().await {
        let stop = client.push(TOPIC, "stop", json!({})).await;
        let reply = client.wait(|message| message.topic == TOPIC).await;
        assert_eq!(reply.event, "phx_reply");
        assert_eq!(reply.reference, json!(stop));
        assert_eq!(
            reply.body,
            Body::Json(json!({"status": "ok", "response": {}}))
        );
        client.event(TOPIC, "phx_close").await;
    }
}

#[tokio::test]
async fn bytes_are_echoed_broadcast_and_pushed_as_bytes() {
    let node = Node::start(&[]).await;
    let mut anna = Client::connect(&node, "anna", Version::V2).await;
    let mut ben = Client::connect(&node, "ben", Version::V2).await;
    let anna_ref = anna.join_ok(TOPIC, json!({})).await;
    ben.join_ok(TOPIC, json!({})).await;
    let bytes = b"\x00\xff bytes";

    for (event, status) in [("echo", "ok"), ("fail", "error")] {
        let reference = anna.push_bytes(&anna_ref, TOPIC, event, bytes).await;
        let reply = anna
            .wait(|message| message.reference == json!(reference))
            .await;
        assert_eq!(reply.event, status);
        assert_eq!(reply.join_ref, json!(anna_ref));
        assert_eq!(reply.body, Body::Bytes(bytes.to_vec()));
    }

    anna.push_bytes(&anna_ref, TOPIC, "shout", bytes).await;
    for client in [&mut anna, &mut ben] {
        let shout = client.wait(|message| message.event == "shout").await;
        assert_eq!(shout.body, Body::Bytes(bytes.to_vec()));
        assert_eq!(shout.join_ref, Value::Null);
    }

    anna.push_bytes(&anna_ref, TOPIC, "push_me", bytes).await;
    let pushed = anna.wait(|message| message.event == "pushed").await;
    assert_eq!(pushed.body, Body::Bytes(bytes.to_vec()));
    assert_eq!(pushed.join_ref, json!(anna_ref));
}
