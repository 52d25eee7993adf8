//! What a mount says beside who serves it: paths, proxies, subprotocols, tokens, and what it tells of a request.

use std::{future::ready, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, middleware::map_request};
use http_body_util::{BodyExt, Full};
use matryoshka_transport::{
    AuthToken, ConnectInfo, ConnectionLimits, Connections, HttpConfig, HttpService, LongPolling,
    OriginPolicy, OriginalUri, PeerAddr, Reveal, Serializers, TrustedProxies,
    bytes::Bytes,
    http::{HeaderMap, Request, StatusCode, uri::Scheme},
    pubsub::PubSub,
};
use serde_json::Value;
use tower::Service;

use crate::{lab::Lab, log::Lines};

const PROXY: &str = "10.0.0.1:443";
const PROXY_NETWORK: &str = "10.0.0.0/8";

/// A service that is asked without a network.
struct Mount {
    lab: Lab,
    service: HttpService<Lab>,
}

impl Mount {
    fn new(config: HttpConfig) -> Self {
        let polling = LongPolling::new(&PubSub::local()).unwrap();
        let lab = Lab::new();
        let config = config.with_long_polling(&polling);
        Self {
            service: HttpService::with_config(lab.clone(), config),
            lab,
        }
    }

    async fn ask(
        &self,
        uri: &str,
        headers: &[(&str, &str)],
        peer: &str,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Full::<Bytes>::default()).unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(PeerAddr(peer));
        let (parts, body) = self
            .service
            .clone()
            .call(request)
            .await
            .unwrap()
            .into_parts();
        (
            parts.status,
            parts.headers,
            body.collect().await.unwrap().to_bytes(),
        )
    }

    /// Upgrades as far as the answer; with these headers beside those of every upgrade.
    async fn upgrade(&self, uri: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap) {
        let mut all = vec![
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        all.extend(headers);
        let (status, headers, _) = self.ask(uri, &all, PROXY).await;
        (status, headers)
    }

    /// What the handler was told of the client that came last.
    async fn info(&self) -> ConnectInfo {
        self.lab.connected().await.0
    }

    async fn poll(&self, uri: &str, headers: &[(&str, &str)], peer: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.ask(uri, headers, peer).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

fn spoken(headers: &HeaderMap) -> Option<&str> {
    headers
        .get("sec-websocket-protocol")
        .map(|spoken| spoken.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_mount_refuses_a_version_that_it_leaves_out_as_one_that_is_unknown() {
    let serializers = Serializers::default().without_v1();
    let mount = Mount::new(HttpConfig::default().with_serializers(serializers));
    let lines = Lines::collect();
    for query in ["vsn=1.0.0", "", "vsn=3.0.0"] {
        let (status, ..) = mount.ask(&format!("/websocket?{query}"), &[], PROXY).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{query}");
        let (status, _, body) = mount.ask(&format!("/longpoll?{query}"), &[], PROXY).await;
        assert_eq!(
            (status, &body[..]),
            (StatusCode::OK, &b"{\"status\":403}"[..])
        );
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    mount.ask("/websocket", &[], PROXY).await;
    let lines = lines.take();
    let cure = "its vsn is unknown, ask for 2.0.0 ";
    assert!(lines.iter().all(|line| line.contains(cure)), "{lines:#?}");
    let left_out = ["left_out=0", "left_out=5"];
    assert!(
        lines
            .iter()
            .map(|line| left_out.iter().position(|it| line.contains(it)))
            .eq([Some(0), Some(1)])
    );
    let (_, _, opened) = mount.ask("/longpoll?vsn=2.0.0", &[], PROXY).await;
    let opened: Value = serde_json::from_slice(&opened).unwrap();
    assert_eq!(opened["status"], 410);
    assert_eq!(mount.lab.connected().await.0.serializer.vsn(), "2.0.0");
}

#[tokio::test]
async fn paths_may_have_variables_on_both_carriers_and_they_win_over_the_query() {
    let config = HttpConfig::default()
        .with_mount("/custom/:socket_var/:_skipped")
        .with_websocket_path("nested/:path_var/ws")
        .with_longpoll_path("nested/:path_var/lp");
    let mount = Mount::new(config);
    for (uri, transport) in [
        (
            "/custom/a/b/nested/c%20d/ws?socket_var=query&user=al",
            "websocket",
        ),
        (
            "/custom/a/b/nested/c%20d/lp/?socket_var=query&user=al",
            "longpoll",
        ),
    ] {
        mount.upgrade(uri, &[]).await;
        let info = mount.info().await;
        assert_eq!(info.transport, transport);
        let params =
            ["socket_var", "path_var", "user", "_skipped"].map(|name| info.params.get(name));
        assert_eq!(params, [Some("a"), Some("c d"), Some("al"), None]);
    }
    for uri in [
        "/custom/a/nested/c/ws",
        "/custom/a/b/nested/c/websocket",
        "/websocket",
    ] {
        assert_eq!(
            mount.upgrade(uri, &[]).await.0,
            StatusCode::NOT_FOUND,
            "{uri}"
        );
    }
    let (_, _, body) = mount.ask("/socket", &[], PROXY).await;
    assert!(
        String::from_utf8_lossy(&body).contains("/websocket"),
        "it says what to ask for"
    );
}

#[tokio::test]
async fn row_5_subprotocols_are_agreed_on_or_the_client_is_refused() {
    let mount = Mount::new(HttpConfig::default().with_subprotocols(["sip", "xmpp"]));
    let offer = async |offered: &'static str| {
        let (status, headers) = mount
            .upgrade("/websocket", &[("sec-websocket-protocol", offered)])
            .await;
        (status.as_u16(), spoken(&headers).map(str::to_owned))
    };
    assert_eq!(offer("sip").await, (101, Some("sip".into())));
    assert_eq!(offer("xmpp, sip").await, (101, Some("sip".into())));
    assert_eq!(offer("mqtt").await, (403, None));
    let (status, headers) = mount.upgrade("/websocket", &[]).await;
    assert_eq!((status.as_u16(), spoken(&headers)), (101, None));

    let mount = Mount::new(HttpConfig::default());
    let offer = [(
        "sec-websocket-protocol",
        "phoenix, base64url.bearer.phx.MTIzNA",
    )];
    let (status, headers) = mount.upgrade("/websocket", &offer).await;
    assert_eq!(
        (status.as_u16(), spoken(&headers)),
        (101, None),
        "nothing is asked for here"
    );
    assert_eq!(mount.info().await.auth_token, None);
}

#[tokio::test]
async fn row_4_an_auth_token_comes_as_a_subprotocol_or_in_a_header() {
    let mount = Mount::new(HttpConfig::default().with_auth_token());
    let token = Some(AuthToken::new("1234"));
    let offer = [(
        "sec-websocket-protocol",
        "phoenix, base64url.bearer.phx.MTIzNA",
    )];
    let (status, headers) = mount.upgrade("/websocket?vsn=2.0.0", &offer).await;
    assert_eq!((status.as_u16(), spoken(&headers)), (101, Some("phoenix")));
    let info = mount.info().await;
    assert_eq!(info.auth_token, token);
    assert!(!format!("{info:?}").contains("1234"), "{info:?}");

    let (status, _) = mount.upgrade("/websocket", &[]).await;
    assert_eq!(status.as_u16(), 101, "no token is no refusal");
    assert_eq!(mount.info().await.auth_token, None);
    let bad = [("sec-websocket-protocol", "phoenix, base64url.bearer.phx.!!")];
    assert_eq!(
        mount.upgrade("/websocket", &bad).await.0,
        StatusCode::FORBIDDEN
    );

    let header = [
        ("x-phoenix-authtoken", "1234"),
        ("authorization", "Bearer 5678"),
    ];
    let (_, body) = mount.poll("/longpoll?vsn=2.0.0", &header, PROXY).await;
    assert_eq!(body["status"], 410);
    assert_eq!(mount.info().await.auth_token, token);
    mount
        .poll("/longpoll", &[("authorization", "Bearer 5678")], PROXY)
        .await;
    assert_eq!(mount.info().await.auth_token, None);

    let closed = Mount::new(HttpConfig::default());
    closed.poll("/longpoll", &header, PROXY).await;
    assert_eq!(closed.info().await.auth_token, None, "only where asked for");
}

/// Behind a proxy that ends TLS, on both carriers.
#[tokio::test]
async fn the_same_origin_is_that_of_the_page_where_a_trusted_proxy_says_its_scheme() {
    let page = |scheme| {
        [
            ("host", "chat.example"),
            ("origin", "https://chat.example"),
            ("x-forwarded-proto", scheme),
        ]
    };
    let same = || HttpConfig::default().with_origins(OriginPolicy::same_origin());
    let proxies = TrustedProxies::by_x_forwarded_for([PROXY_NETWORK]).unwrap();
    let trusting = Mount::new(same().with_trusted_proxies(proxies));
    for (scheme, status) in [("https", 101), ("http", 403)] {
        let (answered, _) = trusting.upgrade("/websocket", &page(scheme)).await;
        assert_eq!(answered.as_u16(), status, "{scheme}");
    }
    let (_, polled) = trusting.poll("/longpoll", &page("https"), PROXY).await;
    assert_eq!(polled["status"], 410, "a new session");
    let (_, polled) = trusting.poll("/longpoll", &page("http"), PROXY).await;
    assert_eq!(polled["status"], 403);
    let (_, polled) = trusting
        .poll("/longpoll", &page("https"), "9.9.9.9:1")
        .await;
    assert_eq!(polled["status"], 403, "no proxy of ours");

    let (answered, _) = Mount::new(same())
        .upgrade("/websocket", &page("https"))
        .await;
    assert_eq!(answered.as_u16(), 403, "nobody is trusted");
    let named = OriginPolicy::same_origin_over(Scheme::HTTPS);
    let named = Mount::new(HttpConfig::default().with_origins(named));
    let (answered, _) = named.upgrade("/websocket", &page("http")).await;
    assert_eq!(answered.as_u16(), 101);
}

#[tokio::test]
async fn a_session_is_told_of_its_request_what_the_mount_reveals() {
    let headers = [
        ("user-agent", "Lab/1"),
        ("cookie", "id=1"),
        ("traceparent", "00-1"),
        ("x-one", "1"),
    ];
    let silent = Mount::new(HttpConfig::default());
    silent.upgrade("/websocket?user=al", &headers).await;
    let info = silent.info().await;
    assert_eq!(info.peer_addr, None);
    assert!(info.request.uri.is_none() && info.request.user_agent.is_none());
    assert!(info.request.x_headers.is_empty() && info.request.trace_context.is_empty());

    let all = Reveal::nothing()
        .with_peer_addr()
        .with_uri()
        .with_user_agent()
        .with_trace_context()
        .with_x_headers()
        .with_websocket_headers();
    let open = Mount::new(HttpConfig::default().with_reveal(all));
    for path in ["/websocket?user=al", "/longpoll?user=al"] {
        open.upgrade(path, &headers).await;
        let info = open.info().await;
        assert_eq!(info.peer_addr, Some(PROXY.parse().unwrap()));
        let request = info.request;
        assert_eq!(request.uri.unwrap().to_string(), path);
        assert_eq!(request.user_agent.as_deref(), Some("Lab/1"));
        assert_eq!(request.trace_context["traceparent"], "00-1");
        assert_eq!(request.x_headers["x-one"], "1");
        assert_eq!(request.websocket_headers["sec-websocket-version"], "13");
        assert!(!request.x_headers.contains_key("cookie"));
    }
}

/// As Phoenix's `uri` of `connect_info`.
#[tokio::test]
async fn a_session_is_told_the_whole_uri_as_far_as_the_request_tells_it() {
    let proxies = TrustedProxies::by_x_forwarded_for([PROXY_NETWORK]).unwrap();
    let config = || HttpConfig::default().with_reveal(Reveal::nothing().with_uri());
    let plain = Mount::new(config().with_trusted_proxies(proxies.clone()));
    let told = async |mount: &Mount, path: &str, headers: &[(&str, &str)], peer: &str| {
        let mut all = vec![("host", "chat.example.com:4000")];
        all.extend(headers);
        mount.poll(path, &all, peer).await;
        mount.info().await.request.uri.unwrap().to_string()
    };
    let path = "/longpoll?user=al&x=%20";
    let over_tls = [("x-forwarded-proto", "https")];
    let stranger = "9.9.9.9:1";
    assert_eq!(
        told(&plain, path, &[], PROXY).await,
        "http://chat.example.com:4000/longpoll?user=al&x=%20"
    );
    assert_eq!(
        told(&plain, path, &over_tls, PROXY).await,
        "https://chat.example.com:4000/longpoll?user=al&x=%20"
    );
    assert!(
        told(&plain, path, &over_tls, stranger)
            .await
            .starts_with("http://")
    );
    let named = OriginPolicy::same_origin_over(Scheme::HTTPS);
    let named = Mount::new(config().with_origins(named).with_mount("/a/socket"));
    assert_eq!(
        told(&named, "/a/socket/longpoll", &[], PROXY).await,
        "https://chat.example.com:4000/a/socket/longpoll"
    );
    // As HTTP/2 has it, which wins over the header.
    assert_eq!(
        told(&plain, "https://[::1]/longpoll", &[], stranger).await,
        "https://[::1]/longpoll"
    );

    for headers in [vec![], vec![("host", "al@example.com")], vec![("host", "")]] {
        plain.poll(path, &headers, PROXY).await;
        let uri = plain.info().await.request.uri.unwrap();
        assert_eq!(uri.to_string(), path, "{headers:?}");
    }
}

#[tokio::test]
async fn what_a_router_has_taken_off_is_in_the_uri_where_the_server_tells_it() {
    let config = HttpConfig::default().with_reveal(Reveal::nothing().with_uri());
    let mount = Mount::new(config);
    let router = Router::new().nest_service("/socket", mount.service.clone());
    let keep = |mut request: Request<Body>| {
        let uri = request.uri().clone();
        request.extensions_mut().insert(OriginalUri(uri));
        ready(request)
    };
    for (mut router, expected) in [
        (router.clone(), "http://h/longpoll?user=al"),
        (
            router.layer(map_request(keep)),
            "http://h/socket/longpoll?user=al",
        ),
    ] {
        let request = Request::get("/socket/longpoll?user=al").header("host", "h");
        let request = request.body(Body::empty()).unwrap();
        let answer = Service::<Request<Body>>::call(&mut router, request).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        let uri = mount.info().await.request.uri.unwrap();
        assert_eq!(uri.to_string(), expected);
    }
}

#[tokio::test]
async fn a_clients_address_is_what_a_trusted_proxy_says_and_counts_for_the_limit() {
    let most = ConnectionLimits::default().with_max_per_address(Some(2));
    let proxies = TrustedProxies::by_x_forwarded_for([PROXY_NETWORK]).unwrap();
    let config = HttpConfig::default()
        .with_trusted_proxies(proxies)
        .with_reveal(Reveal::nothing().with_peer_addr())
        .with_connections(&Connections::with_limits(most));
    let mount = Mount::new(config);
    let come = async |claim: &str, peer: &str| {
        let (status, _) = mount
            .poll("/longpoll", &[("x-forwarded-for", claim)], peer)
            .await;
        status.as_u16()
    };
    assert_eq!(come("1.2.3.4", PROXY).await, 200);
    let address = mount.info().await.peer_addr.unwrap();
    assert_eq!(address.to_string(), "1.2.3.4:0");
    assert_eq!(come("6.6.6.6, 1.2.3.4", PROXY).await, 200);
    assert_eq!(mount.info().await.peer_addr, Some(address));
    // What it claims to be does not help a client past its limit, nor does it cost anybody else.
    for claim in [
        "127.0.0.1, 1.2.3.4",
        "10.9.9.9, 1.2.3.4",
        "nonsense,1.2.3.4",
    ] {
        assert_eq!(come(claim, PROXY).await, 429, "{claim}");
    }
    assert_eq!(come("5.6.7.8", PROXY).await, 200);
    mount.info().await;
    for _ in 0..2 {
        assert_eq!(
            come("5.6.7.8", "9.9.9.9:1").await,
            200,
            "a stranger is where it is"
        );
        assert_eq!(
            mount.info().await.peer_addr.unwrap().to_string(),
            "9.9.9.9:1"
        );
    }
    assert_eq!(come("127.0.0.1", "9.9.9.9:2").await, 429);
}

#[tokio::test]
async fn an_address_that_no_handler_is_told_counts_for_the_limit_all_the_same() {
    let most = ConnectionLimits::default().with_max_per_address(Some(1));
    let connections = Connections::with_limits(most);
    let mount = Mount::new(HttpConfig::default().with_connections(&connections));
    let come = async || mount.poll("/longpoll", &[], "9.9.9.9:1").await.0.as_u16();
    assert_eq!(come().await, 200);
    assert_eq!(mount.info().await.peer_addr, None);
    assert_eq!(come().await, 429);
}
