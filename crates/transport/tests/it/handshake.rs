//! The HTTP handshake, row by row, on a loopback listener: nested in axum and on plain hyper.

use std::{net::SocketAddr, sync::atomic::Ordering::SeqCst};

use futures::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use matryoshka_transport::{
    Close, CloseCode, CloseReason, HttpConfig, HttpService, OriginPolicy, PeerAddr, Reveal,
    bytes::Bytes,
    http::{Request, Response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use tower::Service;

use crate::{lab::Lab, log::Lines};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

async fn on_axum(lab: &Lab) -> SocketAddr {
    let (addr, _) = nested_in_axum(HttpService::new(lab.clone())).await;
    addr
}

async fn nested_in_axum(service: HttpService<Lab>) -> (SocketAddr, HttpService<Lab>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = axum::Router::new().nest_service("/socket", service.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (addr, service)
}

async fn on_plain_hyper(service: HttpService<Lab>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service.clone();
            let service = hyper::service::service_fn(move |mut request: Request<_>| {
                request.extensions_mut().insert(PeerAddr(peer));
                answer(service.clone(), request)
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving.with_upgrades());
        }
    });
    addr
}

async fn answer(
    mut service: HttpService<Lab>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    service.call(request).await
}

/// A request whose headers a test bends.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
}

impl Ask {
    fn upgrade(query: &str) -> Self {
        Self::upgrade_at(&format!("/socket/websocket?{query}"))
    }

    fn upgrade_at(path: &str) -> Self {
        let headers = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let headers = headers
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec();
        Self {
            method: "GET",
            path: path.to_owned(),
            headers,
        }
    }

    fn plain(query: &str) -> Self {
        Self {
            headers: Vec::new(),
            ..Self::upgrade(query)
        }
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    async fn of(&self, addr: SocketAddr) -> Answer {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let mut request = format!(
            "{} {} HTTP/1.1\r\nhost: chat.example\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "content-length: 0\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn is(&self, status: u16, body: &str) -> bool {
        self.status == status && self.body == body
    }
}

#[tokio::test]
async fn row_11_all_good_is_101_with_the_accepted_key() {
    let lab = Lab::new();
    let answer = Ask::upgrade("vsn=2.0.0").of(on_axum(&lab).await).await;
    assert_eq!(answer.status, 101);
    for header in ["upgrade: websocket", "connection: upgrade"] {
        assert!(answer.head.contains(header), "{}", answer.head);
    }
    assert!(
        answer
            .head
            .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{}",
        answer.head
    );
    assert!(
        !answer.head.contains("sec-websocket-protocol"),
        "no subprotocol is chosen"
    );
    assert!(
        !answer.head.contains("sec-websocket-extensions"),
        "nothing is compressed"
    );
    assert_eq!(lab.connected().await.0.transport, "websocket");
}

#[tokio::test]
async fn rows_1_to_3_and_6_are_refused_before_the_handler_is_asked() {
    let lab = Lab::new();
    let addr = on_axum(&lab).await;
    let evil = "http://evil.example";
    let rows = [
        ("row 1: POST", Ask::upgrade("").method("POST"), 400),
        ("row 1: HEAD", Ask::upgrade("").method("HEAD"), 400),
        (
            "row 1 before 3",
            Ask::upgrade("").method("PUT").with("origin", evil),
            400,
        ),
        ("row 2: query not UTF-8", Ask::upgrade("a=%ff"), 400),
        (
            "row 2: too many brackets",
            Ask::upgrade(&format!("a{}=1", "[b]".repeat(17))),
            400,
        ),
        (
            "row 2 before 3",
            Ask::upgrade("a=%ff").with("origin", evil),
            400,
        ),
        ("row 3: origin", Ask::upgrade("").with("origin", evil), 403),
        (
            "row 3: origin null",
            Ask::upgrade("").with("origin", "null"),
            403,
        ),
        ("row 6: unknown version", Ask::upgrade("vsn=2.1.0"), 403),
        ("row 6: empty version", Ask::upgrade("vsn="), 403),
        ("row 6: version in a list", Ask::upgrade("vsn[]=2.0.0"), 403),
        ("row 6 before 10", Ask::plain("vsn=9.9.9"), 403),
    ];
    for (name, ask, status) in rows {
        let answer = ask.of(addr).await;
        assert!(answer.is(status, ""), "{name}: {answer:?}");
    }
    assert_eq!(lab.calls.load(SeqCst), 0);
}

/// On a mount that takes tokens and names its subprotocols.
#[tokio::test]
async fn rows_4_and_5_are_refused_before_the_handler_is_asked_and_after_row_3() {
    let lab = Lab::new();
    let config = HttpConfig::default()
        .with_auth_token()
        .with_subprotocols(["sip"]);
    let (addr, _) = nested_in_axum(HttpService::with_config(lab.clone(), config)).await;
    let offering =
        |query: &str, offer: &str| Ask::upgrade(query).with("sec-websocket-protocol", offer);
    let good = "phoenix, base64url.bearer.phx.MTIzNA";
    let rows = [
        (
            "row 4: no base64",
            offering("", "phoenix, base64url.bearer.phx.!"),
        ),
        (
            "row 4: no text",
            offering("", "phoenix, base64url.bearer.phx._w"),
        ),
        ("row 5: none that is spoken here", offering("", "mqtt")),
        (
            "row 5: a token and none that is spoken here",
            offering("", "mqtt, base64url.bearer.phx.MTIzNA"),
        ),
        (
            "row 3 before 4 and 5",
            offering("", "mqtt").with("origin", "http://evil.example"),
        ),
        ("row 6 behind 4 and 5", offering("vsn=9.9.9", good)),
    ];
    let lines = Lines::collect();
    for (name, ask) in rows {
        let answer = ask.of(addr).await;
        assert!(answer.is(403, ""), "{name}: {answer:?}");
    }
    let lines = lines.take();
    let cures = [
        "its auth token is no base64 of a text",
        "allow more by HttpConfig::with_subprotocols",
        "ask for 1.0.0 or 2.0.0",
    ];
    for words in cures {
        let told = lines.iter().filter(|line| line.contains(words));
        assert_eq!(told.count(), 1, "{words}: {lines:#?}");
    }
    assert_eq!(lab.calls.load(SeqCst), 0);
    for (offer, spoken) in [(good, "phoenix"), ("sip, mqtt", "sip")] {
        let answer = offering("vsn=2.0.0", offer).of(addr).await;
        assert_eq!(answer.status, 101);
        let spoken = format!("sec-websocket-protocol: {spoken}\r\n");
        assert!(answer.head.contains(&spoken), "{}", answer.head);
    }
}

#[tokio::test]
async fn row_3_allows_own_host_loopback_and_no_origin() {
    let lab = Lab::new();
    let addr = on_axum(&lab).await;
    for origin in [
        "https://chat.example:8443",
        "http://localhost:3000",
        "http://[::1]",
    ] {
        assert_eq!(
            Ask::upgrade("")
                .with("origin", origin)
                .of(addr)
                .await
                .status,
            101,
            "{origin}"
        );
    }
    assert_eq!(Ask::upgrade("").of(addr).await.status, 101);
    let origins = OriginPolicy::new().allow("https://friend.example").unwrap();
    let config = HttpConfig::default().with_origins(origins);
    let (addr, _) = nested_in_axum(HttpService::with_config(lab, config)).await;
    assert_eq!(
        Ask::upgrade("")
            .with("origin", "https://friend.example")
            .of(addr)
            .await
            .status,
        101
    );
    assert_eq!(
        Ask::upgrade("")
            .with("origin", "http://friend.example")
            .of(addr)
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn rows_7_to_9_are_the_handlers_answer_also_for_a_plain_get() {
    let addr = on_axum(&Lab::new()).await;
    for ask in [Ask::upgrade, Ask::plain] {
        let answer = ask("connect=refuse").of(addr).await;
        assert!(answer.is(403, ""), "row 7: {answer:?}");
        let answer = ask("connect=busy").of(addr).await;
        assert!(answer.is(429, "Too many requests"), "row 8: {answer:?}");
        let answer = ask("connect=panic").of(addr).await;
        assert_eq!(answer.status, 500, "row 9: {answer:?}");
    }
    assert_eq!(
        Ask::upgrade("").of(addr).await.status,
        101,
        "a crash of the handler is its own affair"
    );
}

#[tokio::test]
async fn row_10_names_the_bad_header_and_the_session_is_told_that_it_is_lost() {
    let lab = Lab::new();
    let (addr, service) = nested_in_axum(HttpService::new(lab.clone())).await;
    let rows = [
        ("upgrade", Ask::plain("")),
        ("upgrade", Ask::upgrade("").without("upgrade")),
        ("upgrade", Ask::upgrade("").with("upgrade", "h2c")),
        ("connection", Ask::upgrade("").without("connection")),
        (
            "connection",
            Ask::upgrade("").with("connection", "keep-alive"),
        ),
        (
            "sec-websocket-version",
            Ask::upgrade("").without("sec-websocket-version"),
        ),
        (
            "sec-websocket-version",
            Ask::upgrade("").with("sec-websocket-version", "8"),
        ),
        (
            "sec-websocket-key",
            Ask::upgrade("").without("sec-websocket-key"),
        ),
        (
            "sec-websocket-key",
            Ask::upgrade("").with("sec-websocket-key", "c2hvcnQ="),
        ),
        (
            "sec-websocket-key",
            Ask::upgrade("").with("sec-websocket-key", "!!!!!!!!!!!!!!!!!!!!!!=="),
        ),
    ];
    for (header, ask) in rows {
        let answer = ask.of(addr).await;
        assert_eq!(answer.status, 400, "{header}: {answer:?}");
        assert!(
            answer.body.contains(&format!("`{header}`")),
            "{header}: {answer:?}"
        );
        assert_eq!(lab.closed().await, CloseReason::Lost);
    }
    service.connections().closed().await;
}

#[tokio::test]
async fn paths_are_matched_by_segment_and_all_others_are_404() {
    let lab = Lab::new();
    let nested = on_axum(&lab).await;
    let config = HttpConfig::default().with_mount("/my/socket/");
    let plain = on_plain_hyper(HttpService::with_config(lab.clone(), config)).await;
    for (addr, mount) in [(nested, "/socket"), (plain, "/my/socket")] {
        for path in [
            "/websocket",
            "/websocket/",
            "//websocket",
            "/websocket//?vsn=2.0.0",
        ] {
            let answer = Ask::upgrade_at(&format!("{mount}{path}")).of(addr).await;
            assert_eq!(answer.status, 101, "{mount}{path}: {answer:?}");
        }
        for path in [
            "/",
            "/longpoll",
            "/longpoll?vsn=2.0.0",
            "/websocket/x",
            "/x/websocket",
            "/WebSocket",
        ] {
            let answer = Ask::upgrade_at(&format!("{mount}{path}")).of(addr).await;
            assert_eq!(answer.status, 404, "{mount}{path}: {answer:?}");
        }
    }
    assert_eq!(Ask::upgrade_at("/websocket").of(plain).await.status, 404);
}

#[tokio::test]
async fn a_client_talks_and_says_goodbye_on_axum_and_on_plain_hyper() {
    let lab = Lab::new();
    let config = HttpConfig::default()
        .with_mount("socket")
        .with_reveal(Reveal::nothing().with_peer_addr());
    let plain = on_plain_hyper(HttpService::with_config(lab.clone(), config)).await;
    for (addr, knows_peer) in [(on_axum(&lab).await, false), (plain, true)] {
        let stream = TcpStream::connect(addr).await.unwrap();
        let local = stream.local_addr().unwrap();
        let url = "ws://127.0.0.1/socket/websocket?user=al&vsn=2.0.0";
        let (mut client, _) = client_async(url, stream).await.unwrap();
        let (info, outbox) = lab.connected().await;
        assert_eq!(info.peer_addr, knows_peer.then_some(local));
        assert_eq!(
            (info.params.get("user"), info.serializer.vsn()),
            (Some("al"), "2.0.0")
        );

        client.send(Message::text("héllo")).await.unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::text("héllo")
        );
        client.send(Message::binary(vec![0, 255])).await.unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::binary(vec![0, 255])
        );
        assert!(!outbox.is_closed());

        let goodbye = CloseFrame {
            code: 3001.into(),
            reason: "".into(),
        };
        client.close(Some(goodbye.clone())).await.unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::Close(Some(goodbye))
        );
        assert!(client.next().await.is_none());
        assert_eq!(
            lab.closed().await,
            CloseReason::Client(Some(CloseCode(3001)))
        );
        assert!(outbox.is_closed());
    }
}

#[tokio::test]
async fn over_tcp_a_message_over_the_limit_still_ends_with_a_readable_1009() {
    let lab = Lab::new();
    let (addr, service) = nested_in_axum(HttpService::new(lab.clone())).await;
    let stream = TcpStream::connect(addr).await.unwrap();
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let url = "ws://127.0.0.1/socket/websocket";
    let (client, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config))
        .await
        .unwrap();
    let (mut sink, mut stream) = client.split();
    let too_large = service.config().websocket.max_message_bytes + 1;
    let sending = tokio::spawn(async move { sink.send(Message::binary(vec![0; too_large])).await });
    let Some(Ok(Message::Close(Some(close)))) = stream.next().await else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 1009);
    drop((stream, sending.await));
    assert_eq!(
        lab.closed().await,
        CloseReason::Closed(CloseCode::TOO_BIG.into())
    );
    service.connections().closed().await;
}

/// The server says so before this crate is asked: an HTTP request's URI ends at 65,534 bytes.
#[tokio::test]
async fn a_uri_that_is_too_long_is_414() {
    let lab = Lab::new();
    let config = HttpConfig::default().with_mount("/socket");
    let service = HttpService::with_config(lab.clone(), config);
    for addr in [on_axum(&lab).await, on_plain_hyper(service).await] {
        let start = "/socket/websocket?vsn=2.0.0&x=";
        let longest = format!("{start}{}", "x".repeat(65_534 - start.len()));
        assert_eq!(Ask::upgrade_at(&longest).of(addr).await.status, 101);
        let longer = Ask::upgrade_at(&format!("{longest}x"));
        assert_eq!(longer.of(addr).await.status, 414);
    }
}

#[tokio::test]
async fn g7_a_service_that_closes_all_at_once_sends_1012_and_answers_503() {
    let lab = Lab::new();
    let (addr, service) = nested_in_axum(HttpService::new(lab.clone())).await;
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut client, _) = client_async("ws://127.0.0.1/socket/websocket", stream)
        .await
        .unwrap();
    lab.connected().await;
    service
        .connections()
        .close_all(Close::new(CloseCode::RESTART));
    let Some(Ok(Message::Close(Some(close)))) = client.next().await else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 1012);
    assert!(client.next().await.is_none());
    drop(client);
    service.connections().closed().await;
    assert_eq!(Ask::upgrade("").of(addr).await.status, 503);
}
