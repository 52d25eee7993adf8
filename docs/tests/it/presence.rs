//! The chapter on presence: its settings, as they stand there, and what clients see of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use matryoshka_presence::channel::{Channel, Refused, Reply, Socket, Sockets, pubsub::PubSub};
use matryoshka_presence::{
    Change, Fetch, HandleMetas, Meta, Mode, Presence, PresenceConfig, TopicConfig,
};
use serde::{Deserialize, Serialize};

use matryoshka_presence::channel::testing::{TestChannel, TestSockets, Value, advance, json};
use matryoshka_presence::channel::{assert_push, refute_push};

use crate::program::assert_shows;

const CHAPTER: &str = include_str!("../../src/presence.md");
const HERE: &str = include_str!("presence.rs");

#[derive(Deserialize)]
struct Room {
    user: String,
}

#[derive(Serialize)]
struct About {
    status: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Away,
}

struct Member {
    presence: Presence,
    user: String,
}

impl Channel<Presence> for Member {
    type Params = Room;
    type Event = Event;

    async fn join(presence: &Presence, socket: &mut Socket, room: Room) -> Result<Self, Refused> {
        let about = About { status: "online" };
        presence.track_after_join(socket, &room.user, &about)?;
        Ok(Self {
            presence: presence.clone(),
            user: room.user,
        })
    }

    async fn handle_in(&mut self, socket: &mut Socket, Event::Away: Event) -> Reply {
        let about = About { status: "away" };
        match self.presence.update(socket, &self.user, &about).await {
            Ok(_) => Reply::ok_empty(),
            Err(_) => Refused::because("not on the list").into(),
        }
    }
}

struct Watcher;

impl Channel<Presence> for Watcher {
    type Params = ();
    type Event = Event;

    async fn join(presence: &Presence, socket: &mut Socket, (): ()) -> Result<Self, Refused> {
        presence.push_state_after_join(socket);
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, _: Event) -> Reply {
        Reply::none()
    }
}

struct Names;

#[derive(Serialize)]
struct Named {
    name: String,
}

impl Fetch for Names {
    type Extra = Named;
    type Error = std::io::Error;

    async fn fetch(
        &self,
        _topic: &str,
        keys: &[Arc<str>],
    ) -> std::io::Result<HashMap<Arc<str>, Named>> {
        // One query for all of them.
        let name = |key: &str| format!("{}!", key.to_uppercase());
        let named = |key: &Arc<str>| (Arc::clone(key), Named { name: name(key) });
        Ok(keys.iter().map(named).collect())
    }
}

#[derive(Clone, Default)]
struct LastSeen(Arc<Mutex<Vec<String>>>);

impl HandleMetas for LastSeen {
    async fn on_leave(&mut self, change: &Change<'_>, _left: &[Meta]) {
        // Not if another device of theirs is still here.
        if change.metas().is_empty() {
            let gone = format!("{} has left {}", change.key(), change.topic());
            self.0.lock().unwrap().push(gone);
        }
    }
}

fn config(last_seen: &LastSeen) -> PresenceConfig {
    PresenceConfig::default()
        .with_topics("stadium:*", TopicConfig::default().with_mode(Mode::Count))
        .with_topics("hall:*", TopicConfig::default().with_mode(Mode::Window(2)))
        .with_topics(
            "room:*",
            TopicConfig::default().with_drop_grace(Duration::from_secs(5)),
        )
        .with_fetch(Names)
        .with_handler(last_seen.clone())
}

struct Test {
    sockets: TestSockets<Presence>,
    presence: Presence,
    last_seen: LastSeen,
}

impl Test {
    fn new() -> Self {
        let (pubsub, last_seen) = (PubSub::local(), LastSeen::default());
        let presence = Presence::start(&pubsub, config(&last_seen)).unwrap();
        let sockets = Sockets::new(&pubsub, presence.clone())
            .channel::<Watcher>("room:watched")
            .channel::<Member>("room:*")
            .channel::<Member>("hall:*")
            .channel::<Member>("stadium:*");
        Self {
            sockets: TestSockets::new(sockets),
            presence,
            last_seen,
        }
    }

    /// A client of its own for this user; a second later all is told.
    async fn join(&self, topic: &str, user: &str) -> TestChannel {
        let socket = self.sockets.connect(json!({})).await.unwrap();
        let joined = socket.join(topic, json!({ "user": user })).await.unwrap();
        advance(Duration::from_secs(1)).await;
        joined
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_the_list_with_names_and_then_each_change() {
    let test = Test::new();
    let anna = test.join("room:1", "anna").await;
    let list = assert_push!(anna, "presence_state");
    assert_eq!(list["anna"]["name"], "ANNA!");
    assert_eq!(list["anna"]["metas"][0]["status"], "online");
    let own = assert_push!(anna, "presence_diff");
    assert_eq!(own["joins"], list);

    let ben = test.join("room:1", "ben").await;
    let joined = assert_push!(anna, "presence_diff");
    assert_eq!(joined["joins"]["ben"]["name"], "BEN!");
    ben.push("away", json!({})).await;
    advance(Duration::from_secs(1)).await;
    let changed = assert_push!(anna, "presence_diff");
    assert_eq!(changed["leaves"]["ben"]["metas"][0]["status"], "online");
    let away = &changed["joins"]["ben"]["metas"][0];
    assert_eq!(away["status"], "away");
    assert_eq!(
        away["phx_ref_prev"],
        changed["leaves"]["ben"]["metas"][0]["phx_ref"]
    );
}

#[tokio::test(start_paused = true)]
async fn who_only_watches_is_on_no_list() {
    let test = Test::new();
    let watcher = test.join("room:watched", "").await;
    assert_push!(watcher, "presence_state", {});
    assert!(test.presence.list("room:watched").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stadium_counts_and_a_hall_shows_the_first() {
    let test = Test::new();
    let first = test.join("stadium:1", "anna").await;
    let _second = test.join("stadium:1", "ben").await;
    assert_push!(first, "presence_count", { "count": 2, "metas": 2 });
    refute_push!(first, "presence_state");
    refute_push!(first, "presence_diff");

    for user in ["anna", "ben"] {
        std::mem::forget(test.join("hall:1", user).await);
    }
    let cem = test.join("hall:1", "cem").await;
    let list: Value = assert_push!(cem, "presence_state");
    let keys: Vec<&String> = list.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["anna", "ben"]);
    assert_push!(cem, "presence_count", { "count": 3, "metas": 3 });
}

#[tokio::test(start_paused = true)]
async fn a_short_drop_is_seen_by_nobody_and_a_leave_by_all() {
    let test = Test::new();
    let anna = test.join("room:1", "anna").await;
    let ben = test.join("room:1", "ben").await;
    for _ in 0..2 {
        assert_push!(anna, "presence_diff");
    }
    ben.socket().close().await;
    advance(Duration::from_secs(4)).await;
    refute_push!(anna, "presence_diff");
    let ben = test.join("room:1", "ben").await;
    let back = assert_push!(anna, "presence_diff");
    assert!(back["joins"]["ben"].is_object() && back["leaves"]["ben"].is_object());
    assert!(test.last_seen.0.lock().unwrap().is_empty());

    ben.leave().await;
    advance(Duration::from_secs(1)).await;
    let left = assert_push!(anna, "presence_diff");
    assert_eq!(left["joins"], json!({}));
    assert_eq!(*test.last_seen.0.lock().unwrap(), ["ben has left room:1"]);
}

#[test]
fn the_chapter_shows_what_stands_here() {
    assert_shows(CHAPTER, 4, &[HERE]);
}
