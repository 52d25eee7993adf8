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
    let link = &cluster["peers"][0]["link"];
    assert_eq!(
        (&link["protocol"], &link["interest"]),
        (&json!(2), &json!(true))
    );
    let metrics = get(second.http, "/metrics").await.body;
    for line in [
        "matryoshka_quic_up 1",
        "matryoshka_quic_peer_state{peer=\"n1\",state=\"up\"} 1.0",
        "matryoshka_quic_peer_state{peer=\"n1\",state=\"down\"} 0.0",
        "matryoshka_quic_peer_reconnects_total{peer=\"n1\"} 0",
        "matryoshka_quic_peer_queued_bytes{peer=\"n1\",class=\"user\"} 0.0",
        "matryoshka_quic_peer_copies_total{peer=\"n1\",why=\"flooded_full\"} 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "no {line} in {metrics}"
        );
    }
    // A third one that knows only the second finds the first.
    let join = second.quic.unwrap().to_string();
    let third = Node::start_member("n3", &["--join", &join]).await;
    state_becomes(&third, "n1", "up").await;
    state_becomes(&first, "n3", "up").await;
}

/// Each thing that an operator asks of a link: what `/api/cluster` calls it, and the beginning of its line in `/metrics`.
const COUNTED: [(&str, &str); 13] = [
    ("/state", "state{peer=\"n1\",state=\"up\"} 1.0"),
    ("/link/round_trip_us", "round_trip_seconds{peer=\"n1\"} "),
    (
        "/link/queued_bytes",
        "queued_bytes{peer=\"n1\",class=\"tracker\"} ",
    ),
    ("/sent", "sent_total{peer=\"n1\"} "),
    ("/received", "received_total{peer=\"n1\"} "),
    ("/dropped", "dropped_total{peer=\"n1\"} "),
    ("/lost", "lost_total{peer=\"n1\"} "),
    ("/gaps", "gaps_total{peer=\"n1\"} "),
    (
        "/flooded_start",
        "copies_total{peer=\"n1\",why=\"flooded_start\"} ",
    ),
    (
        "/flooded_full",
        "copies_total{peer=\"n1\",why=\"flooded_full\"} ",
    ),
    (
        "/flooded_old_peer",
        "copies_total{peer=\"n1\",why=\"flooded_old_peer\"} ",
    ),
    ("/replayed", "copies_total{peer=\"n1\",why=\"replayed\"} "),
    ("/reconnects", "reconnects_total{peer=\"n1\"} "),
];

#[tokio::test]
async fn every_counter_of_a_link_is_in_the_cluster_and_in_the_metrics() {
    let (first, second) = pair().await;
    let mut anna = Client::connect(&first, "anna", Version::V2).await;
    let mut ben = Client::connect(&second, "ben", Version::V2).await;
    anna.join_ok("lab:a", json!({})).await;
    ben.join_ok("lab:a", json!({})).await;
    anna.push("lab:a", "shout", json!({"n": 1})).await;
    ben.event("lab:a", "shout").await;
    ben.push("lab:a", "shout", json!({"n": 2})).await;
    assert_eq!(ben.event("lab:a", "shout").await, json!({"n": 2}));
    anna.event("lab:a", "shout").await;

    let cluster = get(second.http, "/api/cluster").await.json();
    let metrics = get(second.http, "/metrics").await.body;
    let peer = &cluster["peers"][0];
    for (field, line) in COUNTED {
        assert!(peer.pointer(field).is_some(), "no {field} in {cluster}");
        let line = format!("matryoshka_quic_peer_{line}");
        let found = metrics.lines().any(|found| found.starts_with(&line));
        assert!(found, "no {line} in {metrics}");
    }
    assert_eq!(peer["state"], "up");
    for (field, least) in [("sent", 1), ("received", 1)] {
        assert!(peer[field].as_u64().unwrap() >= least, "{field}: {cluster}");
    }
    assert_eq!(
        (&peer["dropped"], &peer["reconnects"]),
        (&json!(0), &json!(0))
    );
    assert!(peer["link"]["round_trip_us"].as_u64().unwrap() > 0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let left = peer["link"]["certificate_end"].as_u64().unwrap() - now.unwrap().as_secs();
    assert!((6..8).contains(&(left / 86_400)), "{cluster}");
    let end = "matryoshka_quic_peer_certificate_end_seconds{peer=\"n1\"} ";
    assert!(metrics.lines().any(|line| line.starts_with(end)));
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

/// As in a rolling upgrade: the middle one is of the release before, and one of the others does without interest routing.
#[tokio::test]
async fn chat_and_presence_run_across_neighbouring_versions() {
    let newest = Node::start_member("n1", &[]).await;
    let join = newest.quic.unwrap().to_string();
    let old = Node::start_member("n2", &["--join", &join, "--link-protocol", "1"]).await;
    let plain = Node::start_member("n3", &["--join", &join, "--interest", "off"]).await;
    for (node, peers) in [
        (&newest, ["n2", "n3"]),
        (&old, ["n1", "n3"]),
        (&plain, ["n1", "n2"]),
    ] {
        for peer in peers {
            state_becomes(node, peer, "up").await;
        }
    }
    assert_eq!(link(&newest, "n2").await["protocol"], 1);
    assert_eq!(link(&newest, "n3").await["protocol"], 2);
    assert_eq!(link(&old, "n3").await["protocol"], 1);
    for (node, peer) in [(&newest, "n2"), (&newest, "n3"), (&old, "n1")] {
        assert_eq!(link(node, peer).await["interest"], false);
    }

    let mut people = Vec::new();
    for (node, user) in [(&newest, "anna"), (&old, "ben"), (&plain, "cleo")] {
        let mut person = Client::connect(node, user, Version::V2).await;
        person.join_ok("room:lobby", json!({})).await;
        person.join_ok("lab:a", json!({})).await;
        people.push(person);
    }
    // Each list has all three, wherever it is asked for.
    for node in [&newest, &old, &plain] {
        for user in ["anna", "ben", "cleo"] {
            is_listed(node, user).await;
        }
    }
    for from in 0..3 {
        let body = format!("hello from {from}");
        let said = json!({"body": body.clone()});
        people[from].push("room:lobby", "new_msg", said).await;
        for person in &mut people {
            let heard = person.event("room:lobby", "new_msg").await;
            assert_eq!(heard["body"], *body);
        }
    }
    // A long one, which the newest nodes cut into parts and the old one does not.
    let long = json!({"text": "x".repeat(300_000)});
    people[0].push("lab:a", "shout", long.clone()).await;
    for person in &mut people {
        assert_eq!(person.event("lab:a", "shout").await, long);
    }
    post(old.http, "/api/disconnect/cleo", "").await;
    assert_eq!(people.remove(2).closed().await, 1001);
    leaves(&mut people[0], "cleo").await;
    leaves(&mut people[1], "cleo").await;
}

/// What a node says of its link to `peer`.
async fn link(node: &Node, peer: &str) -> serde_json::Value {
    let cluster = get(node.http, "/api/cluster").await.json();
    let peers = cluster["peers"].as_array().unwrap();
    let peer = peers.iter().find(|known| known["name"] == peer).unwrap();
    peer["link"].clone()
}

/// Asks until `user` is in the lobby's list; the request itself is the pause.
async fn is_listed(node: &Node, user: &str) {
    let deadline = tokio::time::Instant::now() + crate::process::DEADLINE;
    loop {
        let list = get(node.http, "/api/presence/room:lobby").await.json();
        if list[user].is_object() {
            return;
        }
        let now = tokio::time::Instant::now();
        assert!(now < deadline, "{user} is missing at {}: {list}", node.name);
    }
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
