//! The chapter on a transport of one's own: what it shows is the example's, and channels are served over it.

#[path = "../../../crates/transport/examples/lines/line_tcp.rs"]
mod line_tcp;

use futures::SinkExt;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::transport::{CloseCode, Limits, Transport};
use matryoshka_presence::channel::{Channel, RawEvent, Refused, Reply, Socket, Sockets};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use self::line_tcp::LineTcp;
use crate::program::{DEADLINE, Program, assert_shows};
use crate::testing::sockets;

const CHAPTER: &str = include_str!("../../src/custom-transport.md");
const EXAMPLE: &str = include_str!("../../../crates/transport/examples/lines/line_tcp.rs");
const SUITE: &str = include_str!("../../../crates/transport/tests/it/contract.rs");
const PROGRAM: &str = include_str!("../../src/bin/lines.rs");
const HERE: &str = include_str!("custom_transport.rs");

#[test]
fn the_chapter_shows_the_example_and_its_tests() {
    assert_shows(CHAPTER, 11, &[EXAMPLE, SUITE, PROGRAM, HERE]);
}

/// A client that reads and writes lines.
struct LineClient(BufReader<TcpStream>);

impl LineClient {
    async fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
    }

    async fn hears(&mut self, line: &str) {
        let mut heard = String::new();
        let read = timeout(DEADLINE, self.0.read_line(&mut heard)).await;
        read.expect("a line in time").unwrap();
        assert_eq!(heard, format!("{line}\n"));
    }
}

#[tokio::test]
async fn channels_are_served_over_lines_and_drained_with_the_others() {
    let transport = LineTcp::bind("127.0.0.1:0").await.unwrap();
    let address = transport.local_addr();
    let sockets = sockets();
    let connections = sockets.connections().clone();
    let serving = transport.serve_with(sockets, Limits::default(), connections.clone());
    tokio::spawn(serving);

    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = LineClient(BufReader::new(stream));
    client.say("vsn=2.0.0&user=al").await;
    client.say(r#"["1","1","riddle:1","phx_join",{}]"#).await;
    let joined = r#"["1","1","riddle:1","phx_reply",{"status":"ok","response":{}}]"#;
    client.hears(joined).await;
    let answer = r#"["1","2","riddle:1","answer",{"text":"a hole"}]"#;
    client.say(answer).await;
    client
        .hears(r#"[null,null,"riddle:1","solved",{"answer":"a hole"}]"#)
        .await;
    client
        .hears(r#"["1","2","riddle:1","phx_reply",{"status":"ok","response":{}}]"#)
        .await;
    assert_eq!(connections.count(), 1);

    connections.close_all(CloseCode::RESTART.into());
    client.hears("close 1012").await;
    drop(client);
    connections.closed().await;
}

#[tokio::test]
async fn the_program_says_what_the_chapter_shows_and_why_it_refuses_a_hello() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lines"));
    let mut program = Program::start_with(command.arg("127.0.0.1:0")).await;
    let (_, text) = CHAPTER.split_once("```text\n").unwrap();
    let (text, _) = text.split_once("```").unwrap();
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap();
    let stream = TcpStream::connect(&program.address).await.unwrap();
    let mut client = LineClient(BufReader::new(stream));
    client.say(next()).await;
    client.say(next()).await;
    client.hears(next()).await;

    let stream = TcpStream::connect(&program.address).await.unwrap();
    LineClient(BufReader::new(stream)).say("vsn=2").await;
    let line = program.line_with("hello is refused").await;
    assert!(line.contains("2.0.0"), "{line}");
}

/// A room whose members say what they like.
struct Room;

impl Channel<()> for Room {
    type Params = ();
    type Event = RawEvent;

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, socket: &mut Socket, event: RawEvent) -> Reply {
        socket.broadcast_payload("said", event.payload).into()
    }
}

/// White space of all kinds between the tokens of JSON, and bytes: both are good over a WebSocket.
#[tokio::test]
async fn whatever_a_websocket_says_a_client_over_lines_stays() {
    let transport = LineTcp::bind("127.0.0.1:0").await.unwrap();
    let lines = transport.local_addr();
    let sockets = Sockets::new(&PubSub::local(), ()).channel::<Room>("room:*");
    let connections = sockets.connections().clone();
    let serving = transport.serve_with(sockets.clone(), Limits::default(), connections.clone());
    tokio::spawn(serving);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let app = axum::Router::new().nest_service("/socket", sockets);
    tokio::spawn(async { axum::serve(listener, app).await });

    let stream = TcpStream::connect(lines).await.unwrap();
    let mut client = LineClient(BufReader::new(stream));
    client.say("vsn=2.0.0").await;
    client.say(r#"["1","1","room:1","phx_join",{}]"#).await;
    client
        .hears(r#"["1","1","room:1","phx_reply",{"status":"ok","response":{}}]"#)
        .await;

    let stream = TcpStream::connect(http).await.unwrap();
    let url = format!("ws://{http}/socket/websocket?vsn=2.0.0");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for message in [
        Message::text(r#"["1","1","room:1","phx_join",{}]"#),
        Message::text("[\"1\",\"2\",\"room:1\",\"say\",{\"a\":\n1,\r\n\"b\":2}]"),
        Message::binary(b"\x00\x01\x01\x06\x0313room:1say\n\xff".to_vec()),
        Message::text(r#"["1","4","room:1","say",{"c":3}]"#),
    ] {
        socket.send(message).await.unwrap();
    }
    client
        .hears(r#"[null,null,"room:1","said",{"a": 1,  "b":2}]"#)
        .await;
    client.hears(r#"[null,null,"room:1","said",{"c":3}]"#).await;
    assert_eq!(connections.stats().closed_unwritable, 0);
}
