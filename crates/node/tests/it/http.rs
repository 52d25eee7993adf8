//! The HTTP paths: what they answer, and how they refuse.

use matryoshka_presence::channel;
use serde_json::json;
use tokio_tungstenite::tungstenite;

use crate::client::{Client, Version, open};
use crate::process::{Folder, Node, Starting};
use crate::request::{Answer, get, post, send};

const TOPIC: &str = "room:a/b c";
const TOPIC_IN_PATH: &str = "room:a/b%20c";

/// A refusal of this status whose one line has `part` in it.
#[track_caller]
fn refused(answer: &Answer, status: u16, part: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains(part), "no {part:?} in {error:?}");
    assert_eq!(answer.body.lines().count(), 1);
}

#[tokio::test]
async fn health_cluster_and_page_facts() {
    let node = Node::start(&["--name", "solo", "--page-link", "n2=http://127.0.0.1:4001"]).await;
    assert_eq!(get(node.http, "/health/live").await.status, 200);
    assert_eq!(get(node.http, "/health/ready").await.status, 200);
    let cluster = get(node.http, "/api/cluster").await.json();
    assert_eq!(cluster, json!({"name": "solo", "peers": []}));
    let page = get(node.http, "/api/page").await.json();
    let links = json!([{"name": "n2", "url": "http://127.0.0.1:4001"}]);
    assert_eq!(page, json!({"name": "solo", "links": links}));
}

#[tokio::test]
async fn every_counter_of_sockets_channels_presence_and_its_tracker_is_in_the_metrics() {
    let node = Node::start(&[]).await;
    let page = get(node.http, "/metrics").await.body;
    let presence = format!("{:?}", matryoshka_presence::Stats::default());
    let tracker = format!("{:?}", matryoshka_presence::tracker::Stats::default());
    let channel = format!("{:?}", channel::Stats::default());
    for gauge in ["transport_outbox_items", "transport_outbox_bytes"] {
        assert!(
            page.contains(&format!("\nmatryoshka_{gauge} 0\n")),
            "{page}"
        );
    }
    let transport = format!("{:?}", channel::transport::Stats::default());
    for (part, stats) in [
        ("transport", transport),
        ("channel", channel),
        ("presence", presence),
        ("tracker", tracker),
    ] {
        let (_, fields) = stats.split_once("{ ").unwrap();
        for field in fields.split(", ") {
            let (name, value) = field.split_once(':').unwrap();
            let name = match (part, name) {
                ("transport", "open") => "connections".to_owned(),
                ("channel", "handler_time") => "channel_handler_seconds".to_owned(),
                _ => format!("{part}_{name}"),
            };
            let line = format!("# TYPE matryoshka_{name} ");
            assert!(page.contains(&line), "no {line:?} in {page}");
            if value.contains('{') {
                // The last, which has fields of its own.
                break;
            }
        }
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, "anna", Version::V2).await;
    client.join_ok("lab:a", json!({})).await;
    let answer = get(node.http, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(
        answer.body.contains("\nmatryoshka_connections 1\n"),
        "{}",
        answer.body
    );
    assert!(
        answer
            .body
            .contains("# TYPE matryoshka_pubsub_delivered counter"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_topic_in_a_path_may_hold_anything() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, "anna", Version::V2).await;
    client.join_ok(TOPIC, json!({})).await;
    client.event(TOPIC, "presence_state").await;

    for path in [TOPIC_IN_PATH, "room%3Aa%2Fb%20c"] {
        let list = get(node.http, &format!("/api/presence/{path}"))
            .await
            .json();
        assert_eq!(
            list["anna"]["metas"].as_array().map(Vec::len),
            Some(1),
            "{list}"
        );
        let answer = post(
            node.http,
            &format!("/api/broadcast/{path}/no%2Fte"),
            r#"{"n": 1}"#,
        )
        .await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(client.event(TOPIC, "no/te").await, json!({"n": 1}));
    }
    let nobody = get(node.http, "/api/presence/room:nobody").await.json();
    assert_eq!(nobody, json!({}));
}

#[tokio::test]
async fn a_broadcast_takes_a_json_object_only() {
    let node = Node::start(&[]).await;
    let path = "/api/broadcast/room:a/note";
    for body in ["", "{", "[1]", "7", "null", "\"text\"", "{} {}"] {
        refused(&post(node.http, path, body).await, 400, "object");
    }
    let not_utf8 = send(node.http, "POST", path, &[], b"{\"a\":\"\xff\"}").await;
    refused(&not_utf8, 400, "object");
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    refused(&post(node.http, path, &huge).await, 413, "bytes");
    refused(
        &post(node.http, "/api/broadcast/room:a", "{}").await,
        404,
        "/api/broadcast/",
    );
    refused(
        &post(node.http, "/api/broadcast/room:a/%ff", "{}").await,
        400,
        "UTF-8",
    );
}

#[tokio::test]
async fn disconnect_closes_every_socket_of_that_user_with_1001() {
    let node = Node::start(&[]).await;
    let first = Client::connect(&node, "anna%20b", Version::V2).await;
    let second = Client::connect(&node, "anna%20b", Version::V1).await;
    let mut other = Client::connect(&node, "ben", Version::V2).await;
    let answer = post(node.http, "/api/disconnect/anna%20b", "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(first.closed().await, 1001);
    assert_eq!(second.closed().await, 1001);
    other.join_ok("lab:a", json!({})).await;
}

#[tokio::test]
async fn strange_origins_may_neither_post_nor_connect() {
    let node = Node::start(&["--allow-origin", "https://friend.example"]).await;
    let own = format!("http://{}", node.http);
    let post_from = async |origin: &str| {
        let headers = [("origin", origin)];
        send(
            node.http,
            "POST",
            "/api/broadcast/room:a/note",
            &headers,
            b"{}",
        )
        .await
    };
    for origin in [
        own.as_str(),
        "http://localhost:9999",
        "http://[::1]:1",
        "https://friend.example",
    ] {
        assert_eq!(post_from(origin).await.status, 204, "{origin}");
    }
    for origin in ["https://evil.example", "http://friend.example", "null"] {
        refused(&post_from(origin).await, 403, "--allow-origin");
    }
    let disconnect = send(
        node.http,
        "POST",
        "/api/disconnect/anna",
        &[("origin", "https://evil.example")],
        b"",
    )
    .await;
    refused(&disconnect, 403, "--allow-origin");

    let upgrade = send(
        node.http,
        "GET",
        "/socket/websocket?user=anna&vsn=2.0.0",
        &[("origin", "https://evil.example")],
        b"",
    )
    .await;
    assert_eq!(upgrade.status, 403);
}

/// Behind a proxy that ends TLS, posts are allowed to whom sockets are.
#[tokio::test]
async fn a_post_came_by_the_scheme_that_a_trusted_proxy_names() {
    let node = Node::start(&["--same-origin", "on", "--trusted-proxy", "127.0.0.1"]).await;
    let origin = format!("https://{}", node.http);
    let post_over = async |scheme: &str| {
        let headers = [("origin", origin.as_str()), ("x-forwarded-proto", scheme)];
        let answer = send(node.http, "POST", "/api/disconnect/anna", &headers, b"");
        answer.await.status
    };
    assert_eq!(post_over("https").await, 204);
    assert_eq!(post_over("http").await, 403);
}

#[tokio::test]
async fn a_socket_that_is_looked_for_elsewhere_is_a_line_of_the_log() {
    let mut node = Node::start(&[]).await;
    let path = "/sokcet/websocket?user=anna&vsn=2.0.0";
    let answer = send(node.http, "GET", path, &[], b"").await;
    refused(&answer, 404, "/socket/websocket");
    let line = node.logged("no socket is served at this path").await;
    assert!(line.contains("\"/sokcet/websocket\""), "{line}");
}

/// As Phoenix compares paths. A client gets such a path where a host that ends with a slash is put before one that begins with one.
#[tokio::test]
async fn sockets_are_found_behind_any_number_of_slashes() {
    let node = Node::start(&[]).await;
    for path in [
        "//socket/websocket",
        "///socket//websocket/",
        "/socket//websocket",
    ] {
        let url = format!("ws://{}{path}?user=anna&vsn=2.0.0", node.http);
        open(node.http, &url)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let opened = get(node.http, "//socket/longpoll/?user=anna&vsn=2.0.0").await;
    assert_eq!(opened.json()["status"], 410, "{opened:?}");
    for path in ["//socketwebsocket", "//api/socket/websocket", "//socket"] {
        refused(&get(node.http, path).await, 404, path);
    }
}

/// A page whose name its owner has lead to this machine names the same host as its request does.
#[tokio::test]
async fn a_node_that_knows_its_host_is_not_reached_by_a_rebound_name() {
    let node = Node::start(&["--host", "chat.example"]).await;
    let post_from = async |host: &str| {
        let origin = format!("http://{host}");
        let headers = [("host", host), ("origin", origin.as_str())];
        let answer = send(node.http, "POST", "/api/disconnect/anna", &headers, b"");
        answer.await.status
    };
    assert_eq!(post_from("chat.example").await, 204);
    assert_eq!(post_from("evil.example").await, 403);
    assert_eq!(post_from("localhost").await, 403);
}

#[tokio::test]
async fn every_origin_is_allowed_by_a_star() {
    let node = Node::start(&["--allow-origin", "*"]).await;
    let headers = [("origin", "https://evil.example")];
    let answer = send(node.http, "POST", "/api/disconnect/anna", &headers, b"").await;
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn wrong_methods_and_paths_are_told_so() {
    let node = Node::start(&[]).await;
    for (method, path) in [
        ("POST", "/api/cluster"),
        ("DELETE", "/api/presence/room:a"),
        ("GET", "/api/broadcast/room:a/note"),
        ("GET", "/api/disconnect/anna"),
        ("POST", "/"),
        ("PUT", "/health/ready"),
    ] {
        let answer = send(node.http, method, path, &[], b"").await;
        refused(&answer, 405, method);
        assert_ne!(answer.header("allow"), "", "{path}");
    }
    refused(&get(node.http, "/nowhere").await, 404, "/nowhere");
    refused(
        &get(node.http, "/api/presence/").await,
        404,
        "/api/presence/",
    );
    refused(
        &post(node.http, "/api/disconnect/", "").await,
        404,
        "/api/disconnect/",
    );
    let head = send(node.http, "HEAD", "/health/ready", &[], b"").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_socket_needs_a_user_and_a_known_version() {
    let node = Node::start(&[]).await;
    let endless = format!("user={}&vsn=2.0.0", "a".repeat(201));
    for (query, cure) in [
        ("", "user=NAME"),
        ("user=&vsn=2.0.0", "user=NAME"),
        ("vsn=2.0.0", "user=NAME"),
        ("user=anna&vsn=3.0.0", ""),
        ("user[]=anna&vsn=2.0.0", "user=NAME"),
        (&endless, "at most 200"),
    ] {
        let url = format!("ws://{}/socket/websocket?{query}", node.http);
        match open(node.http, &url).await {
            Err(tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), 403, "{query}");
                let body = response.into_body().unwrap_or_default();
                let body = String::from_utf8(body).unwrap();
                assert!(body.contains(cure), "{query}: {body}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    for (query, status) in [
        ("vsn=2.0.0", 403),
        ("user=anna&vsn=3.0.0", 403),
        ("user=anna&vsn=2.0.0", 410),
    ] {
        let answer = get(node.http, &format!("/socket/longpoll?{query}")).await;
        assert_eq!(
            answer.status, 200,
            "long polling has its status in the body"
        );
        let start = format!("{{\"status\":{status}");
        assert!(answer.body.starts_with(&start), "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_page_comes_with_the_clients_files_and_strict_headers() {
    let folder = Folder::new("assets");
    folder.write("phoenix.mjs", "export class Socket {}");
    folder.write("package.json", "{}");
    let node = Node::start(&["--assets", folder.path()]).await;

    let index = get(node.http, "/").await;
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(index.header("x-content-type-options"), "nosniff");
    let policy = index.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(policy.contains(&format!("ws://{}", node.http)), "{policy}");
    assert!(index.body.contains("/chat.js"), "{}", index.body);

    assert_eq!(
        get(node.http, "/chat.css").await.header("content-type"),
        "text/css; charset=utf-8"
    );
    let script = get(node.http, "/chat.js").await;
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert!(script.body.contains("/assets/phoenix.mjs"));

    let client = get(node.http, "/assets/phoenix.mjs").await;
    assert_eq!(
        client.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(client.header("x-content-type-options"), "nosniff");
    assert_eq!(client.body, "export class Socket {}");
    for path in [
        "/assets/none.mjs",
        "/assets/package.json",
        "/assets/../phoenix.mjs",
        "/assets/..%2fphoenix.mjs",
        "/assets/%2e%2e%2fassets%2fphoenix.mjs",
        "/assets//etc/passwd",
        "/assets/",
    ] {
        assert_eq!(get(node.http, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn without_assets_the_page_says_what_to_run() {
    let node = Node::start(&[]).await;
    let index = get(node.http, "/").await;
    assert_eq!(index.status, 200);
    assert!(index.body.contains("cargo xtask demo"), "{}", index.body);
    assert_eq!(get(node.http, "/assets/phoenix.mjs").await.status, 404);
}

#[tokio::test]
async fn a_node_that_waits_for_its_first_peer_is_live_but_not_ready() {
    // A socket of our own that never answers: a peer that is not there.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let join = silent.local_addr().unwrap().to_string();
    let folder = Folder::new("waiting");
    let file = folder.write("secret", crate::process::SECRET);
    let mut starting = Starting::spawn(&[
        "--quic",
        "127.0.0.1:0",
        "--cluster-secret-file",
        &file,
        "--join",
        &join,
    ]);
    let line = starting.logged("listening").await;
    let http = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("http="))
        .unwrap_or_else(|| panic!("no http= in {line}"))
        .parse()
        .unwrap();
    assert_eq!(get(http, "/health/live").await.status, 200);
    refused(&get(http, "/health/ready").await, 503, "starting");
    let node = starting.ready().await;
    assert_eq!(get(node.http, "/health/ready").await.status, 200);
}
