//! Data of the application beside the metas: in lists and differences alike, in order, in batches, and never fatal.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use matryoshka_presence::channel::Broadcast;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::channel::pubsub::{PubSub, Subscription};
use matryoshka_presence::{Change, Fetch, HandleMetas, Meta, Presence, PresenceConfig};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::room::Node;

const ROOM: &str = "room:1";

/// Panics as it ends.
struct Sinks;

impl Drop for Sinks {
    fn drop(&mut self) {
        panic!("as the test asked");
    }
}

/// Topics, each with the keys of one call.
type Asked = Vec<(String, Vec<String>)>;

/// What a fetch has been asked, and how it answers.
#[derive(Clone, Default)]
struct Names {
    asked: Arc<Mutex<Asked>>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Names {
    fn asked(&self) -> Asked {
        self.asked.lock().unwrap().clone()
    }
}

impl Fetch for Names {
    type Extra = Value;
    type Error = &'static str;

    /// The topic's name says how it goes.
    async fn fetch(
        &self,
        topic: &str,
        keys: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Value>, &'static str> {
        let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
        self.asked.lock().unwrap().push((topic.to_owned(), names));
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        if topic.contains("slow") || keys.contains(&"slow".into()) {
            // tidy: sleep because this is what is slow, on a paused clock
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let _sinks = topic.contains("sinking").then(|| Sinks);
        if topic.contains("hanging") {
            std::future::pending::<()>().await;
        }
        assert!(!topic.contains("panicking"), "as the test asked");
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if topic.contains("failing") {
            return Err("no database today");
        }
        let extra = |key: &Arc<str>| match &**key {
            "large" => json!({ "name": "X".repeat(1024 * 1024) }),
            "plain" => json!("no object"),
            _ => json!({ "name": key.to_uppercase(), "metas": "not taken" }),
        };
        let unasked = ("nobody".into(), json!({ "name": "NOBODY" }));
        let asked = keys.iter().map(|key| (Arc::clone(key), extra(key)));
        Ok(asked.chain([unasked]).collect())
    }
}

fn start(config: PresenceConfig) -> (PubSub, Presence, Names) {
    let (pubsub, names) = (PubSub::local(), Names::default());
    let presence = Presence::start(&pubsub, config.with_fetch(names.clone())).unwrap();
    (pubsub, presence, names)
}

async fn next(subscription: &mut Subscription) -> Value {
    let message = subscription.next().await.unwrap().unwrap();
    let broadcast = Broadcast::from_message(&message).unwrap().unwrap();
    broadcast.to().unwrap()
}

fn keys(side: &Value) -> Vec<&String> {
    side.as_object().unwrap().keys().collect()
}

#[tokio::test(start_paused = true)]
async fn n4_n8_what_was_fetched_is_in_states_and_on_both_sides_of_diffs() {
    let (pubsub, presence, _) = start(PresenceConfig::default());
    let node = Node::with(&pubsub, presence);
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    let events = anna.settle().await;
    let (_, state) = events
        .iter()
        .find(|(event, _)| event == "presence_state")
        .unwrap();
    assert_eq!(state["anna"]["name"], "ANNA");
    assert_eq!(state["anna"]["metas"].as_array().unwrap().len(), 1);

    let ben = node.join(ROOM, "ben", Value::Null).await;
    let came = anna.expect("presence_diff").await;
    assert_eq!(came["joins"]["ben"]["name"], "BEN");
    drop(ben);
    let left = anna.expect("presence_diff").await;
    assert_eq!(left["leaves"]["ben"]["name"], "BEN");
    assert_eq!(keys(&left["leaves"]), ["ben"]);
}

#[tokio::test(start_paused = true)]
async fn n2_n6_lists_are_plain_or_fetched_as_one_asks() {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let (_pubsub, presence, _) = start(PresenceConfig::default());
    let owner = Owner::new();
    let phone = Owner::new();
    for place in [&owner, &phone] {
        presence.of(place).track(ROOM, "anna", &()).await.unwrap();
    }
    let plain: Value = presence.list(ROOM).to_json().to().unwrap();
    assert_eq!(plain["anna"]["name"], Value::Null);
    let list = presence.list_fetched(ROOM).await;
    assert_eq!(list.extra::<Named>("anna").unwrap().unwrap().name, "ANNA");
    assert!(list.extra::<Named>("ben").unwrap().is_none());
    let anna = presence.get_by_key_fetched(ROOM, "anna").await;
    assert_eq!(anna, list);
    assert_eq!(anna.get("anna").len(), 2, "both places");
    assert_eq!(anna.extra::<Named>("anna").unwrap().unwrap().name, "ANNA");
    assert!(presence.get_by_key_fetched(ROOM, "ben").await.is_empty());

    // Without a fetch both are what they are made of.
    let presence = Presence::new(&PubSub::local());
    presence.of(&owner).track(ROOM, "anna", &()).await.unwrap();
    let plain = presence.list(ROOM);
    assert_eq!(plain.get("anna").len(), 1);
    assert_eq!(presence.list_fetched(ROOM).await, plain);
    assert_eq!(presence.get_by_key_fetched(ROOM, "anna").await, plain);
}

/// Says whom it is told of, by the name that was fetched.
struct Ear(mpsc::Sender<Option<String>>);

impl HandleMetas for Ear {
    async fn on_join(&mut self, change: &Change<'_>, _: &[Meta]) {
        let fetched: Option<Value> = change.extra().unwrap();
        let name = fetched.map(|fetched| fetched["name"].as_str().unwrap().to_owned());
        self.0.send(name).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_has_what_was_fetched_for_whom_it_is_told_of() {
    let (notes, mut names) = mpsc::channel(1);
    let config = PresenceConfig::default().with_handler(Ear(notes));
    let (_pubsub, presence, _) = start(config);
    let owner = Owner::new();
    for (topic, name) in [(ROOM, Some("ANNA")), ("failing", None)] {
        presence.of(&owner).track(topic, "anna", &()).await.unwrap();
        let told = timeout(Duration::from_secs(5), names.recv()).await;
        assert_eq!(told.unwrap().unwrap().as_deref(), name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_fetch_delays_its_own_topic_alone() {
    let (pubsub, presence, _) = start(PresenceConfig::default());
    let (mut slow, mut quick) = (
        pubsub.subscribe("slow").unwrap(),
        pubsub.subscribe("quick").unwrap(),
    );
    let owner = Owner::new();
    let start = Instant::now();
    presence
        .of(&owner)
        .track("slow", "anna", &())
        .await
        .unwrap();
    presence
        .of(&owner)
        .track("quick", "anna", &())
        .await
        .unwrap();
    assert_eq!(next(&mut quick).await["joins"]["anna"]["name"], "ANNA");
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(next(&mut slow).await["joins"]["anna"]["name"], "ANNA");
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn two_diffs_of_one_topic_stay_in_order_and_what_comes_meanwhile_is_one() {
    let (pubsub, presence, names) = start(PresenceConfig::default());
    let mut diffs = pubsub.subscribe(ROOM).unwrap();
    let owners: Vec<Owner> = (0..50).map(|_| Owner::new()).collect();
    // The first one takes 300 ms, all others none.
    presence
        .of(&owners[0])
        .track(ROOM, "slow", &())
        .await
        .unwrap();
    for (n, owner) in owners.iter().enumerate().skip(1) {
        tokio::time::advance(Duration::from_millis(1)).await;
        presence
            .of(owner)
            .track(ROOM, &format!("user-{n}"), &())
            .await
            .unwrap();
    }
    let first = next(&mut diffs).await;
    assert_eq!(keys(&first["joins"]), ["slow"]);
    let second = next(&mut diffs).await;
    assert_eq!(keys(&second["joins"]).len(), 49);
    assert_eq!(
        names.asked().len(),
        2,
        "one call for each diff, with all its keys"
    );
    assert_eq!(presence.stats().diffs, 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_panics_or_hangs_costs_its_data_alone() {
    let limit = Duration::from_secs(5);
    let (pubsub, presence, _) = start(PresenceConfig::default().with_fetch_limit(limit));
    let owner = Owner::new();
    for (topic, failures) in [
        ("failing", 1),
        ("panicking", 2),
        ("hanging", 3),
        ("hanging and sinking", 4),
    ] {
        let mut diffs = pubsub.subscribe(topic).unwrap();
        let start = Instant::now();
        let reference = presence.of(&owner).track(topic, "anna", &()).await.unwrap();
        let diff = timeout(2 * limit, next(&mut diffs)).await;
        assert_eq!(
            diff.expect("a diff all the same"),
            json!({ "joins": { "anna": { "metas": [{ "phx_ref": reference }] } }, "leaves": {} })
        );
        assert!(start.elapsed() <= limit + Duration::from_millis(100));
        assert_eq!(presence.stats().fetches_failed, failures);
    }
    let stats = presence.stats();
    assert_eq!((stats.fetches_panicked, stats.fetches_too_long), (2, 1));
    let list = presence.list_fetched("panicking").await;
    assert_eq!(
        (list.len(), list.extra::<Value>("anna").unwrap()),
        (1, None)
    );
    let mut diffs = pubsub.subscribe(ROOM).unwrap();
    presence.of(&owner).track(ROOM, "anna", &()).await.unwrap();
    assert_eq!(next(&mut diffs).await["joins"]["anna"]["name"], "ANNA");
}

/// What a user may have written about itself is nobody else's loss.
#[tokio::test(start_paused = true)]
async fn data_that_cannot_be_told_are_left_out_for_their_key_alone() {
    let (_, presence, _) = start(PresenceConfig::default());
    let owner = Owner::new();
    for key in ["anna", "large", "plain", "zoe"] {
        presence.of(&owner).track(ROOM, key, &()).await.unwrap();
    }
    let list = presence.list_fetched(ROOM).await;
    let has = |key| list.extra::<Value>(key).unwrap().is_some();
    assert_eq!(
        ["anna", "large", "plain", "zoe"].map(has),
        [true, false, false, true]
    );
    assert_eq!(list.len(), 4);
    let stats = presence.stats();
    assert_eq!((stats.fetched_unfit, stats.fetches_failed), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn fetches_at_once_are_bounded_and_all_topics_get_their_turn() {
    let (pubsub, presence, names) = start(PresenceConfig::default().with_fetches_at_once(2));
    let topics: Vec<String> = (0..21).map(|n| format!("slow {n}")).collect();
    let mut subscriptions: Vec<_> = topics
        .iter()
        .map(|topic| pubsub.subscribe(topic.as_str()).unwrap())
        .collect();
    let owner = Owner::new();
    let start = Instant::now();
    for topic in &topics {
        presence.of(&owner).track(topic, "anna", &()).await.unwrap();
    }
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription).await["joins"]["anna"]["name"], "ANNA");
    }
    assert_eq!(names.most_at_once.load(Ordering::SeqCst), 2);
    assert!(start.elapsed() >= Duration::from_millis(11 * 300));
}

#[tokio::test(start_paused = true)]
async fn changes_without_end_during_a_hanging_fetch_are_one_diff() {
    let (pubsub, presence, names) = start(PresenceConfig::default());
    let mut diffs = pubsub.subscribe("hanging").unwrap();
    let stays = Owner::new();
    presence
        .of(&stays)
        .track("hanging", "stays", &())
        .await
        .unwrap();
    for round in 0..1_000 {
        let passes = Owner::new();
        let key = format!("passes-{round}");
        presence
            .of(&passes)
            .track("hanging", &key, &())
            .await
            .unwrap();
        presence.of(&passes).untrack("hanging", &key).await;
    }
    presence
        .of(&stays)
        .update("hanging", "stays", &json!({ "n": 1 }))
        .await
        .unwrap();
    assert_eq!(keys(&next(&mut diffs).await["joins"]), ["stays"]);
    let second = next(&mut diffs).await;
    assert_eq!(second["joins"]["stays"]["metas"][0]["n"], 1);
    assert_eq!(keys(&second["leaves"]), ["stays"], "nobody who only passed");
    assert_eq!(names.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn clients_that_join_at_once_share_one_fetch_of_the_list() {
    let (pubsub, presence, names) = start(PresenceConfig::default());
    let node = Node::with(&pubsub, presence);
    let users: Vec<String> = (0..100).map(|n| format!("user-{n}")).collect();
    let join = |user| node.join(ROOM, user, Value::Null);
    let mut clients = futures::future::join_all(users.iter().map(|user| join(user))).await;
    for client in &mut clients {
        assert_eq!(client.held().await.len(), 100);
    }
    let asked = names.asked().len();
    assert!(asked <= 10, "{asked} calls for 100 clients");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_has_its_time_from_when_it_was_asked_for() {
    let limit = Duration::from_secs(5);
    let config = PresenceConfig::default()
        .with_fetch_limit(limit)
        .with_fetches_at_once(2);
    let (pubsub, presence, names) = start(config);
    let topics: Vec<String> = (0..20).map(|n| format!("hanging {n}")).collect();
    let mut subscriptions: Vec<_> = topics
        .iter()
        .map(|topic| pubsub.subscribe(topic.as_str()).unwrap())
        .collect();
    let owner = Owner::new();
    let start = Instant::now();
    for topic in &topics {
        let tracked = presence.of(&owner).track(topic, "anna", &());
        tracked.await.unwrap();
    }
    for subscription in &mut subscriptions {
        assert_eq!(keys(&next(subscription).await["joins"]), ["anna"]);
    }
    assert!(start.elapsed() <= limit + Duration::from_millis(100));
    assert_eq!(presence.stats().fetches_failed, 20);
    let begun = names.asked().len();
    assert!(begun <= 4, "what is late is not begun");
    let stats = presence.stats();
    let counted = (stats.fetches_too_long, stats.fetches_not_begun);
    assert_eq!(counted, (begun as u64, 20 - begun as u64));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_for_a_topic_that_nobody_here_watches() {
    let (pubsub, presence, names) = start(PresenceConfig::default());
    let owners: Vec<Owner> = (0..3).map(|_| Owner::new()).collect();
    for (n, owner) in owners.iter().enumerate() {
        let key = format!("user-{n}");
        presence.of(owner).track(ROOM, &key, &()).await.unwrap();
        // tidy: sleep because the clock is paused and only moved on by it
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(names.asked(), []);
    assert_eq!(presence.stats().diffs, 0);

    let node = Node::with(&pubsub, presence);
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    let state = anna.expect("presence_state").await;
    assert_eq!(keys(&state), ["anna", "user-0", "user-1", "user-2"]);
    let own = anna.expect("presence_diff").await;
    assert_eq!(
        keys(&own["joins"]),
        ["anna"],
        "the own join, and no old news"
    );
    assert_eq!(own["leaves"], json!({}));
    drop(owners);
    let left = anna.expect("presence_diff").await;
    assert_eq!(keys(&left["leaves"]).len(), 3);
    assert_eq!(left["leaves"]["user-0"]["name"], "USER-0");
}
