//! The chapter on authentication: what it shows stands in its program, and the program does what it says.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::Client;
use crate::program::{Program, assert_shows, refusal};

const PROGRAM: &str = include_str!("../../src/bin/authentication.rs");
const CHAPTER: &str = include_str!("../../src/authentication.md");

async fn start() -> Program {
    Program::start(env!("CARGO_BIN_EXE_authentication")).await
}

async fn token(server: &Program, user: &str, password: &str) -> String {
    let (status, token) = server.post(&format!("/login/{user}"), password).await;
    assert_eq!(status, 200);
    token
}

/// A client that has logged in and joined a room.
async fn joined(server: &Program, user: &str, password: &str, room: &'static str) -> Client {
    let token = token(server, user, password).await;
    let query = format!("token={token}");
    let mut client = Client::connect_with(&server.address, &query, room)
        .await
        .unwrap();
    assert_eq!(client.call("phx_join", json!({})).await.reply, ok());
    client
}

fn ok() -> Value {
    json!({ "status": "ok", "response": {} })
}

fn error(reason: &str) -> Value {
    json!({ "status": "error", "response": { "reason": reason } })
}

#[test]
fn the_chapter_shows_its_program() {
    assert_shows(CHAPTER, 6, &[PROGRAM]);
}

#[tokio::test]
async fn keys_that_are_none_are_told_in_words() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authentication"));
    let told = refusal(command.env("TOKEN_KEYS", "secret")).await;
    assert!(told.contains("key 1 is neither hex nor base64"), "{told}");
}

#[tokio::test]
async fn a_token_opens_a_connection_and_nothing_else_does() {
    let server = start().await;
    assert_eq!(server.post("/login/anna", "wrong").await.0, 401);
    let good = token(&server, "anna", "apple").await;
    for (query, status) in [
        (format!("token={good}"), None),
        (format!("token={}", &good[1..]), Some(403)),
        ("token=".to_owned(), Some(403)),
        (String::new(), Some(403)),
    ] {
        let refused = Client::connect_with(&server.address, &query, "room:lobby").await;
        assert_eq!(refused.err(), status, "{query}");
    }
}

#[tokio::test]
async fn each_room_has_its_rule() {
    let server = start().await;
    joined(&server, "anna", "apple", "room:staff").await;
    let query = format!("token={}", token(&server, "ben", "banana").await);
    let mut ben = Client::connect_with(&server.address, &query, "room:staff")
        .await
        .unwrap();
    let refused = ben.call("phx_join", json!({})).await;
    assert_eq!(refused.reply, error("not your room"));
}

#[tokio::test]
async fn a_fresh_token_is_taken_from_its_owner_only() {
    let server = start().await;
    let mut anna = joined(&server, "anna", "apple", "room:lobby").await;
    for (token, expected) in [
        (token(&server, "anna", "apple").await, ok()),
        (
            token(&server, "ben", "banana").await,
            error("somebody else's token"),
        ),
        ("none".to_owned(), error("invalid token")),
    ] {
        let answer = anna.call("refresh", json!({ "token": token })).await;
        assert_eq!(answer.reply, expected);
    }
}

#[tokio::test]
async fn an_admin_may_kick() {
    let server = start().await;
    let mut anna = joined(&server, "anna", "apple", "room:lobby").await;
    let mut ben = joined(&server, "ben", "banana", "room:lobby").await;
    let kick = json!({ "user": "anna" });
    assert_eq!(ben.call("kick", kick).await.reply, error("not an admin"));
    let devices = json!({ "user": "ben" });
    let found = json!({ "connected": 1, "unreachable": [] });
    let expected = json!({ "status": "ok", "response": found });
    assert_eq!(anna.call("devices", devices).await.reply, expected);
    let kick = json!({ "user": "ben", "room": "room:lobby" });
    assert_eq!(anna.call("kick", kick).await.reply, ok());
    assert_eq!(ben.expect("phx_close").await, json!({}));
    let kick = json!({ "user": "ben" });
    assert_eq!(anna.call("kick", kick).await.reply, ok());
    assert_eq!(ben.closed().await, 1001);
}
