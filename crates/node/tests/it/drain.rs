//! How a node goes away: by signal, by the end of its standard input, at once when told twice.
#![cfg(unix)]

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tokio_tungstenite::tungstenite;

use crate::client::{Client, VERSIONS, Version, open};
use crate::cluster::state_becomes;
use crate::process::{DEADLINE, Node, Starting};
use crate::request::get;

#[tokio::test]
async fn a_signal_closes_sockets_with_1012_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let mut node = Node::start(&[]).await;
        let mut joined = Vec::new();
        for version in VERSIONS {
            let mut client = Client::connect(&node, "anna", version).await;
            client.join_ok("room:lobby", json!({})).await;
            joined.push(client);
        }
        let idle = Client::connect(&node, "ben", Version::V2).await;
        node.signal(signal);
        for client in joined {
            assert_eq!(client.closed().await, 1012);
        }
        assert_eq!(idle.closed().await, 1012);
        assert_eq!(node.exited().await.code(), Some(0));
    }
}

#[tokio::test]
async fn sockets_go_at_the_rate_that_was_asked_for_and_nobody_new_comes() {
    const SOCKETS: u64 = 30;
    let mut node = Node::start(&["--drain-rate", "20"]).await;
    let clients = (0..SOCKETS).map(|_| Client::connect(&node, "anna", Version::V2));
    let clients = join_all(clients).await;
    let polled = get(node.http, "/socket/longpoll?user=ben&vsn=2.0.0").await;
    let token = polled.json()["token"].as_str().unwrap().to_owned();
    let path = format!("/socket/longpoll?token={token}");
    let poll = tokio::spawn({
        let http = node.http;
        async move { get(http, &path).await.json()["status"].clone() }
    });

    node.signal("TERM");
    node.logged("draining").await;
    let start = Instant::now();
    assert_eq!(get(node.http, "/health/ready").await.status, 503);
    match open(node.http, &node.socket_url("carl", "2.0.0")).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    let late = get(node.http, "/socket/longpoll?user=carl&vsn=2.0.0").await;
    assert_eq!((late.status, late.json()), (503, json!({"status": 500})));

    for closed in join_all(clients.into_iter().map(Client::closed)).await {
        assert_eq!(closed, 1012);
    }
    assert_eq!(
        poll.await.unwrap(),
        500,
        "a poll that waited is to start over"
    );
    // The first one goes at once, and so does the long-poll session in its turn.
    let least = Duration::from_millis(1_000 * (SOCKETS - 1) / 20);
    let elapsed = start.elapsed() + Duration::from_millis(100);
    assert!(elapsed >= least, "{elapsed:?} for {SOCKETS} at 20 a second");
    node.logged("still draining").await;
    assert_eq!(node.exited().await.code(), Some(0));
}

#[tokio::test]
async fn the_rest_is_closed_at_once_when_the_limit_strikes_and_the_status_is_1() {
    let mut node = Node::start(&["--drain-rate", "1", "--drain-limit", "1"]).await;
    let clients = (0..20).map(|_| Client::connect(&node, "anna", Version::V2));
    let clients = join_all(clients).await;
    node.signal("TERM");
    node.logged("raise --drain-rate or --drain-limit").await;
    for closed in join_all(clients.into_iter().map(Client::closed)).await {
        assert_eq!(closed, 1012);
    }
    node.logged("the rest is closed at once").await;
    assert_eq!(node.exited().await.code(), Some(1));
}

#[tokio::test]
async fn with_a_grace_who_comes_back_from_a_restarting_node_is_never_seen_to_leave() {
    let first = Node::start_member("n1", &["--restart-grace", "60"]).await;
    let join = first.quic.unwrap().to_string();
    let mut second = Node::start_member("n2", &["--join", &join, "--restart-grace", "60"]).await;
    state_becomes(&first, "n2", "up").await;
    let mut ben = Client::connect(&first, "ben", Version::V2).await;
    ben.join_ok("room:lobby", json!({})).await;
    let mut anna = Client::connect(&second, "anna", Version::V2).await;
    anna.join_ok("room:lobby", json!({})).await;
    let mut carl = Client::connect(&second, "carl", Version::V2).await;
    carl.join_ok("room:lobby", json!({})).await;
    listed(&first, &["anna", "ben", "carl"]).await;

    carl.push("room:lobby", "phx_leave", json!({})).await;
    listed(&first, &["anna", "ben"]).await;
    drop(carl);
    second.signal("TERM");
    // She has not taken her close yet, so the drain goes on.
    state_becomes(&first, "n2", "restarting").await;
    assert_eq!(anna.closed().await, 1012);
    assert_eq!(second.exited().await.code(), Some(0));
    assert_eq!(keys(&first).await, ["anna", "ben"]);

    // The new one has her before it takes clients.
    let again = Node::start_member("n2", &["--join", &join]).await;
    assert_eq!(keys(&again).await, ["anna", "ben"]);
    let mut anna = Client::connect(&again, "anna", Version::V2).await;
    anna.join_ok("room:lobby", json!({})).await;
    let list = get(again.http, "/api/presence/room:lobby").await.json();
    assert_eq!(list["anna"]["metas"].as_array().unwrap().len(), 1);

    // The next that ben hears after carl's leave is her old place and her new one, in one.
    while !next_diff(&mut ben).await["leaves"]["carl"].is_object() {}
    let diff = next_diff(&mut ben).await;
    for side in ["joins", "leaves"] {
        let named: Vec<&String> = diff[side].as_object().unwrap().keys().collect();
        assert_eq!(named, ["anna"], "{side} of {diff}");
    }
}

async fn next_diff(client: &mut Client) -> serde_json::Value {
    client.event("room:lobby", "presence_diff").await
}

async fn keys(node: &Node) -> Vec<String> {
    let list = get(node.http, "/api/presence/room:lobby").await.json();
    list.as_object().unwrap().keys().cloned().collect()
}

/// Asks until `node` lists these; the request itself is the pause.
async fn listed(node: &Node, wanted: &[&str]) {
    let deadline = Instant::now() + DEADLINE;
    while keys(node).await != wanted {
        assert!(Instant::now() < deadline, "{:?}", keys(node).await);
    }
}

/// Its drain is over at once, as it has no sockets itself.
#[tokio::test]
async fn a_poll_that_waits_for_another_node_is_answered_before_its_node_ends() {
    let first = Node::start_member("n1", &[]).await;
    let join = first.quic.unwrap().to_string();
    let mut second = Node::start_member("n2", &["--join", &join]).await;
    state_becomes(&first, "n2", "up").await;
    state_becomes(&second, "n1", "up").await;
    let opened = get(first.http, "/socket/longpoll?user=ben&vsn=2.0.0").await;
    let token = opened.json()["token"].as_str().unwrap().to_owned();
    let path = format!("/socket/longpoll?token={token}");
    let poll = tokio::spawn({
        let http = second.http;
        async move { get(http, &path).await.json() }
    });
    let asked = "\nmatryoshka_longpoll_forwarded_total 1\n";
    let deadline = Instant::now() + DEADLINE;
    while !get(second.http, "/metrics").await.body.contains(asked) {
        assert!(Instant::now() < deadline, "nothing was passed on");
    }
    second.signal("TERM");
    let nothing = json!({"status": 204, "token": token, "messages": []});
    assert_eq!(poll.await.unwrap(), nothing);
    assert_eq!(second.exited().await.code(), Some(0));
}

#[tokio::test]
async fn the_end_of_standard_input_drains_when_asked_for() {
    let mut node = Node::start(&["--exit-with-stdin"]).await;
    let client = Client::connect(&node, "anna", Version::V2).await;
    node.close_stdin();
    assert_eq!(client.closed().await, 1012);
    assert_eq!(node.exited().await.code(), Some(0));
}

#[tokio::test]
async fn the_end_of_standard_input_means_nothing_otherwise() {
    let mut node = Node::start(&[]).await;
    node.close_stdin();
    let mut client = Client::connect(&node, "anna", Version::V2).await;
    client.join_ok("lab:a", json!({})).await;
    node.signal("TERM");
    assert_eq!(client.closed().await, 1012);
    assert_eq!(node.exited().await.code(), Some(0));
    node.logged("SIGTERM").await;
}

#[tokio::test]
async fn a_second_signal_exits_at_once_with_1() {
    let mut node = Node::start(&[]).await;
    // A client that never reads its close frame holds the drain until its limit.
    let stuck = Client::connect(&node, "anna", Version::V2).await;
    node.signal("TERM");
    node.logged("draining").await;
    // Meanwhile nobody new is let in.
    assert_eq!(get(node.http, "/health/ready").await.status, 503);
    assert_eq!(get(node.http, "/health/live").await.status, 200);
    match open(node.http, &node.socket_url("ben", "2.0.0")).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    node.signal("TERM");
    assert_eq!(node.exited().await.code(), Some(1));
    drop(stuck);
}

#[tokio::test]
async fn a_signal_before_ready_ends_the_node_too() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let join = silent.local_addr().unwrap().to_string();
    let folder = crate::process::Folder::new("early-signal");
    let file = folder.write("secret", crate::process::SECRET);
    let mut starting = Starting::spawn(&[
        "--quic",
        "127.0.0.1:0",
        "--cluster-secret-file",
        &file,
        "--join",
        &join,
    ]);
    starting.logged("listening").await;
    starting.signal("TERM");
    assert_eq!(starting.exited().await.code(), Some(0));
}
