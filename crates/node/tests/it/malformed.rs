//! A socket that talks nonsense is closed, alone.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, VERSIONS, Version};
use crate::process::Node;

#[tokio::test]
async fn nonsense_closes_that_socket_with_1011_and_one_log_line() {
    for version in VERSIONS {
        let mut node = Node::start(&[]).await;
        let mut other = Client::connect(&node, "ben", version).await;
        other.join_ok("lab:a", json!({})).await;
        let before = node.log().len();

        let mut bad = Client::connect(&node, "anna", version).await;
        bad.join_ok("lab:a", json!({})).await;
        bad.send(Message::text("{nonsense")).await;
        assert_eq!(bad.closed().await, 1011);

        assert_eq!(
            other.ask("lab:a", "echo", json!({"n": 1})).await.1,
            json!({"n": 1})
        );
        node.signal("TERM");
        assert_eq!(other.closed().await, 1012);
        assert_eq!(node.exited().await.code(), Some(0));
        node.whole_output().await;
        let log = node.log();
        let about: Vec<_> = log[before..]
            .iter()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .collect();
        assert_eq!(about.len(), 1, "{log:#?}");
    }
}

#[tokio::test]
async fn every_kind_of_nonsense_is_1011() {
    let node = Node::start(&[]).await;
    let frames = [
        Message::text(""),
        Message::text("{}"),
        Message::text("[1,2,3,4]"),
        Message::text("[null,null,\"lab:a\",\"echo\",{}] x"),
        Message::binary(Vec::new()),
        Message::binary(vec![0, 200, 0, 0, 0]),
        Message::binary(vec![9, 0, 0, 0, 0]),
    ];
    for frame in frames {
        let mut client = Client::connect(&node, "anna", Version::V2).await;
        let shown = format!("{frame:?}");
        client.send(frame).await;
        assert_eq!(client.closed().await, 1011, "{shown}");
    }
}

#[tokio::test]
async fn who_speaks_tls_is_a_line_that_says_so() {
    let mut node = Node::start(&[]).await;
    let mut client = TcpStream::connect(node.http).await.unwrap();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    client.write_all(hello).await.unwrap();
    let line = node.logged("this port speaks no TLS").await;
    assert!(line.contains(" INFO "), "{line}");
}
