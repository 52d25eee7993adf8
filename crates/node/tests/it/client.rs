//! A Phoenix client over a real websocket, in both versions of the wire.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::process::{DEADLINE, Node};

/// What a message carries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// A JSON value.
    Json(Value),
    /// Bytes; for a reply, with its status apart.
    Bytes(Vec<u8>),
}

/// One message from the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incoming {
    /// Null in version 1.
    pub(crate) join_ref: Value,
    pub(crate) reference: Value,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) body: Body,
}

/// Which version of the wire a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// Both versions, to run a test over each.
pub(crate) const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

/// One connection.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    version: Version,
    last_ref: u64,
    /// Messages that came while another one was awaited.
    passed_over: Vec<Incoming>,
}

impl Client {
    /// Connects as `user`.
    pub(crate) async fn connect(node: &Node, user: &str, version: Version) -> Self {
        let vsn = match version {
            Version::V1 => "1.0.0",
            Version::V2 => "2.0.0",
        };
        let socket = open(node.http, &node.socket_url(user, vsn)).await.unwrap();
        Self {
            socket,
            version,
            last_ref: 0,
            passed_over: Vec::new(),
        }
    }

    /// Joins, and gives the join reply's status and response.
    pub(crate) async fn join(&mut self, topic: &str, params: Value) -> (String, Value) {
        let reference = (self.last_ref + 1).to_string();
        self.send_text(Some(&reference), topic, "phx_join", params)
            .await;
        self.reply(&reference).await
    }

    /// Joins, and expects ok; gives the join's reference.
    pub(crate) async fn join_ok(&mut self, topic: &str, params: Value) -> String {
        let (status, response) = self.join(topic, params).await;
        assert_eq!(status, "ok", "{response}");
        self.last_ref.to_string()
    }

    /// Sends an event and gives its reference.
    pub(crate) async fn push(&mut self, topic: &str, event: &str, payload: Value) -> String {
        self.send_text(None, topic, event, payload).await;
        self.last_ref.to_string()
    }

    /// Sends an event and gives the reply's status and response.
    pub(crate) async fn ask(
        &mut self,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> (String, Value) {
        let reference = self.push(topic, event, payload).await;
        self.reply(&reference).await
    }

    /// Sends an event with bytes, in version 2's binary form.
    pub(crate) async fn push_bytes(
        &mut self,
        join_ref: &str,
        topic: &str,
        event: &str,
        payload: &[u8],
    ) -> String {
        self.last_ref += 1;
        let reference = self.last_ref.to_string();
        let mut frame = vec![0];
        let texts = [join_ref, &reference, topic, event];
        frame.extend(texts.map(|text| u8::try_from(text.len()).unwrap()));
        texts.iter().for_each(|text| frame.extend(text.bytes()));
        frame.extend(payload);
        self.send(Message::binary(frame)).await;
        reference
    }

    /// Sends any frame.
    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The reply to the message with this reference: its status and response.
    pub(crate) async fn reply(&mut self, reference: &str) -> (String, Value) {
        let reply = self
            .wait(|message| message.event == "phx_reply" && message.reference == reference)
            .await;
        match reply.body {
            Body::Json(payload) => (
                payload["status"].as_str().unwrap().to_owned(),
                payload["response"].clone(),
            ),
            Body::Bytes(bytes) => panic!("a binary reply was not expected: {bytes:?}"),
        }
    }

    /// The next event of this name on the topic; what comes before it stays for later.
    pub(crate) async fn event(&mut self, topic: &str, event: &str) -> Value {
        let message = self
            .wait(|message| message.topic == topic && message.event == event)
            .await;
        match message.body {
            Body::Json(payload) => payload,
            Body::Bytes(bytes) => panic!("a binary {event} was not expected: {bytes:?}"),
        }
    }

    /// The next message that fits; the others stay for later.
    pub(crate) async fn wait(&mut self, fits: impl Fn(&Incoming) -> bool) -> Incoming {
        if let Some(at) = self.passed_over.iter().position(&fits) {
            return self.passed_over.remove(at);
        }
        loop {
            let message = self.receive().await;
            if fits(&message) {
                return message;
            }
            self.passed_over.push(message);
        }
    }

    /// Asserts that no such event has come by the time the server has answered a heartbeat, which
    /// it handles after all that this client sent before.
    pub(crate) async fn refute(&mut self, topic: &str, event: &str) {
        let (status, _) = self.ask("phoenix", "heartbeat", json!({})).await;
        assert_eq!(status, "ok");
        let found = self
            .passed_over
            .iter()
            .find(|message| message.topic == topic && message.event == event);
        assert_eq!(found, None);
    }

    /// The code with which the server closes.
    pub(crate) async fn closed(mut self) -> u16 {
        loop {
            match self.next_frame().await {
                Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
                Some(Ok(Message::Close(None))) => return 1005,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 1006,
            }
        }
    }

    async fn send_text(
        &mut self,
        join_ref: Option<&str>,
        topic: &str,
        event: &str,
        payload: Value,
    ) {
        self.last_ref += 1;
        let reference = self.last_ref.to_string();
        let text = match self.version {
            Version::V1 => json!({
                "topic": topic, "event": event, "payload": payload, "ref": reference, "join_ref": join_ref
            }),
            Version::V2 => json!([join_ref, reference, topic, event, payload]),
        };
        self.send(Message::text(text.to_string())).await;
    }

    async fn receive(&mut self) -> Incoming {
        match self.next_frame().await {
            Some(Ok(Message::Text(text))) => self.read_text(&text),
            Some(Ok(Message::Binary(bytes))) => read_binary(&bytes),
            other => panic!(
                "a message was expected, not {other:?}; before: {:#?}",
                self.passed_over
            ),
        }
    }

    async fn next_frame(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        match timeout(DEADLINE, self.socket.next()).await {
            Ok(frame) => frame,
            Err(_) => panic!("nothing came in time; before: {:#?}", self.passed_over),
        }
    }

    fn read_text(&self, text: &str) -> Incoming {
        let value: Value = serde_json::from_str(text).unwrap();
        let [join_ref, reference, topic, event, payload] = match self.version {
            Version::V1 => {
                let keys = value.as_object().unwrap().len();
                assert_eq!(
                    keys, 4,
                    "version 1 has topic, event, payload and ref only: {text}"
                );
                ["join_ref", "ref", "topic", "event", "payload"].map(|key| value[key].clone())
            }
            Version::V2 => [0, 1, 2, 3, 4].map(|at| value[at].clone()),
        };
        Incoming {
            join_ref,
            reference,
            topic: topic.as_str().unwrap().to_owned(),
            event: event.as_str().unwrap().to_owned(),
            body: Body::Json(payload),
        }
    }
}

/// Opens a websocket, or gives the refusal.
pub(crate) async fn open(
    http: SocketAddr,
    request: &str,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    let stream = TcpStream::connect(http).await.unwrap();
    let (socket, _) = timeout(DEADLINE, client_async(request, stream))
        .await
        .expect("no answer to the handshake")?;
    Ok(socket)
}

/// Server frames of version 2: push, reply, broadcast. A reply's status stands in `event`.
fn read_binary(frame: &[u8]) -> Incoming {
    let count = match frame[0] {
        0 => 3,
        1 => 4,
        2 => 2,
        kind => panic!("no such kind of frame: {kind}"),
    };
    let mut rest = &frame[1 + count..];
    let mut texts = frame[1..=count].iter().map(|size| {
        let (text, behind) = rest.split_at(usize::from(*size));
        rest = behind;
        String::from_utf8(text.to_vec()).unwrap()
    });
    let mut next = || texts.next().unwrap();
    let (join_ref, reference, topic, event) = match frame[0] {
        0 => (json!(next()), Value::Null, next(), next()),
        1 => (json!(next()), json!(next()), next(), next()),
        _ => (Value::Null, Value::Null, next(), next()),
    };
    drop(texts);
    Incoming {
        join_ref,
        reference,
        topic,
        event,
        body: Body::Bytes(rest.to_vec()),
    }
}
