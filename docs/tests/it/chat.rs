//! The first chapter's program: short, shown whole, and a chat room to any Phoenix client.

use std::path::Path;

use serde_json::{Value, json};

use crate::client::Client;
use crate::program::Program;

const PROGRAM: &str = include_str!("../../src/bin/chat.rs");
const CHAPTER: &str = include_str!("../../src/01-chat.md");
const README: &str = include_str!("../../../README.md");
const LOBBY: &str = "room:lobby";

/// The compiled program, running.
struct Chat(Program);

impl Chat {
    async fn start() -> Self {
        Self(Program::start(env!("CARGO_BIN_EXE_chat")).await)
    }

    async fn client(&self) -> Client {
        Client::connect(&self.0.address, LOBBY).await
    }

    /// A client in the room, after it was told of itself: its `presence_state`, and its own `presence_diff`.
    async fn joined(&self, user: &str) -> (Client, Value) {
        let mut client = self.client().await;
        let answer = client.call("phx_join", json!({ "user": user })).await;
        assert_eq!(answer.reply, json!({ "status": "ok", "response": {} }));
        assert!(answer.before.is_empty(), "{:?}", answer.before);
        let (mut state, mut diff) = (None, None);
        while state.is_none() || diff.is_none() {
            match client.next().await {
                (event, payload) if event == "presence_state" => state = Some(payload),
                (event, payload) if event == "presence_diff" => diff = Some(payload),
                other => panic!("neither state nor diff: {other:?}"),
            }
        }
        assert_eq!(keys(&diff.unwrap()["joins"]), [user]);
        (client, state.unwrap())
    }
}

fn keys(presences: &Value) -> Vec<&str> {
    presences
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_program_has_at_most_forty_lines_at_the_default_width() {
    let lines = PROGRAM.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.count() <= 40);
    let formatted = std::process::Command::new("rustfmt")
        .args(["--check", "--edition", "2024"])
        .args(["--config", "max_width=100,use_small_heuristics=Default"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/chat.rs"))
        .status()
        .expect("rustfmt; get it with: rustup component add rustfmt");
    assert!(formatted.success());
}

/// What the programs of later chapters need.
const OF_LATER_CHAPTERS: [&str; 4] = [
    "futures",
    "matryoshka-pubsub-quic",
    "matryoshka-transport",
    "tracing",
];

#[test]
fn the_program_uses_five_dependencies() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[").unwrap();
    let names: Vec<&str> = dependencies
        .lines()
        .filter_map(|line| line.split(['.', ' ']).next())
        .filter(|name| !name.is_empty() && *name != "#" && !OF_LATER_CHAPTERS.contains(name))
        .collect();
    let five = [
        "axum",
        "matryoshka-presence",
        "serde",
        "tokio",
        "tracing-subscriber",
    ];
    assert_eq!(names, five);
}

#[test]
fn the_chapter_and_the_readme_show_the_program_whole() {
    let shown = format!("```rust\n{PROGRAM}```\n");
    assert!(CHAPTER.contains(&shown));
    assert!(README.contains(&shown));
}

#[tokio::test]
async fn a_join_without_a_name_is_refused_and_the_connection_lives_on() {
    let chat = Chat::start().await;
    let mut client = chat.client().await;
    let answer = client.call("phx_join", json!({ "user": "" })).await;
    assert_eq!(
        answer.reply,
        json!({ "status": "error", "response": { "reason": "empty user" } })
    );
    let answer = client.call("phx_join", json!({ "user": "anna" })).await;
    assert_eq!(answer.reply["status"], "ok");
}

#[tokio::test]
async fn a_misspelt_event_is_a_line_on_the_terminal_that_names_the_events_there_are() {
    let mut chat = Chat::start().await;
    let (mut anna, _) = chat.joined("anna").await;
    anna.send("new_mgs", json!({ "body": "hi" })).await;
    let line = chat.0.line_with("a channel crashed").await;
    assert!(line.contains("known events: new_msg"), "{line}");
}

#[tokio::test]
async fn two_clients_chat_and_see_each_other_come_and_go() {
    let chat = Chat::start().await;
    let (mut anna, state) = chat.joined("anna").await;
    assert_eq!(keys(&state), ["anna"]);

    let (mut ben, state) = chat.joined("ben").await;
    assert_eq!(keys(&state), ["anna", "ben"]);
    assert_eq!(
        state["ben"]["metas"][0]["phx_ref"].as_str().unwrap().len(),
        16
    );
    let came = anna.expect("presence_diff").await;
    assert_eq!(
        came,
        json!({ "joins": { "ben": state["ben"] }, "leaves": {} })
    );

    let mut answer = anna.call("new_msg", json!({ "body": "hi" })).await;
    assert_eq!(answer.reply, json!({ "status": "ok", "response": {} }));
    let said = json!({ "user": "anna", "body": "hi" });
    assert_eq!(
        answer.before.pop(),
        Some(("new_msg".to_owned(), said.clone()))
    );
    assert_eq!(ben.expect("new_msg").await, said);

    ben.close().await;
    let left = anna.expect("presence_diff").await;
    assert_eq!(
        left,
        json!({ "joins": {}, "leaves": { "ben": state["ben"] } })
    );
}
