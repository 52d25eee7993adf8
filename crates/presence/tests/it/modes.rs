//! Large rooms: numbers alone, the first few, and lists that are written once.

use std::time::Duration;

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::tracker::TrackerConfig;
use matryoshka_presence::{Mode, Presence, PresenceConfig, StartError, TopicConfig};
use serde_json::{Value, json};
// tidy: sleep because the clock is paused and only moved on by it
use tokio::time::sleep;

use crate::room::Node;

const ROOM: &str = "room:1";

/// By then a count that was due has been told.
const NEXT_COUNT: Duration = Duration::from_millis(1_100);

fn node(config: PresenceConfig) -> Node {
    let pubsub = PubSub::local();
    let presence = Presence::start(&pubsub, config).unwrap();
    Node::with(&pubsub, presence)
}

fn mode(mode: Mode) -> PresenceConfig {
    PresenceConfig::default().with_topics("room:*", TopicConfig::default().with_mode(mode))
}

async fn crowd(presence: &Presence, names: impl IntoIterator<Item = String>) -> Vec<Owner> {
    let mut crowd = Vec::new();
    for name in names {
        let owner = Owner::new();
        presence.of(&owner).track(ROOM, &name, &()).await.unwrap();
        crowd.push(owner);
    }
    crowd
}

fn named(events: &[(String, Value)], name: &str) -> Vec<Value> {
    let named = events.iter().filter(|(event, _)| event == name);
    named.map(|(_, payload)| payload.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_counted_room_tells_numbers_once_a_second_and_no_names() {
    let node = node(mode(Mode::Count));
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    let greeted = anna.settle().await;
    assert!(
        greeted.iter().all(|(event, _)| event == "presence_count"),
        "{greeted:?}"
    );
    assert_eq!(greeted.last().unwrap().1, json!({ "count": 1, "metas": 1 }));

    // A second of coming and going, and in the end there are 41 more, of one key less.
    let mut all = Vec::new();
    for round in 0..20 {
        all.extend(crowd(&node.presence, (0..2).map(|n| format!("user-{round}-{n}"))).await);
        let _passes = crowd(&node.presence, ["passes".to_owned()]).await;
        sleep(Duration::from_millis(50)).await;
    }
    all.extend(crowd(&node.presence, ["anna".to_owned()]).await);
    sleep(NEXT_COUNT).await;
    let events = anna.settle().await;
    assert_eq!(
        events.len(),
        named(&events, "presence_count").len(),
        "{events:?}"
    );
    assert!(events.len() <= 3, "{events:?}");
    assert_eq!(
        events.last().unwrap().1,
        json!({ "count": 41, "metas": 42 })
    );
    assert_eq!(
        node.presence.list(ROOM).len(),
        41,
        "the server's own list is whole"
    );
    assert_eq!(
        (node.presence.stats().diffs, node.presence.stats().states),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn who_only_watches_a_counted_topic_gets_the_number_there_is() {
    let counted = TopicConfig::default().with_mode(Mode::Count);
    let node = node(PresenceConfig::default().with_topics("watch:*", counted));
    let robot = Owner::new();
    let tracked = node.presence.of(&robot).track("watch:1", "robot", &());
    tracked.await.unwrap();
    sleep(NEXT_COUNT).await;
    // The second one comes while all have been told the number already.
    let mut watchers = Vec::new();
    for _ in 0..2 {
        let mut watcher = node.connect("watch:1").await;
        watcher.join(json!({})).await;
        let number = watcher.expect("presence_count").await;
        assert_eq!(number, json!({ "count": 1, "metas": 1 }));
        watchers.push(watcher);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_shows_the_first_keys_and_how_many_there_are() {
    let node = node(mode(Mode::Window(3)));
    let mut anna = node.join(ROOM, "m", Value::Null).await;
    let _crowd = crowd(&node.presence, ["c", "d", "x", "y"].map(str::to_owned)).await;
    assert_eq!(
        anna.held().await.keys().collect::<Vec<_>>(),
        ["c", "d", "m"]
    );
    let first = crowd(&node.presence, ["a".to_owned()]).await;
    assert_eq!(
        anna.held().await.keys().collect::<Vec<_>>(),
        ["a", "c", "d"]
    );
    anna.settle().await;
    drop(first);
    assert_eq!(
        anna.held().await.keys().collect::<Vec<_>>(),
        ["c", "d", "m"]
    );
    let mut late = node.join(ROOM, "z", Value::Null).await;
    assert_eq!(
        late.held().await.keys().collect::<Vec<_>>(),
        ["c", "d", "m"]
    );
    sleep(NEXT_COUNT).await;
    let counts = named(&late.settle().await, "presence_count");
    assert_eq!(counts.last().unwrap(), &json!({ "count": 6, "metas": 6 }));

    // Who comes and goes beyond the window is told as a number alone.
    anna.settle().await;
    let _beyond = crowd(&node.presence, ["zz".to_owned()]).await;
    sleep(NEXT_COUNT).await;
    let events = anna.settle().await;
    assert_eq!(
        events,
        [(
            "presence_count".to_owned(),
            json!({ "count": 7, "metas": 7 })
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_is_written_once_for_all_who_join_at_about_the_same_time() {
    let node = node(PresenceConfig::default());
    let users: Vec<String> = (0..300).map(|n| format!("user-{n:03}")).collect();
    let join = |user| node.join(ROOM, user, Value::Null);
    let mut clients = futures::future::join_all(users.iter().map(|user| join(user))).await;
    for client in &mut clients {
        assert_eq!(client.held().await.len(), 300);
    }
    let stats = node.presence.stats();
    assert_eq!(stats.states, 300);
    assert!(
        stats.lists_written <= 4,
        "{} for 300 clients",
        stats.lists_written
    );
    assert!(stats.diffs <= 4, "{} for 300 joins", stats.diffs);
}

#[tokio::test(start_paused = true)]
async fn one_who_joins_a_quiet_room_waits_for_nobody() {
    let node = node(PresenceConfig::default().with_period(Duration::from_secs(30)));
    let start = tokio::time::Instant::now();
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    anna.expect("presence_state").await;
    anna.expect("presence_diff").await;
    assert!(start.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn changes_within_the_period_are_one_diff() {
    let node = node(PresenceConfig::default().with_period(Duration::from_millis(500)));
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    anna.settle().await;
    let crowd = crowd(&node.presence, (0..10).map(|n| format!("user-{n}"))).await;
    sleep(Duration::from_millis(100)).await;
    drop(crowd);
    let diffs = named(&anna.settle().await, "presence_diff");
    assert!(diffs.len() <= 2, "{diffs:?}");
    assert_eq!(anna.held().await.keys().collect::<Vec<_>>(), ["anna"]);
}

#[tokio::test(start_paused = true)]
async fn j12_events_have_the_names_that_were_set() {
    let config = mode(Mode::Window(9))
        .with_state_event("people")
        .with_diff_event("moves")
        .with_count_event("size");
    let node = node(config);
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    let events = anna.settle().await;
    assert_eq!(named(&events, "people").len(), 1, "{events:?}");
    assert_eq!(named(&events, "moves").len(), 1, "{events:?}");
    assert!(!named(&events, "size").is_empty(), "{events:?}");
    assert!(
        events
            .iter()
            .all(|(event, _)| !event.starts_with("presence")),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn settings_that_make_no_sense_stop_the_start() {
    let pubsub = PubSub::local();
    let refused = |config| Presence::start(&pubsub, config).err().unwrap();
    for pattern in ["", "a*b", "*a", "a**"] {
        let topics = PresenceConfig::default().with_topics(pattern, TopicConfig::default());
        assert!(
            matches!(refused(topics), StartError::Pattern(_)),
            "{pattern}"
        );
    }
    let event = PresenceConfig::default().with_diff_event("presence_state");
    assert!(matches!(refused(event), StartError::EventName(_)));
    let fetches = PresenceConfig::default().with_fetches_at_once(0);
    assert!(matches!(refused(fetches), StartError::NoFetches));
    let mut tracker = TrackerConfig::named("another");
    tracker.pool_size = 0;
    let tracker = refused(PresenceConfig::default().with_tracker(tracker));
    assert!(
        tracker.to_string().contains("`pool_size` is 0"),
        "{tracker}"
    );
    let too_long = PresenceConfig::MAX_TIME + Duration::from_nanos(1);
    for time in [too_long, Duration::MAX] {
        let period = PresenceConfig::default().with_period(time);
        let setting = "period";
        assert!(matches!(refused(period), StartError::TooLong { setting: s, .. } if s == setting));
        let limit = PresenceConfig::default().with_fetch_limit(time);
        let setting = "fetch_limit";
        assert!(matches!(refused(limit), StartError::TooLong { setting: s, .. } if s == setting));
    }
    Presence::start(&pubsub, PresenceConfig::default()).unwrap();
}

/// The longest times there can be, to the end of a period.
#[tokio::test(start_paused = true)]
async fn the_longest_times_are_borne() {
    let longest = PresenceConfig::MAX_TIME;
    let config = PresenceConfig::default()
        .with_period(longest)
        .with_fetch_limit(longest);
    let pubsub = PubSub::local();
    let presence = Presence::start(&pubsub, config).unwrap();
    let mut told = pubsub.subscribe(ROOM).unwrap();
    let start = tokio::time::Instant::now();
    for name in ["anna", "ben"] {
        let crowd = crowd(&presence, [name.to_owned()]).await;
        told.next().await.unwrap().unwrap();
        drop(crowd);
    }
    assert!(start.elapsed() >= longest);
}

/// Long enough to be written in a thread of its own.
#[tokio::test(start_paused = true)]
async fn a_large_list_is_written_once() {
    let node = node(PresenceConfig::default());
    let _crowd = crowd(&node.presence, (0..2_000).map(|n| format!("user-{n:04}"))).await;
    let before = node.presence.stats().lists_written;
    let mut watchers = Vec::new();
    let joins = (0..20).map(|n| {
        let node = &node;
        async move { node.join(ROOM, &format!("watcher-{n}"), Value::Null).await }
    });
    watchers.extend(futures::future::join_all(joins).await);
    for watcher in &mut watchers {
        assert_eq!(watcher.held().await.len(), 2_020);
    }
    assert!(node.presence.stats().lists_written - before <= 3);
}
