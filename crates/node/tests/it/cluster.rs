//! Several nodes over QUIC: they find each other, and what happens on one is seen on the others.

use serde_json::json;

use crate::client::{Client, Version};
use crate::process::Node;
use crate::request::{get, post};

/// Two nodes of which the second was told to join the first.
async fn pair() -> (Node, Node) {
    let first = Node::start_member("n1", &[]).await;
    let join = first.quic.unwrap().to_string();
    let second = Node::start_member("n2", &["--join", &join]).await;
    for (node, peer) in [(&first, "n2"), (&second, "n1")] {
        state_becomes(node, peer, "up").await;
    }
    (first, second)
}

/// Asks until `node` reports `peer` in that state; the request itself is the pause.
pub(crate) async fn state_becomes(node: &Node, peer: &str, state: &str) {
    let deadline = tokio::time::Instant::now() + crate::process::DEADLINE;
    loop {
        let cluster = get(node.http, "/api/cluster").await.json();
        let peers = cluster["peers"].as_array().unwrap();
        if peers
            .iter()
            .any(|known| known["name"] == peer && known["state"] == state)
        {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{peer} is not {state}: {cluster}"
        );
    }
}

#[tokio::test]
async fn nodes_meet_and_show_each_other() {
    let (first, second) = pair().await;
    let cluster = get(second.http, "/api/cluster").await.json();
    assert_eq!(cluster["name"], "n2");
    assert_eq!(cluster["peers"][0]["addr"], first.quic.unwrap().to_string());
    // A third one that knows only the second finds the first.
    let join = second.quic.unwrap().to_string();
    let third = Node::start_member("n3", &["--join", &join]).await;
    state_becomes(&third, "n1", "up").await;
    state_becomes(&first, "n3", "up").await;
}

#[tokio::test]
async fn broadcasts_and_disconnects_cross_nodes() {
    let (first, second) = pair().await;
    let mut anna = Client::connect(&first, "anna", Version::V2).await;
    let mut ben = Client::connect(&second, "ben", Version::V1).await;
    anna.join_ok("lab:a", json!({})).await;
    ben.join_ok("lab:a", json!({})).await;

    anna.push("lab:a", "shout", json!({"n": 1})).await;
    assert_eq!(ben.event("lab:a", "shout").await, json!({"n": 1}));
    ben.push("lab:a", "tell_secret", json!({"n": 2})).await;
    assert_eq!(
        anna.event("lab:a", "secret").await,
        json!({"n": 2, "seen_by": "anna"})
    );
    post(first.http, "/api/broadcast/lab:a/note", r#"{"n": 3}"#).await;
    assert_eq!(ben.event("lab:a", "note").await, json!({"n": 3}));
    post(first.http, "/api/disconnect/ben", "").await;
    assert_eq!(ben.closed().await, 1001);
}

#[tokio::test]
async fn a_list_is_one_list_on_all_nodes() {
    let (first, mut second) = pair().await;
    let mut anna = Client::connect(&first, "anna", Version::V2).await;
    anna.join_ok("room:lobby", json!({})).await;
    anna.event("room:lobby", "presence_state").await;
    let mut ben = Client::connect(&second, "ben", Version::V2).await;
    ben.join_ok("room:lobby", json!({})).await;
    joins(&mut anna, "ben").await;

    // A node that starts later is ready with the whole list.
    let join = first.quic.unwrap().to_string();
    let third = Node::start_member("n3", &["--join", &join]).await;
    let list = get(third.http, "/api/presence/room:lobby").await.json();
    assert!(list["anna"].is_object(), "{list}");

    // A killed node says nothing; its users leave all the same.
    second.kill().await;
    leaves(&mut anna, "ben").await;
    let list = get(first.http, "/api/presence/room:lobby").await.json();
    assert_eq!(
        list.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["anna"]
    );
    state_becomes(&first, "n2", "down").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_node_that_drains_says_goodbye() {
    let (first, mut second) = pair().await;
    let mut anna = Client::connect(&first, "anna", Version::V2).await;
    anna.join_ok("room:lobby", json!({})).await;
    let mut ben = Client::connect(&second, "ben", Version::V2).await;
    ben.join_ok("room:lobby", json!({})).await;
    joins(&mut anna, "ben").await;
    second.signal("TERM");
    leaves(&mut anna, "ben").await;
    assert_eq!(ben.closed().await, 1012);
    assert_eq!(second.exited().await.code(), Some(0));
}

#[tokio::test]
async fn another_secret_keeps_a_node_out_with_one_line_on_each_side() {
    let first = Node::start_member("n1", &[]).await;
    let join = first.quic.unwrap().to_string();
    let folder = crate::process::Folder::new("other-secret");
    let file = folder.write("secret", &"ab".repeat(32));
    let mut stranger =
        Node::start_member("n2", &["--join", &join, "--cluster-secret-file", &file]).await;
    stranger.logged("secret").await;
    let cluster = get(first.http, "/api/cluster").await.json();
    assert_eq!(cluster["peers"], json!([]));
}

#[tokio::test]
async fn of_two_nodes_with_one_name_the_older_leaves_the_cluster_and_serves_on() {
    let (mut older, second) = pair().await;
    let join = second.quic.unwrap().to_string();
    let newer = Node::start_member("n1", &["--join", &join]).await;

    let line = older.logged("leaves the cluster").await;
    assert!(line.contains(&newer.quic.unwrap().to_string()), "{line}");
    let peers = get(older.http, "/api/cluster").await.json()["peers"].clone();
    for peer in peers.as_array().unwrap() {
        assert_ne!(peer["state"], "up", "{peers}");
    }
    let mut anna = Client::connect(&older, "anna", Version::V2).await;
    anna.join_ok("room:lobby", json!({})).await;
    state_becomes(&second, "n1", "up").await;
    state_becomes(&newer, "n2", "up").await;
}

async fn joins(client: &mut Client, user: &str) {
    while !client.event("room:lobby", "presence_diff").await["joins"][user].is_object() {}
}

async fn leaves(client: &mut Client, user: &str) {
    while !client.event("room:lobby", "presence_diff").await["leaves"][user].is_object() {}
}
