//! A service with long polling, asked without a network, and its answers.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use matryoshka_transport::{
    HttpConfig, HttpService, Limits, LongPollConfig, LongPolling, PeerAddr,
    bytes::Bytes,
    http::{HeaderMap, Request, Response, StatusCode, request},
    pubsub::PubSub,
};
use serde_json::{Value, json};
use tower::Service;

use crate::lab::Lab;

pub const WINDOW: Duration = Duration::from_secs(10);

/// A service with long polling, and the lab behind it.
pub struct Polled {
    pub lab: Lab,
    pub service: HttpService<Lab>,
    pub polling: LongPolling,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn token(&self) -> String {
        self.json()["token"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn is(&self, body: Value) {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.json(), body);
        assert_eq!(
            self.headers["content-type"],
            "application/json; charset=utf-8"
        );
        assert_eq!(self.headers["access-control-allow-origin"], "*");
        assert_eq!(self.headers["cache-control"], "no-store");
        assert!(!self.headers.contains_key("set-cookie"));
    }
}

impl Polled {
    pub fn new() -> Self {
        Self::with(LongPollConfig::default(), Limits::default())
    }

    pub fn with(config: LongPollConfig, limits: Limits) -> Self {
        Self::on(&PubSub::local(), config, limits)
    }

    pub fn on(pubsub: &PubSub, config: LongPollConfig, limits: Limits) -> Self {
        let lab = Lab::new();
        let polling = LongPolling::with_config(pubsub, config).unwrap();
        let config = HttpConfig::default()
            .with_mount("/socket")
            .with_limits(limits)
            .with_long_polling(&polling);
        let service = HttpService::with_config(lab.clone(), config);
        Self {
            lab,
            service,
            polling,
        }
    }

    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.unread(request).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            // A copy: what the server handed over is read then, and let go.
            body: Bytes::copy_from_slice(&body.collect().await.unwrap().to_bytes()),
        }
    }

    /// What is answered, of which nothing is read.
    pub async fn unread(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        self.service.clone().call(request).await.unwrap()
    }

    /// What a client is answered that comes from there.
    pub async fn ask_from(&self, peer: &str, mut request: Request<Full<Bytes>>) -> Answer {
        let peer = PeerAddr(peer.parse().unwrap());
        request.extensions_mut().insert(peer);
        self.ask(request).await
    }

    pub async fn get(&self, query: &str) -> Answer {
        self.ask(get(query).body(Full::default()).unwrap()).await
    }

    /// A poll with that token.
    pub async fn poll(&self, token: &str) -> Answer {
        self.get(&format!("vsn=2.0.0&token={token}")).await
    }

    pub async fn post(&self, token: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        self.ask(post(token, content_type, body)).await
    }

    pub async fn lines(&self, token: &str, lines: &str) -> Answer {
        self.post(token, "application/x-ndjson", lines.to_owned())
            .await
    }

    /// Opens a session.
    pub async fn open(&self) -> String {
        let opened = self.get("vsn=2.0.0&user=al&").await;
        assert_eq!(opened.json()["status"], 410, "{opened:?}");
        opened.token()
    }
}

pub fn get(query: &str) -> request::Builder {
    Request::get(format!("/socket/longpoll?{query}"))
}

pub fn post(token: &str, content_type: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("/socket/longpoll?vsn=2.0.0&token={token}"))
        .header("content-type", content_type)
        .body(Full::new(body.into()))
        .unwrap()
}

pub fn nothing(token: &str) -> Value {
    json!({"status": 204, "token": token, "messages": []})
}

pub fn messages(token: &str, texts: &[&str]) -> Value {
    json!({"status": 200, "token": token, "messages": texts})
}
