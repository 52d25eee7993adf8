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
