//! The page for those who come from Phoenix: its channel runs, and every name of ours on it exists.

use std::collections::BTreeSet;

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::testing::{TestSockets, json};
use matryoshka_presence::channel::{
    Broadcast, Channel, Flow, Refused, Reply, Socket, Sockets, assert_push, assert_reply,
    refute_push,
};
use serde::Deserialize;

use crate::sources::sources;

use crate::program::rust_blocks;

const PAGE: &str = include_str!("../../src/coming-from-phoenix.md");
const HERE: &str = include_str!("phoenix.rs");

struct Room {
    user: String,
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    NewMsg { body: String },
}

impl Channel<()> for Room {
    type Params = Login;
    type Event = Event;
    const INTERCEPT: &'static [&'static str] = &["secret"];

    async fn join(_: &(), socket: &mut Socket, login: Login) -> Result<Self, Refused> {
        socket.after_join(|socket| Box::pin(async { socket.push("welcome", &()).into() }));
        Ok(Room { user: login.user })
    }

    async fn handle_in(&mut self, socket: &mut Socket, Event::NewMsg { body }: Event) -> Reply {
        let said = json!({ "user": self.user, "body": body });
        socket.broadcast("new_msg", &said).into()
    }

    async fn handle_out(&mut self, _: &mut Socket, _secret: Broadcast) -> Flow {
        Flow::Continue
    }
}

#[tokio::test(start_paused = true)]
async fn the_pages_channel_does_what_its_elixir_says() {
    let test = TestSockets::new(Sockets::new(&PubSub::local(), ()).channel::<Room>("room:*"));
    let socket = test.connect(json!({})).await.unwrap();
    let room = socket.join("room:1", json!({ "user": "anna" })).await;
    let room = room.unwrap();
    assert_push!(room, "welcome", {});
    let said = room.push("new_msg", json!({ "body": "hi" })).await;
    assert_reply!(said, ok, {});
    assert_push!(room, "new_msg", { "user": "anna", "body": "hi" });
    let secret = Broadcast::new("room:1", "secret", &()).unwrap();
    secret.send(test.pubsub()).unwrap();
    refute_push!(room);
}

#[test]
fn the_page_shows_what_stands_here() {
    for block in rust_blocks(PAGE) {
        assert!(HERE.contains(block), "not in this file:\n{block}");
    }
}

/// What stands on the page beside names of ours: other people's names, and the example's own.
const OTHERS: [&str; 16] = [
    "Router",
    "nest_service",
    "Result",
    "Self",
    "unwrap",
    "async",
    "oneshot", // of Rust and its crates
    "phx_close",
    "presence_state",
    "secret_key_base",
    "password", // of Phoenix
    "Room",
    "User",
    "app",
    "util",
    "test",
];

/// The names in the right-hand column: the words of what stands there as code, strings left out.
fn our_names() -> BTreeSet<&'static str> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "));
    let codes = cells.flat_map(|(_, ours)| ours.split('`').skip(1).step_by(2));
    let outside_strings = codes.flat_map(|code| code.split('"').step_by(2));
    let is_part = |sign: char| sign.is_alphanumeric() || "_!".contains(sign);
    outside_strings
        .flat_map(|code| code.split(move |sign| !is_part(sign)))
        .filter(|name| name.len() > 2 && !OTHERS.contains(name))
        .collect()
}

fn is_declared(name: &str, sources: &str) -> bool {
    if let Some(name) = name.strip_suffix('!') {
        return sources.contains(&format!("macro_rules! {name} "));
    }
    let items = [
        "fn ",
        "struct ",
        "enum ",
        "trait ",
        "const ",
        "mod ",
        "pub use matryoshka_",
    ];
    let item = |item: &str| sources.contains(&format!("{item}{name}"));
    let field = format!("pub {name}:");
    let variant = |sign: char| sources.contains(&format!("\n    {name}{sign}"));
    items.iter().any(|it| item(it)) || sources.contains(&field) || variant(',') || variant('(')
}

#[test]
fn every_name_of_ours_exists() {
    let (sources, names) = (sources(&["crates"]), our_names());
    assert!(names.len() > 120, "{} names", names.len());
    let unknown: Vec<_> = names
        .into_iter()
        .filter(|name| !is_declared(name, &sources))
        .collect();
    assert_eq!(unknown, [""; 0], "these are declared nowhere");
}

/// What somebody who comes from Phoenix 1.8 would look for: each public function, callback, option and field of the parts that are rebuilt here, and
/// the events of its telemetry.
const THEIRS: &[&str] = &[
    // Phoenix.Channel
    "join/3",
    "handle_in/3",
    "handle_out/3",
    "handle_info/2",
    "handle_call/3",
    "handle_cast/2",
    "terminate/2",
    "code_change/3",
    "broadcast/3",
    "broadcast!/3",
    "broadcast_from/3",
    "broadcast_from!/3",
    "push/3",
    "reply/2",
    "socket_ref/1",
    "intercept",
    "log_join",
    "log_handle_in",
    "hibernate_after",
    "restart:",
    "shutdown:",
    "{:noreply, socket, timeout}",
    "{:stop, reason, socket}",
    "{:stop, reason, reply, socket}",
    // Phoenix.Socket
    "connect/2",
    "connect/3",
    "id/1",
    "channel \"room:*\"",
    "assigns:",
    "assign/2",
    "assign/3",
    "socket.assigns",
    "socket.channel",
    "socket.channel_pid",
    "socket.endpoint",
    "socket.handler",
    "socket.id",
    "socket.joined",
    "socket.join_ref",
    "socket.private",
    "socket.pubsub_server",
    "socket.ref",
    "socket.serializer",
    "socket.topic",
    "socket.transport",
    "socket.transport_pid",
    "log:",
    "InvalidMessageError",
    "Phoenix.Socket.Message",
    "Reply",
    "Broadcast",
    // the options of `socket` in an endpoint
    "socket \"/socket\"",
    "path:",
    "serializer",
    "error_handler",
    "transport_log",
    "timeout",
    "check_origin",
    "check_csrf",
    "code_reloader",
    "connect_info",
    ":peer_data",
    ":uri",
    ":user_agent",
    ":x_headers",
    ":trace_context_headers",
    ":sec_websocket_headers",
    ":session",
    "csrf_token_key",
    "auth_token",
    "subprotocols",
    "compress",
    "fullsweep_after",
    "max_frame_size",
    "validate_utf8",
    "early_validate_upgrade",
    "window_ms",
    "pubsub_timeout_ms",
    "crypto",
    "drainer",
    "batch_size",
    "batch_interval",
    // Phoenix.Socket.Transport, Phoenix.Socket.Serializer
    "connect/1",
    "init/1",
    "handle_in/2",
    "handle_control/2",
    "child_spec/1",
    "drainer_spec/1",
    "check_origin/5",
    "check_subprotocols",
    "code_reload/3",
    "connect_info/3",
    "transport_log/2",
    "fastlane!/1",
    "encode!/1",
    "decode!/2",
    // Phoenix.Endpoint
    "Endpoint.broadcast/3",
    "Endpoint.broadcast!/3",
    "Endpoint.broadcast_from/4",
    "Endpoint.broadcast_from!/4",
    "Endpoint.local_broadcast/3",
    "Endpoint.subscribe/1",
    "unsubscribe/1",
    // Phoenix.Token
    "sign/4",
    "verify/4",
    "encrypt/4",
    "decrypt/4",
    "max_age",
    ":infinity",
    "signed_at",
    "key_iterations",
    "key_length",
    "key_digest",
    ":expired",
    ":invalid",
    ":missing",
    // Phoenix.PubSub and its adapters
    "subscribe/2",
    "unsubscribe/2",
    "metadata:",
    "local_broadcast/3",
    "direct_broadcast/4",
    "direct_broadcast!/4",
    "broadcast_from/4",
    "broadcast_from!/4",
    "local_broadcast_from/4",
    "node_name/1",
    "pool_size",
    "registry_size",
    "broadcast_pool_size",
    "adapter_name",
    "broadcast/4",
    "direct_broadcast/5",
    "PG2",
    "Redis",
    // Phoenix.Tracker
    "track/5",
    "untrack/2",
    "untrack/4",
    "update/5",
    "list/2",
    "get_by_key/3",
    "graceful_permdown/2",
    "handle_diff/2",
    "broadcast_period",
    "max_silent_periods",
    "down_period",
    "permdown_period",
    "permdown_on_shutdown",
    "clock_sample_periods",
    "max_delta_sizes",
    "log_level",
    // Phoenix.Presence
    "track/3",
    "track/4",
    "untrack/3",
    "update/3",
    "update/4",
    "list/1",
    "get_by_key/2",
    "fetch/2",
    "handle_metas/4",
    "fetchers_pids/0",
    "otp_app",
    "pubsub_server",
    "presence:",
    // Phoenix.ChannelTest
    "socket/3",
    "subscribe_and_join/3",
    "subscribe_and_join!/3",
    "leave/1",
    "close/1",
    "assert_reply",
    "assert_push",
    "assert_broadcast",
    "refute_reply",
    "refute_push",
    "refute_broadcast",
    // telemetry and logs
    ":socket_connected",
    ":socket_drain",
    ":channel_joined",
    ":channel_handled_in",
    ":filter_parameters",
];

#[test]
fn every_name_of_phoenix_is_on_the_page() {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| "));
    let theirs: String = rows.filter_map(|row| row.split(" | ").next()).collect();
    let missing: Vec<_> = THEIRS
        .iter()
        .filter(|name| !theirs.contains(**name))
        .collect();
    assert_eq!(missing, [&""; 0], "these have no row");
}
