//! The application's own ear.

use std::time::Duration;

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::pubsub::memory::MemoryMesh;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::{Change, HandleMetas, Meta, Mode, Presence, PresenceConfig, TopicConfig};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

const TOPIC: &str = "topic";

/// Writes down what it is told: what happened, to whom with which numbers, and who is there after it.
struct Scribe {
    notes: mpsc::UnboundedSender<String>,
    busy: Duration,
}

fn numbers(metas: &[Meta]) -> String {
    let number = |meta: &Meta| meta.get::<Value>().unwrap()["n"].to_string();
    metas.iter().map(number).collect::<Vec<_>>().join(",")
}

impl Scribe {
    async fn note(&self, what: &str, change: &Change<'_>, of: String) {
        assert_eq!(change.topic(), TOPIC);
        assert!(!of.contains('7'), "as the test asked");
        let there: Vec<String> = change
            .list()
            .iter()
            .map(|(key, metas)| format!("{key}:{}", numbers(metas)))
            .collect();
        assert_eq!(change.metas(), change.list().get(change.key()));
        let note = format!("{what} {} {of} [{}]", change.key(), there.join(" "));
        self.notes.send(note).unwrap();
        // tidy: sleep because this is what is slow, on a paused clock
        tokio::time::sleep(self.busy).await;
    }
}

impl HandleMetas for Scribe {
    async fn on_join(&mut self, change: &Change<'_>, joined: &[Meta]) {
        self.note("join", change, numbers(joined)).await;
    }

    async fn on_update(&mut self, change: &Change<'_>, old: &Meta, new: &Meta) {
        let both = format!(
            "{}>{}",
            numbers(std::slice::from_ref(old)),
            numbers(std::slice::from_ref(new))
        );
        self.note("update", change, both).await;
    }

    async fn on_leave(&mut self, change: &Change<'_>, left: &[Meta]) {
        self.note("leave", change, numbers(left)).await;
    }
}

struct Notes(mpsc::UnboundedReceiver<String>);

impl Notes {
    /// All notes until nothing can happen any more.
    async fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(Some(note)) = timeout(Duration::from_secs(60), self.0.recv()).await {
            all.push(note);
        }
        all
    }
}

fn start_with(pubsub: &PubSub, busy: Duration, config: PresenceConfig) -> (Presence, Notes) {
    let (notes, receiver) = mpsc::unbounded_channel();
    let config = config.with_handler(Scribe { notes, busy });
    (Presence::start(pubsub, config).unwrap(), Notes(receiver))
}

fn start() -> (Presence, Notes) {
    start_with(&PubSub::local(), Duration::ZERO, PresenceConfig::default())
}

async fn track(presence: &Presence, key: &str, n: u64) -> Owner {
    let owner = Owner::new();
    let meta = json!({ "n": n });
    presence.of(&owner).track(TOPIC, key, &meta).await.unwrap();
    owner
}

#[tokio::test(start_paused = true)]
async fn n17_n18_n21_n20_keys_come_and_go_and_each_call_has_who_is_there_after_it() {
    let (presence, mut notes) = start();
    let anna = track(&presence, "anna", 1).await;
    assert_eq!(notes.all().await, ["join anna 1 [anna:1]"]);
    let ben = track(&presence, "ben", 2).await;
    assert_eq!(notes.all().await, ["join ben 2 [anna:1 ben:2]"]);
    let carl = track(&presence, "carl", 3).await;
    assert_eq!(notes.all().await, ["join carl 3 [anna:1 ben:2 carl:3]"]);
    drop(ben);
    assert_eq!(notes.all().await, ["leave ben 2 [anna:1 carl:3]"]);
    drop((anna, carl));
    let last = notes.all().await;
    assert_eq!(last.last().unwrap(), "leave carl 3 []");
}

#[tokio::test(start_paused = true)]
async fn n19_n22_metas_of_one_key_come_and_go_in_order() {
    let (presence, mut notes) = start();
    let _first = track(&presence, "anna", 1).await;
    notes.all().await;
    let second = track(&presence, "anna", 2).await;
    assert_eq!(notes.all().await, ["join anna 2 [anna:1,2]"]);
    let _third = track(&presence, "anna", 3).await;
    assert_eq!(notes.all().await, ["join anna 3 [anna:1,2,3]"]);
    drop(second);
    assert_eq!(notes.all().await, ["leave anna 2 [anna:1,3]"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_is_neither_a_join_nor_a_leave() {
    let (presence, mut notes) = start();
    let (anna, _phone) = (
        track(&presence, "anna", 1).await,
        track(&presence, "anna", 2).await,
    );
    notes.all().await;
    for n in [4, 5] {
        presence
            .of(&anna)
            .update(TOPIC, "anna", &json!({ "n": n }))
            .await
            .unwrap();
    }
    // Two updates within a period are one.
    let calls = notes.all().await;
    assert_eq!(
        calls.last().unwrap().split(' ').next(),
        Some("update"),
        "{calls:?}"
    );
    assert!(
        calls.iter().all(|call| call.starts_with("update anna")),
        "{calls:?}"
    );
    assert_eq!(presence.stats().handler_panics, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_lost_and_the_next_one_is_made() {
    let (presence, mut notes) = start();
    let _seven = track(&presence, "anna", 7).await;
    assert!(notes.all().await.is_empty());
    assert_eq!(presence.stats().handler_panics, 1);
    let _eight = track(&presence, "anna", 8).await;
    assert_eq!(notes.all().await, ["join anna 8 [anna:7,8]"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_delays_no_client_and_is_told_the_difference_when_it_is_done() {
    let pubsub = PubSub::local();
    let (presence, mut notes) =
        start_with(&pubsub, Duration::from_secs(30), PresenceConfig::default());
    let mut diffs = pubsub.subscribe(TOPIC).unwrap();
    let _anna = track(&presence, "anna", 1).await;
    for n in 10..15 {
        let passes = track(&presence, "passes", n).await;
        let told = timeout(Duration::from_secs(1), diffs.next()).await;
        assert!(told.is_ok(), "clients are told at once");
        drop(passes);
    }
    let _ben = track(&presence, "ben", 2).await;
    let calls = notes.all().await;
    let passed = |call: &String| call.contains("passes");
    assert!(
        calls.iter().filter(|call| passed(call)).count() <= 2,
        "{calls:?}"
    );
    assert_eq!(calls[0].split(' ').nth(1), Some("anna"));
    assert!(
        calls.iter().any(|call| call.starts_with("join ben 2")),
        "{calls:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_node_is_told_whatever_its_clients_are() {
    let mesh = MemoryMesh::new();
    let counted = || {
        PresenceConfig::default().with_topics("*", TopicConfig::default().with_mode(Mode::Count))
    };
    let start = |name| start_with(&PubSub::with(mesh.node(name)), Duration::ZERO, counted());
    let ((a, mut of_a), (_b, mut of_b)) = (start("a"), start("b"));
    let anna = track(&a, "anna", 1).await;
    let expected = ["join anna 1 [anna:1]"];
    assert_eq!(
        (of_a.all().await, of_b.all().await),
        (
            expected.map(str::to_owned).to_vec(),
            expected.map(str::to_owned).to_vec()
        )
    );
    drop(anna);
    assert_eq!(of_b.all().await, ["leave anna 1 []"]);
}
