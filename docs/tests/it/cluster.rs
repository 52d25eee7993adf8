//! The chapter on a cluster: what it shows stands in its program, and of a restart nobody sees anything.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::client::Client;
use crate::program::{Program, assert_shows, refusal};

const PROGRAM: &str = include_str!("../../src/bin/cluster.rs");
const CHAPTER: &str = include_str!("../../src/cluster.md");
const SECRET: &str = "5ecc0de15ecc0de15ecc0de15ecc0de15ecc0de15ecc0de15ecc0de15ecc0de1";
const LOBBY: &str = "room:lobby";

/// How a client is told that its node restarts.
const RESTART: u16 = 1012;

/// The program as a node, and its address in the cluster.
async fn node(name: &str, other: Option<&str>) -> (Program, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.env("MATRYOSHKA_CLUSTER_SECRET", SECRET);
    command.args([name, "127.0.0.1:0", "127.0.0.1:0"]);
    let mut program = Program::start_with(command.args(other)).await;
    let address = program.address_after("cluster at ").await;
    (program, address)
}

/// A client in the lobby, and the list that it was given.
async fn joined(node: &Program, user: &str) -> (Client, Value) {
    let mut client = Client::connect(&node.address, LOBBY).await;
    let answer = client.call("phx_join", json!({ "user": user })).await;
    assert_eq!(answer.reply["status"], "ok");
    let state = client.expect("presence_state").await;
    (client, state)
}

/// The keys of the next change: of those who join, and of those who leave.
async fn change(client: &mut Client) -> [Vec<String>; 2] {
    let diff = client.expect("presence_diff").await;
    ["joins", "leaves"].map(|side| diff[side].as_object().unwrap().keys().cloned().collect())
}

#[test]
fn the_chapter_shows_its_program() {
    assert_shows(CHAPTER, 4, &[PROGRAM]);
}

#[tokio::test]
async fn whoever_forgot_the_secret_is_told_in_words() {
    for (secret, words) in [
        (
            "",
            "MATRYOSHKA_CLUSTER_SECRET is not set: put the cluster secret into it",
        ),
        ("abcd", "at least 32"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        command.args(["n1", "127.0.0.1:0", "127.0.0.1:0"]);
        match secret {
            "" => command.env_remove("MATRYOSHKA_CLUSTER_SECRET"),
            _ => command.env("MATRYOSHKA_CLUSTER_SECRET", secret),
        };
        let told = refusal(&mut command).await;
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn a_node_restarts_and_nobody_is_seen_to_leave() {
    let (one, address) = node("n1", None).await;
    let (two, second) = node("n2", Some(&address)).await;
    let (mut ben, _) = joined(&two, "ben").await;
    assert_eq!(change(&mut ben).await, [vec!["ben".to_owned()], vec![]]);
    let (mut anna, list) = joined(&one, "anna").await;
    assert_eq!(change(&mut ben).await, [vec!["anna".to_owned()], vec![]]);
    // She hears of herself, and of him if he was not on this node's list yet.
    let (mut anna_is_told, mut has_ben) = (false, list["ben"].is_object());
    while !(anna_is_told && has_ben) {
        let [joins, _] = change(&mut anna).await;
        anna_is_told |= joins.contains(&"anna".to_owned());
        has_ben |= joins.contains(&"ben".to_owned());
    }

    // Both at once: the node ends once its clients have.
    let (is_well, ()) = tokio::join!(one.stop(), async {
        assert_eq!(anna.closed().await, RESTART);
    });
    assert!(is_well);
    let (one, _) = node("n1", Some(&second)).await;
    let (_anna, list) = joined(&one, "anna").await;
    assert_eq!(list.as_object().unwrap().len(), 2, "{list}");
    // She comes and goes in one change, so her page shows nothing of it; and it is the first one that ben gets.
    assert_eq!(
        change(&mut ben).await,
        [["anna".to_owned()], ["anna".to_owned()]]
    );
}
