//! The chapter on a server that is open to the world: what it shows stands in its program, and the program does what it says.

use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::program::{Program, assert_shows};

const PROGRAM: &str = include_str!("../../src/bin/world.rs");
const CHAPTER: &str = include_str!("../../src/world.md");
const HOST: &str = "chat.example.com";

async fn start() -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_world"));
    Program::start_with(command.args([HOST, "127.0.0.1:0"])).await
}

/// The status by which a handshake is answered that a proxy has passed on with these headers.
async fn shake(server: &Program, headers: &[(&'static str, &str)]) -> u16 {
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let url = format!("ws://{}/socket/websocket?vsn=2.0.0", server.address);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match client_async(request, stream).await {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_chapter_shows_its_program() {
    assert_shows(CHAPTER, 5, &[PROGRAM]);
}

#[tokio::test]
async fn pages_of_its_host_are_let_in_and_no_others() {
    let server = start().await;
    for (origin, status) in [
        ("https://chat.example.com", 101),
        ("https://chat.example.org", 403),
        ("http://127.0.0.1:5173", 403),
    ] {
        let host = ("host", HOST);
        let answered = shake(&server, &[host, ("origin", origin)]).await;
        assert_eq!(answered, status, "{origin}");
    }
    assert_eq!(shake(&server, &[]).await, 101, "it is no browser");
}

#[tokio::test]
async fn a_client_is_where_the_proxy_says() {
    let mut server = start().await;
    let forwarded = ("x-forwarded-for", "10.0.0.1, 203.0.113.9");
    assert_eq!(shake(&server, &[forwarded]).await, 101);
    let line = server.line_with("connects").await;
    assert!(line.contains("203.0.113.9:0"), "{line}");
    assert!(line.contains("websocket"), "{line}");
}

#[tokio::test]
async fn it_is_there_by_long_polling_too() {
    let mut server = start().await;
    let (status, opened) = server.get("/socket/longpoll?vsn=2.0.0").await;
    assert_eq!(status, 200);
    let opened: serde_json::Value = serde_json::from_str(&opened).unwrap();
    assert_eq!(opened["status"], 410);
    assert!(opened["token"].is_string(), "{opened}");
    let line = server.line_with("connects").await;
    assert!(line.contains("longpoll"), "{line}");
}
