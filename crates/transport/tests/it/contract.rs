//! Every carrier keeps the same promises: those that are built in, and the example's.

#[path = "../../examples/lines/line_tcp.rs"]
mod line_tcp;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use matryoshka_transport::{
    Connections, HttpConfig, HttpService, LongPollConfig, LongPolling, Transport,
    bytes::Bytes,
    http::Request,
    memory::{self, MemoryService},
    pubsub::PubSub,
    testing::{Carrier, Client, Probe, session_contract},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use tower::Service;

use self::line_tcp::LineTcp;
use crate::lab::info;

struct InMemory(MemoryService<Probe>);

impl Carrier for InMemory {
    type Client = InMemoryClient;

    async fn connect(&self, params: &str) -> Option<InMemoryClient> {
        self.0.connect(info(params)).await.ok().map(InMemoryClient)
    }
}

struct InMemoryClient(memory::Client);

impl Client for InMemoryClient {
    async fn send(&mut self, text: &str) {
        self.0.send_text(text).await.unwrap();
    }

    async fn recv(&mut self) -> Option<String> {
        let frame = self.0.recv_frame().await?;
        frame.as_text().map(str::to_owned)
    }
}

#[tokio::test]
async fn in_memory() {
    let probe = Probe::new();
    session_contract(&InMemory(MemoryService::new(probe.clone())), &probe).await;
}

struct WebSockets(SocketAddr);

impl Carrier for WebSockets {
    type Client = WebSocketClient;

    async fn connect(&self, params: &str) -> Option<WebSocketClient> {
        let stream = TcpStream::connect(self.0).await.unwrap();
        let url = format!("ws://127.0.0.1/socket/websocket?{params}");
        let (client, _) = client_async(url, stream).await.ok()?;
        Some(WebSocketClient(client))
    }
}

struct WebSocketClient(WebSocketStream<TcpStream>);

impl Client for WebSocketClient {
    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn recv(&mut self) -> Option<String> {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            _ => None,
        }
    }
}

#[tokio::test]
async fn websocket() {
    let probe = Probe::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = HttpService::new(probe.clone());
    let router = axum::Router::new().nest_service("/socket", service);
    tokio::spawn(async move { axum::serve(listener, router).await });
    session_contract(&WebSockets(addr), &probe).await;
}

#[derive(Clone)]
struct LongPolls(HttpService<Probe>);

struct Poller {
    service: HttpService<Probe>,
    token: String,
    polled: VecDeque<String>,
}

async fn ask(service: &HttpService<Probe>, request: Request<Full<Bytes>>) -> Value {
    let response = service.clone().call(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

impl Carrier for LongPolls {
    type Client = Poller;

    async fn connect(&self, params: &str) -> Option<Poller> {
        let request = Request::get(format!("/longpoll?{params}"));
        let opened = ask(&self.0, request.body(Full::default()).unwrap()).await;
        Some(Poller {
            service: self.0.clone(),
            token: opened["token"].as_str()?.to_owned(),
            polled: VecDeque::new(),
        })
    }
}

impl Client for Poller {
    async fn send(&mut self, text: &str) {
        let request = Request::post(format!("/longpoll?token={}", self.token));
        let body = Full::new(Bytes::from(text.to_owned()));
        ask(&self.service, request.body(body).unwrap()).await;
    }

    async fn recv(&mut self) -> Option<String> {
        loop {
            if let Some(text) = self.polled.pop_front() {
                return Some(text);
            }
            let request = Request::get(format!("/longpoll?token={}", self.token));
            let answer = ask(&self.service, request.body(Full::default()).unwrap()).await;
            match answer["status"].as_u64() {
                Some(200) => {
                    let messages = answer["messages"].as_array().unwrap().iter();
                    self.polled
                        .extend(messages.map(|text| text.as_str().unwrap().to_owned()));
                }
                Some(204) => {}
                _ => return None,
            }
        }
    }
}

/// The clock stands still but for whoever waits, so that a client that polls no more is soon missed.
#[tokio::test(start_paused = true)]
async fn long_polling() {
    let probe = Probe::new();
    let polling = LongPolling::with_config(&PubSub::local(), LongPollConfig::default()).unwrap();
    let config = HttpConfig::default().with_long_polling(&polling);
    let carrier = LongPolls(HttpService::with_config(probe.clone(), config));
    session_contract(&carrier, &probe).await;
}

struct LinesOverTcp(SocketAddr);

struct LineClient {
    stream: BufReader<TcpStream>,
}

impl LineClient {
    async fn connect(addr: SocketAddr, params: &str) -> Self {
        let stream = BufReader::new(TcpStream::connect(addr).await.unwrap());
        let mut client = Self { stream };
        Client::send(&mut client, params).await;
        client
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await {
            Ok(bytes) if bytes > 0 => Some(line.trim_end_matches('\n').to_owned()),
            _ => None,
        }
    }
}

impl Carrier for LinesOverTcp {
    type Client = LineClient;

    /// The carrier has no answer to a hello, so an echo shows that there is a session.
    async fn connect(&self, params: &str) -> Option<LineClient> {
        let mut client = LineClient::connect(self.0, params).await;
        client.send("hello").await;
        let answer = client.line().await?;
        (answer == "hello").then_some(client)
    }
}

impl Client for LineClient {
    async fn send(&mut self, text: &str) {
        let line = format!("{text}\n");
        // A client that was refused cannot send.
        let _ = self.stream.write_all(line.as_bytes()).await;
    }

    async fn recv(&mut self) -> Option<String> {
        let line = self.line().await;
        line.filter(|line| !line.starts_with("close "))
    }
}

async fn lines(probe: &Probe) -> (SocketAddr, Connections) {
    let transport = LineTcp::bind("127.0.0.1:0").await.unwrap();
    let (addr, connections) = (transport.local_addr(), Connections::new());
    let limits = Default::default();
    tokio::spawn(transport.serve_with(probe.clone(), limits, connections.clone()));
    (addr, connections)
}

#[tokio::test]
async fn the_examples_lines_over_tcp() {
    let probe = Probe::new();
    let (addr, connections) = lines(&probe).await;
    session_contract(&LinesOverTcp(addr), &probe).await;
    connections.closed().await;
}

#[tokio::test]
async fn a_client_of_the_example_that_says_nothing_holds_up_nobody_and_a_line_without_end_is_too_big()
 {
    let probe = Probe::new();
    let (addr, connections) = lines(&probe).await;
    let _silent = TcpStream::connect(addr).await.unwrap();
    let mut client = LinesOverTcp(addr).connect("user=al").await.unwrap();
    let (mut reader, mut writer) = client.stream.get_mut().split();
    let endless = vec![b'x'; 1_100_000];
    // The server stops reading on the way, so how this ends is not said.
    let writing = async { writer.write_all(&endless).await };
    let reading = async {
        let mut line = String::new();
        BufReader::new(&mut reader)
            .read_line(&mut line)
            .await
            .unwrap();
        line
    };
    let both = futures::future::join(writing, reading);
    let (_, line) = timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(line, "close 1009\n");
    assert_eq!(connections.stats().closed_too_big, 1);
}
