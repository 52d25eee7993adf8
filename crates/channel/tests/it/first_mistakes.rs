//! What everybody gets wrong once: each mistake is a line in the log that names the cure.

use axum::Router;
use axum::body::Body;
use futures::{SinkExt, StreamExt};
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::http::{Request, StatusCode, Version};
use matryoshka_channel::transport::memory::MemoryService;
use matryoshka_channel::transport::{
    ConnectInfo, Frame, HttpConfig, LongPolling, OriginPolicy, Params, PeerAddr, Rate, Reveal,
    TrustedProxies,
};
use matryoshka_channel::{Connected, KeyRing, Sockets, SocketsConfig, Tokens};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tower::Service;
use tracing::Level;

use crate::client::{Client, Vsn};
use crate::lab::Lab;
use crate::log::Lines;

/// A server as its author has it on a laptop, with these settings.
fn mounted(config: SocketsConfig) -> Router {
    Router::new().nest_service("/socket", Lab::new().sockets_with(config))
}

/// What a browser sends, with these headers beside those of every upgrade.
fn upgrade(uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get(uri)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// The status of the answer, and the lines it left.
async fn ask(router: &mut Router, request: Request<Body>) -> (StatusCode, Vec<String>) {
    let lines = Lines::down_to(Level::INFO);
    let answer = router.call(request).await.unwrap();
    (answer.status(), lines.take())
}

#[track_caller]
fn is_one_line_with(lines: &[String], parts: &[&str]) {
    let [line] = lines else {
        panic!("not one line: {lines:#?}");
    };
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}

#[tokio::test]
async fn a_wrong_path_says_what_stands_behind_the_mount() {
    for path in ["/socket", "/socket/", "/socket/websockets", "/socket/ws"] {
        // Of each kind a mount writes one line a second.
        let mut router = mounted(SocketsConfig::default());
        let (status, lines) = ask(&mut router, upgrade(path, &[])).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        let cure = "sockets are at the mount and the websocket path behind it";
        is_one_line_with(&lines, &["WARN", cure, "websocket_path=\"websocket\""]);
    }
}

/// What a proxy makes of a handshake that was not told to pass it on.
#[tokio::test]
async fn a_handshake_that_a_proxy_took_apart_names_what_it_has_to_pass_on() {
    let plain = || Request::get("/socket/websocket?user=anna&vsn=2.0.0");
    for (request, problem) in [
        (plain(), "header `upgrade` must be `websocket`"),
        (plain().version(Version::HTTP_10), "needs HTTP/1.1"),
        (
            plain().header("upgrade", "websocket"),
            "header `connection` must name `upgrade`",
        ),
        (plain().method("POST"), "the method must be `GET`"),
    ] {
        let mut router = mounted(SocketsConfig::default());
        let (status, lines) = ask(&mut router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        let cure = "a proxy in between has to speak HTTP/1.1 here, and to pass on the headers upgrade and connection";
        is_one_line_with(&lines, &["WARN", problem, cure]);
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_read_says_what_it_takes() {
    let many = "a=1&".repeat(1_001);
    for (query, problem) in [("token=%ff", "is not UTF-8"), (&many, "more than 1000")] {
        let mut router = mounted(SocketsConfig::default());
        let uri = format!("/socket/websocket?{query}");
        let (status, lines) = ask(&mut router, upgrade(&uri, &[])).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let cure = "1000 parameters at most, of UTF-8 and percent-encoded";
        is_one_line_with(&lines, &["WARN", problem, cure]);
    }
}

/// By itself no server of axum's tells where a connection comes from.
#[tokio::test]
async fn a_proxy_that_is_trusted_in_vain_is_told() {
    let proxies = TrustedProxies::by_x_forwarded_for(["10.0.0.0/8"]).unwrap();
    let reveal = Reveal::nothing().with_peer_addr();
    for http in [
        HttpConfig::default().with_trusted_proxies(proxies),
        HttpConfig::default().with_reveal(reveal),
    ] {
        let mut router = mounted(SocketsConfig::default().with_http(http));
        let asked = || upgrade("/socket/websocket?user=anna&vsn=2.0.0", &[]);
        let (_, lines) = ask(&mut router, asked()).await;
        is_one_line_with(&lines, &["WARN", "insert a PeerAddr into each request"]);

        // As the line says.
        let mut request = asked();
        let peer = PeerAddr("10.0.0.1:443".parse().unwrap());
        request.extensions_mut().insert(peer);
        let (status, lines) = ask(&mut router, request).await;
        assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(lines, [""; 0]);
    }
}

/// Long polling is off until a mount is given it.
#[tokio::test]
async fn long_polling_that_nobody_switched_on_says_that_it_is_off() {
    let mut router = mounted(SocketsConfig::default());
    let (status, lines) = ask(&mut router, upgrade("/socket/longpoll", &[])).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let cure = "HttpConfig::with_long_polling switches it on";
    is_one_line_with(&lines, &["WARN", "long_polling=false", cure]);
}

/// Whoever forgets to say a version gets the older one, and sends arrays.
#[tokio::test(start_paused = true)]
async fn messages_of_the_other_version_are_told_which_to_ask_for() {
    for (vsn, message, cure) in [
        (Vsn::V1, r#"["1","1","lab:a","phx_join",{}]"#, "vsn=2.0.0"),
        (
            Vsn::V2,
            r#"{"topic":"lab:a","event":"phx_join","payload":{},"ref":"1"}"#,
            "vsn=1.0.0",
        ),
    ] {
        let lines = Lines::collect();
        let mut client = Client::connect(&Lab::new().sockets(), vsn).await;
        client.send_frame(Frame::text(message)).await;
        client.play("< close 1011").await;
        is_one_line_with(&lines.take(), &["WARN", "another shape", cure]);
    }
}

#[tokio::test]
async fn an_old_vsn_is_told_those_that_are_spoken() {
    for vsn in ["0.9.0", "2.0", "3.0.0"] {
        // Of each kind a mount writes one line a second.
        let mut router = mounted(SocketsConfig::default());
        let uri = format!("/socket/websocket?vsn={vsn}");
        let (status, lines) = ask(&mut router, upgrade(&uri, &[])).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        is_one_line_with(&lines, &["WARN", vsn, "ask for 1.0.0 or 2.0.0"]);
    }
}

/// The phone opens the page by the laptop's address or by its name, and the page comes from a development server on another port.
#[tokio::test]
async fn a_phone_on_the_local_network_is_let_in_by_its_host_or_told_how() {
    let page = |host, origin| {
        let headers = [("host", host), ("origin", origin)];
        upgrade("/socket/websocket?user=anna&vsn=2.0.0", &headers)
    };
    let mut router = mounted(SocketsConfig::default());
    let same_host = page("192.168.1.20:4000", "http://192.168.1.20:5173");
    let (status, lines) = ask(&mut router, same_host).await;
    assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS, "{lines:?}");

    let by_name = || page("192.168.1.20:4000", "http://laptop.local:5173");
    let (status, lines) = ask(&mut router, by_name()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let said = [
        "WARN",
        "http://laptop.local:5173",
        "192.168.1.20:4000",
        "OriginPolicy::allow",
        "--allow-origin",
    ];
    is_one_line_with(&lines, &said);

    // As the line says.
    let mut config = SocketsConfig::default();
    let origins = OriginPolicy::new()
        .allow("http://laptop.local:5173")
        .unwrap();
    config.http = HttpConfig::default().with_origins(origins);
    let (status, _) = ask(&mut mounted(config), by_name()).await;
    assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn an_auth_token_that_the_mount_does_not_take_is_why_browsers_end_the_connection() {
    let offered = (
        "sec-websocket-protocol",
        "phoenix, base64url.bearer.phx.MTIzNA",
    );
    let asked = || upgrade("/socket/websocket?user=anna&vsn=2.0.0", &[offered]);
    let (_, lines) = ask(&mut mounted(SocketsConfig::default()), asked()).await;
    is_one_line_with(
        &lines,
        &["a browser ends this", "HttpConfig::with_auth_token"],
    );
    assert!(!lines[0].contains("MTIzNA"), "{lines:?}");

    let mut config = SocketsConfig::default();
    config.http = HttpConfig::default().with_auth_token();
    let (_, lines) = ask(&mut mounted(config), asked()).await;
    assert_eq!(lines, [""; 0]);
}

#[tokio::test]
async fn a_client_without_its_token_is_seen_by_what_it_did_send() {
    let ring = KeyRing::new([[7; 32]]).unwrap();
    let logins = Tokens::<String>::new(&ring, "login");
    let sockets = Sockets::new(&PubSub::local(), ()).on_connect(move |(), info: ConnectInfo| {
        let token = info.params.get("token").unwrap_or_default().to_owned();
        let logins = logins.clone();
        async move {
            logins.verify(&token)?;
            Ok(Connected::new())
        }
    });
    let mut router = Router::new().nest_service("/socket", sockets);
    let (status, lines) = ask(
        &mut router,
        upgrade("/socket/websocket?user=anna&vsn=2.0.0", &[]),
    )
    .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let said = [
        "the token has not the form of one",
        "user, vsn",
        "is one that it needs missing?",
    ];
    is_one_line_with(&lines, &said);
    assert!(!lines[0].contains("anna"), "names, no values: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_told_which_there_are() {
    let lines = Lines::collect();
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","labs:a","phx_join",{}]
            < [null,"1","labs:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            "#,
        )
        .await;
    let said = [
        "WARN",
        "labs:a",
        "lab:*, exact, fixed:*",
        "Sockets::channel",
    ];
    is_one_line_with(&lines.take(), &said);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_not_a_string_is_told() {
    let lines = Lines::down_to(Level::INFO);
    let mut client = Client::connect(&Lab::new().sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1",7,"phx_join",{}]
            < [null,"1",7,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
            "#,
        )
        .await;
    is_one_line_with(&lines.take(), &["INFO", "its topic is not a string"]);
}

/// A message over the limit, sent whole, and the code that answers it.
async fn send_too_big(config: SocketsConfig) -> u16 {
    send(config, Message::text("x".repeat(2_000))).await
}

/// A message, and the code that answers it.
async fn send(config: SocketsConfig, message: Message) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = mounted(config);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let stream = TcpStream::connect(address).await.unwrap();
    let url = "ws://127.0.0.1/socket/websocket?user=anna&vsn=2.0.0";
    let (mut client, _) = client_async(url, stream).await.unwrap();
    client.send(message).await.unwrap();
    let answer = client.next().await;
    serving.abort();
    match answer {
        Some(Ok(Message::Close(Some(close)))) => close.code.into(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_too_big_is_told_which_limit_to_raise() {
    let mut config = SocketsConfig::default();
    config.http.websocket.max_message_bytes = 1_000;
    let lines = Lines::collect();
    let code = send_too_big(config.clone()).await;
    assert_eq!(
        code,
        u16::from(tungstenite::protocol::frame::coding::CloseCode::Size)
    );
    let cure = "raise WebSocketConfig::max_message_bytes";
    is_one_line_with(&lines.take(), &["WARN", cure]);

    // As the line says; the text itself is no message.
    config.http.websocket.max_message_bytes = 3_000;
    assert_eq!(send_too_big(config).await, 1011);
}

#[tokio::test]
async fn a_breach_of_the_protocol_is_told_and_what_was_sent_is_not() {
    let frame = |code: OpCode| Message::Frame(RawFrame::message(&b"secret\xff"[..], code, true));
    for (message, code, what) in [
        (
            frame(OpCode::Data(Data::Text)),
            1007,
            ["text that is not UTF-8", "bytes go into binary frames"],
        ),
        (
            frame(OpCode::Data(Data::Continue)),
            1002,
            ["its client broke the protocol of its carrier", "problem="],
        ),
    ] {
        let lines = Lines::down_to(Level::INFO);
        assert_eq!(send(SocketsConfig::default(), message).await, code);
        let lines = lines.take();
        is_one_line_with(&lines, &what);
        assert!(lines[0].starts_with("INFO"), "{lines:?}");
        assert!(!lines[0].contains("secret"), "{lines:?}");
    }
}

/// A long-poll session of that version, and what it answers to such a post.
async fn post(vsn: &str, content_type: &str, body: Vec<u8>) -> (StatusCode, Vec<String>) {
    let lab = Lab::new();
    let polling = LongPolling::new(&lab.pubsub).unwrap();
    let mut config = SocketsConfig::default();
    config.http = HttpConfig::default().with_long_polling(&polling);
    let mut router = Router::new().nest_service("/socket", lab.sockets_with(config));
    let open = Request::get(format!("/socket/longpoll?user=anna&vsn={vsn}"));
    let opened = router
        .call(open.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let opened = axum::body::to_bytes(opened.into_body(), 10_000)
        .await
        .unwrap();
    let opened: serde_json::Value = serde_json::from_slice(&opened).unwrap();
    let post = Request::post(format!(
        "/socket/longpoll?vsn={vsn}&token={}",
        opened["token"].as_str().unwrap()
    ));
    let post = post.header("content-type", content_type);
    ask(&mut router, post.body(Body::from(body)).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn a_post_too_big_is_told_which_limit_to_raise() {
    let (status, lines) = post("2.0.0", "text/plain", vec![b'x'; 8_000_001]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    is_one_line_with(
        &lines,
        &[
            "WARN",
            "LongPollConfig::max_body_bytes and body_timeout are the limits",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_version_1_is_told_how_its_messages_are_posted() {
    let message = br#"{"topic":"lab:a","event":"phx_join","payload":{},"ref":"1"}"#;
    let (status, lines) = post("1.0.0", "application/x-ndjson", message.to_vec()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    is_one_line_with(&lines, &["WARN", "line 1", "as application/json"]);
}

/// Of a channel whose events are a type; the same for every other misfit is beside that type.
#[tokio::test(start_paused = true)]
async fn a_misspelt_event_is_told_those_that_there_are() {
    let lines = Lines::collect();
    let mut client = Client::connect(&crate::typed::sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > ["1","1","room:1","phx_join",{"user":"anna"}]
            < ["1","1","room:1","phx_reply",{"status":"ok","response":{}}]
            > ["1","2","room:1","newMsg",{"body":"hi"}]
            < ["1","1","room:1","phx_error",{"reason":"channel_crash"}]
            "#,
        )
        .await;
    is_one_line_with(&lines.take(), &["WARN", "room:1", "new_msg, typing"]);
}

/// Such as an id that holds a whole token.
#[tokio::test]
async fn an_id_that_is_no_topic_is_refused_with_one_line_a_second() {
    let sockets = Sockets::new(&PubSub::local(), ())
        .on_connect(async |_, _| Ok(Connected::new().id("x".repeat(70_000))));
    let service = MemoryService::new(sockets);
    let lines = Lines::collect();
    for _client in 0..3 {
        let info = ConnectInfo::new("memory", Params::parse("vsn=2.0.0").unwrap()).unwrap();
        let refused = service.connect(info).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    is_one_line_with(&lines.take(), &["WARN", "its id is no topic"]);
}

#[test]
fn more_channels_than_joins_at_once_are_told_at_the_start() {
    let config = |config| {
        let lines = Lines::collect();
        drop(Lab::new().sockets_with(config));
        lines.take()
    };
    let default = SocketsConfig::default;
    let lines = config(default().with_max_channels(201));
    let parts = [
        "WARN",
        "raise joins",
        "max_channels=201",
        "joins_at_once=200",
    ];
    is_one_line_with(&lines, &parts);
    let joins = Rate::new(50, 201);
    for fits in [
        default().with_max_channels(200),
        default().with_max_channels(201).with_joins(joins),
        default().with_max_channels(1_000_000).with_joins(None),
    ] {
        assert_eq!(config(fits), [""; 0]);
    }
}
