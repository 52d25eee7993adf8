//! The topic `room:*`: chat and presence, over both versions of the wire.

use serde_json::{Value, json};

use crate::client::{Client, VERSIONS, Version};
use crate::process::Node;
use crate::request;

const TOPIC: &str = "room:lobby";

fn meta<'a>(presence: &'a Value, user: &str) -> &'a Value {
    &presence[user]["metas"][0]
}

#[tokio::test]
async fn a_join_answers_and_then_says_who_is_here() {
    for version in VERSIONS {
        let node = Node::start(&[]).await;
        let mut anna = Client::connect(&node, "anna", version).await;
        assert_eq!(
            anna.join(TOPIC, json!({})).await,
            ("ok".to_owned(), json!({"user": "anna"}))
        );
        let state = anna.event(TOPIC, "presence_state").await;
        let mine = meta(&state, "anna");
        assert_eq!(mine["status"], "online");
        assert!(
            mine["online_at"]
                .as_u64()
                .is_some_and(|at| at > 1_600_000_000),
            "{state}"
        );
        assert_eq!(mine["phx_ref"].as_str().map(str::len), Some(16), "{state}");

        let mut ben = Client::connect(&node, "ben", version).await;
        ben.join_ok(TOPIC, json!({})).await;
        let state = ben.event(TOPIC, "presence_state").await;
        assert!(
            state["anna"].is_object() && state["ben"].is_object(),
            "{state}"
        );

        let mut diff = anna.event(TOPIC, "presence_diff").await;
        if diff["joins"]["ben"].is_null() {
            // The first one may be anna's own.
            diff = anna.event(TOPIC, "presence_diff").await;
        }
        assert_eq!(meta(&diff["joins"], "ben"), meta(&state, "ben"));
        assert_eq!(diff["leaves"], json!({}));
    }
}

#[tokio::test]
async fn leaving_and_closing_take_a_user_off_the_list() {
    let node = Node::start(&[]).await;
    let mut anna = Client::connect(&node, "anna", Version::V2).await;
    anna.join_ok(TOPIC, json!({})).await;
    for leaves_first in [true, false] {
        let mut ben = Client::connect(&node, "ben", Version::V2).await;
        ben.join_ok(TOPIC, json!({})).await;
        ben.event(TOPIC, "presence_state").await;
        if leaves_first {
            ben.ask(TOPIC, "phx_leave", json!({})).await;
        }
        drop(ben);
        loop {
            let diff = anna.event(TOPIC, "presence_diff").await;
            if diff["leaves"]["ben"].is_object() {
                assert_eq!(diff["joins"], json!({}));
                break;
            }
        }
    }
    let list = request::get(node.http, "/api/presence/room:lobby")
        .await
        .json();
    assert_eq!(
        list.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["anna"]
    );
}

#[tokio::test]
async fn a_message_reaches_everyone_with_its_author() {
    for version in VERSIONS {
        let node = Node::start(&[]).await;
        let mut anna = Client::connect(&node, "anna", version).await;
        let mut ben = Client::connect(&node, "ben", version).await;
        anna.join_ok(TOPIC, json!({})).await;
        ben.join_ok(TOPIC, json!({})).await;

        let answer = anna.ask(TOPIC, "new_msg", json!({"body": "hi"})).await;
        assert_eq!(answer, ("ok".to_owned(), json!({})));
        for client in [&mut anna, &mut ben] {
            assert_eq!(
                client.event(TOPIC, "new_msg").await,
                json!({"user": "anna", "body": "hi"})
            );
        }

        for payload in [json!({}), json!({"body": ""})] {
            let answer = anna.ask(TOPIC, "new_msg", payload).await;
            assert_eq!(answer, ("error".to_owned(), json!({"reason": "empty"})));
        }
    }
}

#[tokio::test]
async fn a_status_changes_the_presence_in_place() {
    let node = Node::start(&[]).await;
    let mut anna = Client::connect(&node, "anna", Version::V2).await;
    anna.join_ok(TOPIC, json!({})).await;
    let before = anna.event(TOPIC, "presence_state").await;

    let answer = anna.ask(TOPIC, "status", json!({"status": "away"})).await;
    assert_eq!(answer, ("ok".to_owned(), json!({})));
    let diff = loop {
        let diff = anna.event(TOPIC, "presence_diff").await;
        if diff["leaves"]["anna"].is_object() {
            break diff;
        }
    };
    let (old, new) = (meta(&before, "anna"), meta(&diff["joins"], "anna"));
    assert_eq!(new["status"], "away");
    assert_eq!(new["online_at"], old["online_at"]);
    assert_eq!(new["phx_ref_prev"], old["phx_ref"]);
    assert_ne!(new["phx_ref"], old["phx_ref"]);
    assert_eq!(meta(&diff["leaves"], "anna")["phx_ref"], old["phx_ref"]);

    let list = request::get(node.http, "/api/presence/room:lobby")
        .await
        .json();
    assert_eq!(meta(&list, "anna")["status"], "away");
}

#[tokio::test]
async fn typing_is_seen_by_the_others_only() {
    let node = Node::start(&[]).await;
    let mut anna = Client::connect(&node, "anna", Version::V2).await;
    let mut ben = Client::connect(&node, "ben", Version::V1).await;
    anna.join_ok(TOPIC, json!({})).await;
    ben.join_ok(TOPIC, json!({})).await;
    anna.push(TOPIC, "typing", json!({})).await;
    assert_eq!(ben.event(TOPIC, "typing").await, json!({"user": "anna"}));
    // The next one proves that typing is done with: no reply, and nothing for the sender.
    anna.ask(TOPIC, "new_msg", json!({"body": "hi"})).await;
    anna.refute(TOPIC, "typing").await;
    anna.refute(TOPIC, "phx_reply").await;
}

#[tokio::test]
async fn an_unknown_event_crashes_the_channel_and_its_presence_leaves() {
    let mut node = Node::start(&[]).await;
    let mut anna = Client::connect(&node, "anna", Version::V2).await;
    let mut ben = Client::connect(&node, "ben", Version::V2).await;
    ben.join_ok(TOPIC, json!({})).await;
    anna.join_ok(TOPIC, json!({})).await;
    anna.event(TOPIC, "presence_state").await;
    anna.push(TOPIC, "dance", json!({})).await;
    anna.event(TOPIC, "phx_error").await;
    node.logged("dance").await;
    loop {
        let diff = ben.event(TOPIC, "presence_diff").await;
        if diff["leaves"]["anna"].is_object() {
            break;
        }
    }
}
