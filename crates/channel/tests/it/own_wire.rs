//! A version of the wire that is the application's own, from join to broadcast, beside the official ones.

use std::net::SocketAddr;

use axum::Router;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::testing::{ClientSerializer, TestSockets};
use matryoshka_channel::transport::http::{Request, StatusCode};
use matryoshka_channel::transport::{
    ClientMessage, DecodeError, EncodeError, Field, Frame, HttpConfig, Json, LongPolling, Payload,
    Serializer, Serializers, ServerMessage,
};
use matryoshka_channel::{SocketsConfig, assert_push, assert_reply, broadcast};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::Service;

use crate::lab::Lab;

/// Five fields between bars: the join, the reference, the topic, the event (a reply's is its status), and JSON.
struct Bars;

const VSN: &str = "bars-1";

impl Serializer for Bars {
    fn vsn(&self) -> &'static str {
        VSN
    }

    fn decode(&self, frame: Frame) -> Result<ClientMessage, DecodeError> {
        let problem = "it has five fields between bars";
        let other = DecodeError::Other { vsn: VSN, problem };
        let fields: Vec<&str> = frame.as_text().unwrap_or_default().splitn(5, '|').collect();
        let [join_ref, reference, topic, event, payload] = fields[..] else {
            return Err(other);
        };
        let present = |text: &str| (!text.is_empty()).then(|| Field::from(text));
        Ok(ClientMessage {
            join_ref: present(join_ref),
            reference: present(reference),
            topic: topic.into(),
            event: event.into(),
            payload: Payload::Json(Json::parse(payload)?),
        })
    }

    fn encode(&self, message: &ServerMessage) -> Result<Frame, EncodeError> {
        let text = |field: &Option<Field>| {
            let text = field.as_ref().and_then(Field::as_text);
            text.unwrap_or_default().to_owned()
        };
        let (join_ref, reference, topic, event, payload) = match message {
            ServerMessage::Push {
                join_ref,
                reference,
                topic,
                event,
                payload,
            } => {
                let topic = topic.as_text().unwrap_or_default();
                (text(join_ref), text(reference), topic, event, payload)
            }
            ServerMessage::Reply {
                join_ref,
                reference,
                topic,
                status,
                response,
            } => {
                let topic = topic.as_text().unwrap_or_default();
                (text(join_ref), text(reference), topic, status, response)
            }
            ServerMessage::Broadcast {
                topic,
                event,
                payload,
            } => (String::new(), String::new(), &**topic, event, payload),
        };
        let Payload::Json(json) = payload else {
            return Err(EncodeError::BinaryPayload { vsn: VSN });
        };
        let json = json.as_str();
        Ok(Frame::text(format!(
            "{join_ref}|{reference}|{topic}|{event}|{json}"
        )))
    }
}

/// The client's side.
impl ClientSerializer for Bars {
    fn vsn(&self) -> &'static str {
        VSN
    }

    fn encode(&self, message: &ClientMessage) -> Frame {
        let text = |field: &Field| field.as_text().unwrap().to_owned();
        let Payload::Json(json) = &message.payload else {
            panic!("no bytes between bars");
        };
        let refs = [&message.join_ref, &message.reference];
        let [join_ref, reference] = refs.map(|field| field.as_ref().map_or_else(String::new, text));
        let (topic, event, json) = (text(&message.topic), text(&message.event), json.as_str());
        Frame::text(format!("{join_ref}|{reference}|{topic}|{event}|{json}"))
    }

    fn decode(&self, frame: &Frame) -> Option<ServerMessage> {
        let ClientMessage {
            join_ref,
            reference,
            topic,
            event,
            payload,
        } = Serializer::decode(self, frame.clone()).ok()?;
        let event = event.as_text()?.to_owned();
        Some(match &*event {
            "ok" | "error" => ServerMessage::Reply {
                join_ref,
                reference,
                topic,
                status: event.into(),
                response: payload,
            },
            _ => ServerMessage::Push {
                join_ref,
                reference,
                topic,
                event: event.into(),
                payload,
            },
        })
    }
}

fn config() -> SocketsConfig {
    let mut config = SocketsConfig::default();
    let serializers = Serializers::default().with(&Bars).unwrap();
    config.http = HttpConfig::default().with_serializers(serializers);
    config
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn open(addr: SocketAddr, vsn: &str) -> Result<Self, tungstenite::Error> {
        let url = format!("ws://{addr}/socket/websocket?user=anna&vsn={vsn}");
        let stream = TcpStream::connect(addr).await.unwrap();
        Ok(Self(client_async(url, stream).await?.0))
    }

    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn next(&mut self) -> String {
        let message = self.0.next().await.unwrap().unwrap();
        message.into_text().unwrap().to_string()
    }
}

#[tokio::test]
async fn a_version_of_ones_own_is_spoken_over_websocket_beside_version_2() {
    let lab = Lab::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = Router::new().nest_service("/socket", lab.sockets_with(config()));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut own = Client::open(addr, VSN).await.unwrap();
    own.send("j1|r1|lab:a|phx_join|{}").await;
    assert_eq!(own.next().await, "j1|r1|lab:a|ok|{}");
    let mut official = Client::open(addr, "2.0.0").await.unwrap();
    official.send(r#"["1","1","lab:a","phx_join",{}]"#).await;
    let joined = r#"["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(official.next().await, joined);

    own.send("|r2|phoenix|heartbeat|{}").await;
    assert_eq!(own.next().await, "|r2|phoenix|ok|{}");

    // The fast lane keeps the two apart.
    broadcast(&lab.pubsub, "lab:a", "news", &json!({"n": 1})).unwrap();
    assert_eq!(own.next().await, r#"||lab:a|news|{"n":1}"#);
    assert_eq!(
        official.next().await,
        r#"[null,null,"lab:a","news",{"n":1}]"#
    );

    // What is no message ends the connection, as in the official versions.
    own.send("nonsense").await;
    let Some(Ok(Message::Close(Some(close)))) = own.0.next().await else {
        panic!("no close");
    };
    assert_eq!(u16::from(close.code), 1011);

    for unknown in ["bars-2", "bars", "3.0.0"] {
        let Err(tungstenite::Error::Http(refused)) = Client::open(addr, unknown).await else {
            panic!("{unknown} was not refused");
        };
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{unknown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_of_ones_own_whose_frames_are_text_is_spoken_over_long_polling() {
    let lab = Lab::on(PubSub::local());
    let mut config = config();
    let polling = LongPolling::new(&lab.pubsub).unwrap();
    config.http = config.http.with_long_polling(&polling);
    let mut sockets = lab.sockets_with(config);
    let mut ask = async |request: Request<Full<&'static [u8]>>| {
        let answer = sockets.call(request).await.unwrap().into_body();
        let body = answer.collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let get = |uri: &str| Request::get(uri).body(Full::default()).unwrap();
    let opened = ask(get("/longpoll?user=anna&vsn=bars-1")).await;
    let token = opened["token"].as_str().unwrap();
    let uri = format!("/longpoll?user=anna&vsn=bars-1&token={token}");
    let join = Request::post(&uri)
        .header("content-type", "application/json")
        .body(Full::new(&b"j1|r1|lab:a|phx_join|{}"[..]));
    assert_eq!(ask(join.unwrap()).await["status"], 200);
    let polled = ask(get(&uri)).await;
    assert_eq!(polled["messages"], json!(["j1|r1|lab:a|ok|{}"]));
}

/// By name, as over a network, and as that name is served.
#[tokio::test(start_paused = true)]
async fn a_test_speaks_a_version_of_ones_own_beside_the_official_ones() {
    let lab = Lab::on(PubSub::local());
    let test = TestSockets::new(lab.sockets_with(config())).with_client_serializer(&Bars);
    let connect = |vsn: &str| test.connect(json!({ "user": "anna", "vsn": vsn }));
    let own = connect(VSN).await.unwrap();
    let own = own.join("lab:a", json!({})).await.unwrap();
    let official = connect("2.0.0").await.unwrap();
    let official = official.join("lab:a", json!({})).await.unwrap();
    broadcast(&lab.pubsub, "lab:a", "news", &json!({ "n": 1 })).unwrap();
    for channel in [&own, &official] {
        assert_push!(channel, "news", { "n": 1 });
    }
    let left = own.leave().await;
    assert_reply!(left, ok, {});
    assert_push!(own, "phx_close", {});
    let refused = connect("bars-2").await.unwrap_err();
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    // What is not served in the program is not served in its test.
    let serializers = Serializers::default().without_v1();
    let mut config = config();
    config.http = config.http.with_serializers(serializers);
    let test = TestSockets::new(lab.sockets_with(config));
    let refused = test.connect(json!({ "user": "anna", "vsn": "1.0.0" }));
    assert_eq!(refused.await.unwrap_err().status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "speaks no version bars-1 of itself")]
async fn a_version_of_ones_own_needs_the_clients_side() {
    let lab = Lab::on(PubSub::local());
    let test = TestSockets::new(lab.sockets_with(config()));
    let params = json!({ "user": "anna", "vsn": VSN });
    let _ = test.connect(params).await;
}

#[test]
fn a_version_that_is_spoken_is_not_spoken_twice() {
    let serializers = Serializers::default().with(&Bars).unwrap();
    let error = serializers.with(&Bars).unwrap_err();
    assert!(error.to_string().contains(VSN), "{error}");
}
