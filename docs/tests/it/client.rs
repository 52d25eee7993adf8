//! The least of a Phoenix client: version 2 of the wire, over a real WebSocket.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How long a client waits for a frame before the test fails.
const DEADLINE: Duration = Duration::from_secs(10);

/// One connection, on one topic.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    topic: &'static str,
    reference: u64,
}

impl Client {
    pub(crate) async fn connect(address: &str, topic: &'static str) -> Self {
        let connected = Self::connect_with(address, "", topic).await;
        connected.expect("an upgrade")
    }

    /// Connects with more parameters. A refusal is the status of the answer.
    pub(crate) async fn connect_with(
        address: &str,
        query: &str,
        topic: &'static str,
    ) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/socket/websocket?vsn=2.0.0&{query}");
        match tokio_tungstenite::client_async(url, stream).await {
            Ok((socket, _)) => Ok(Self {
                socket,
                topic,
                reference: 0,
            }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends an event and gives its reference. The join's reference is always `"1"`, since a client joins first.
    pub(crate) async fn send(&mut self, event: &str, payload: Value) -> String {
        self.reference += 1;
        let reference = self.reference.to_string();
        let frame = json!(["1", reference, self.topic, event, payload]).to_string();
        self.socket.send(Message::text(frame)).await.unwrap();
        reference
    }

    /// Waits for the next frame: (event, payload). Whatever it is, it must be of this client's topic.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let frame = timeout(DEADLINE, self.socket.next()).await;
        let frame = frame
            .expect("a frame in time")
            .expect("an open connection")
            .unwrap();
        let mut frame: Vec<Value> = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        assert_eq!(frame.len(), 5, "{frame:?}");
        assert_eq!(frame[2], self.topic, "{frame:?}");
        let payload = frame.pop().unwrap();
        let event = frame.pop().unwrap();
        (event.as_str().unwrap().to_owned(), payload)
    }

    /// Waits for the next frame and gives its payload; the test fails if its event is another one.
    pub(crate) async fn expect(&mut self, wanted: &str) -> Value {
        let (event, payload) = self.next().await;
        assert_eq!(event, wanted, "{payload}");
        payload
    }

    /// Sends an event and waits for its reply, putting aside what comes before it.
    pub(crate) async fn call(&mut self, event: &str, payload: Value) -> Answer {
        self.send(event, payload).await;
        let mut before = Vec::new();
        loop {
            match self.next().await {
                (event, reply) if event == "phx_reply" => return Answer { reply, before },
                other => before.push(other),
            }
        }
    }

    /// Waits for the server to close, and gives its code; the test fails if a frame comes instead.
    pub(crate) async fn closed(&mut self) -> u16 {
        let close = timeout(DEADLINE, self.socket.next()).await;
        match close.expect("a close in time").unwrap().unwrap() {
            Message::Close(Some(close)) => close.code.into(),
            other => panic!("{other:?} instead of a close"),
        }
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
    }
}

/// A reply, and the frames that came before it.
pub(crate) struct Answer {
    pub(crate) reply: Value,
    pub(crate) before: Vec<(String, Value)>,
}
