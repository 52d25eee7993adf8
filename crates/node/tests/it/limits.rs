//! What clients see of the limits, over real sockets.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::client::{Client, VERSIONS, Version, open};
use crate::process::{DEADLINE, Node};
use crate::request::{get, send};

#[tokio::test]
async fn one_message_too_many_is_answered_and_the_client_may_come_back() {
    let node = Node::start(&["--inbound-rate", "1"]).await;
    for version in VERSIONS {
        let mut client = Client::connect(&node, "anna", version).await;
        client.join_ok("lab:a", json!({})).await;
        let (status, response) = loop {
            let answer = client.ask("lab:a", "echo", json!({})).await;
            if answer.0 != "ok" {
                break answer;
            }
        };
        assert_eq!(
            (status.as_str(), response),
            ("error", json!({"reason": "too many messages"}))
        );
        assert_eq!(client.closed().await, 1008);
        let mut again = Client::connect(&node, "anna", version).await;
        again.join_ok("lab:a", json!({})).await;
    }
}

#[tokio::test]
async fn tools_may_talk_at_full_speed_by_default() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, "anna", Version::V2).await;
    for n in 0..300 {
        client.join_ok(&format!("lab:{}", n % 90), json!({})).await;
    }
    for n in 0..3_000 {
        client.push("lab:1", "quiet", json!({ "n": n })).await;
    }
    assert_eq!(client.ask("lab:1", "count", json!({})).await.0, "ok");
}

/// The status that answers a handshake.
async fn status(http: SocketAddr, url: &str) -> u16 {
    match open(http, url).await {
        Ok(_) => 101,
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn sockets_are_counted_in_all_and_by_user() {
    let mut node = Node::start(&["--max-sockets", "3", "--max-user-sockets", "2"]).await;
    let anna = |n: u32| node.socket_url("anna", if n == 0 { "1.0.0" } else { "2.0.0" });
    let kept = [
        open(node.http, &anna(0)).await.unwrap(),
        open(node.http, &anna(1)).await.unwrap(),
    ];
    assert_eq!(status(node.http, &anna(2)).await, 429);
    let polled = get(node.http, "/socket/longpoll?user=anna").await;
    assert_eq!(
        (polled.status, polled.json()),
        (429, json!({"status": 500}))
    );
    let _ben = open(node.http, &node.socket_url("ben", "2.0.0"))
        .await
        .unwrap();
    assert_eq!(
        status(node.http, &node.socket_url("carl", "2.0.0")).await,
        503
    );
    drop(kept);
    let metrics = get(node.http, "/metrics").await.body;
    for line in [
        "matryoshka_transport_refused_user_total 2",
        "matryoshka_transport_refused_full_total 1",
    ] {
        assert!(metrics.contains(line), "no {line:?} in {metrics}");
    }
    for (limit, flag) in [
        ("ConnectionLimits::max_per_user", "--max-user-sockets"),
        ("ConnectionLimits::max_connections", "--max-sockets"),
    ] {
        let line = node.logged(limit).await;
        assert!(line.contains(&format!("flag=\"{flag}\"")), "{line}");
    }
}

/// Clients behind a proxy are told from each other, and cannot claim to be somewhere else.
#[tokio::test]
async fn sockets_are_counted_by_the_address_that_a_trusted_proxy_names() {
    let flags = ["--max-address-sockets", "1", "--trusted-proxy", "127.0.0.1"];
    let node = Node::start(&flags).await;
    let open = async |claim: &str| {
        let headers = [("x-forwarded-for", claim)];
        let path = "/socket/longpoll?user=anna&vsn=2.0.0";
        send(node.http, "GET", path, &headers, b"").await.status
    };
    assert_eq!(open("192.0.2.1").await, 200);
    assert_eq!(open("192.0.2.1").await, 429);
    assert_eq!(open("192.0.2.9, 192.0.2.1").await, 429);
    assert_eq!(open("192.0.2.2").await, 200);
}

/// A client that asks for more than its network carries, and reads all the time, is not slow.
#[tokio::test]
async fn large_echoes_in_a_row_all_come_back_to_a_client_that_keeps_reading() {
    const ECHOES: usize = 12;
    const BYTES: usize = 4_000_000;
    let node = Node::start(&[]).await;
    let mut socket = open(node.http, &node.socket_url("anna", "2.0.0"))
        .await
        .unwrap();
    let join = json!(["1", "1", "lab:large", "phx_join", {}]).to_string();
    socket.send(Message::text(join)).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let (mut sink, mut stream) = socket.split();
    let writing = tokio::spawn(async move {
        for n in 0..ECHOES {
            let payload = json!({ "n": n, "text": "x".repeat(BYTES) });
            let echo = json!(["1", n.to_string(), "lab:large", "echo", payload]);
            sink.send(Message::text(echo.to_string())).await.unwrap();
            let shout = json!(["1", null, "lab:large", "shout", { "n": n }]);
            sink.send(Message::text(shout.to_string())).await.unwrap();
        }
        sink
    });
    let (mut echoes, mut shouts) = (0, 0);
    while echoes + shouts < 2 * ECHOES {
        let frame = timeout(DEADLINE, stream.next())
            .await
            .expect("a frame in time");
        let frame: Value =
            serde_json::from_str(frame.unwrap().unwrap().to_text().unwrap()).unwrap();
        if frame[3] == "shout" {
            shouts += 1;
        } else {
            assert_eq!(frame[1], echoes.to_string());
            let text = &frame[4]["response"]["text"];
            assert_eq!(text.as_str().map(str::len), Some(BYTES));
            echoes += 1;
        }
    }
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_million_brackets_and_floods_of_headers_are_refused_and_hurt_nobody() {
    let node = Node::start(&[]).await;
    let mut bystander = Client::connect(&node, "ben", Version::V2).await;
    bystander.join_ok("lab:a", json!({})).await;

    let mut client = Client::connect(&node, "anna", Version::V2).await;
    let deep = format!(
        "[\"1\",\"1\",\"lab:a\",\"phx_join\",{}{}]",
        "[".repeat(500_000),
        "]".repeat(500_000)
    );
    client.send(Message::text(deep)).await;
    assert_eq!(client.closed().await, 1011);

    let headers: Vec<(String, String)> = (0..500)
        .map(|n| (format!("x-{n}"), "y".repeat(500)))
        .collect();
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let flooded = send(
        node.http,
        "GET",
        "/socket/websocket?user=anna&vsn=2.0.0",
        &headers,
        b"",
    )
    .await;
    assert_eq!(flooded.status, 431);

    assert_eq!(bystander.ask("lab:a", "echo", json!({})).await.0, "ok");
}
