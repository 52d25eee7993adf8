//! A client has its list before it hears of any change, however long the list takes. `client.rs` holds all other tests to it too.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::{Fetch, Mode, Presence, PresenceConfig, TopicConfig};
use serde_json::{Value, json};
// tidy: sleep because the clock is paused and only moved on by it
use tokio::time::sleep;

use crate::js_client::{held, sorted};
use crate::room::Node;

/// How long a list takes.
const SLOW: Duration = Duration::from_millis(400);

/// Whoever is on every list, and asked for so slowly.
const ALWAYS: &str = "always";

/// Quick for differences, slow for lists.
struct SlowLists;

impl Fetch for SlowLists {
    type Extra = Value;
    type Error = Infallible;

    async fn fetch(
        &self,
        _: &str,
        keys: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Value>, Infallible> {
        if keys.contains(&ALWAYS.into()) {
            sleep(SLOW).await;
        }
        Ok(HashMap::new())
    }
}

fn node(config: PresenceConfig, mode: Mode) -> Node {
    let pubsub = PubSub::local();
    let config = config.with_topics("*", TopicConfig::default().with_mode(mode));
    Node::with(&pubsub, Presence::start(&pubsub, config).unwrap())
}

/// Who joins is on the list itself, and who watches is not.
fn ways() -> [(&'static str, Value); 2] {
    [
        ("room:1", json!({ "user": "anna", "meta": {} })),
        ("watch:1", json!({})),
    ]
}

async fn track(node: &Node, topic: &str, key: &str) -> Owner {
    let owner = Owner::new();
    let tracked = node.presence.of(&owner).track(topic, key, &());
    tracked.await.unwrap();
    owner
}

#[tokio::test(start_paused = true)]
async fn changes_told_while_a_list_is_fetched_follow_it() {
    for mode in [Mode::Full, Mode::Window(100)] {
        for (topic, params) in ways() {
            let node = node(PresenceConfig::default().with_fetch(SlowLists), mode);
            let mut others = vec![track(&node, topic, ALWAYS).await];
            sleep(2 * SLOW).await;
            let before = node.presence.stats();
            let mut anna = node.connect(topic).await;
            assert_eq!(anna.join(params).await["status"], "ok");
            for n in 0..5 {
                others.push(track(&node, topic, &format!("user-{n}")).await);
                sleep(Duration::from_millis(60)).await;
            }
            let meanwhile = node.presence.stats();
            assert_eq!(meanwhile.states, before.states, "the list is on its way");
            assert!(meanwhile.diffs >= before.diffs + 5, "{meanwhile:?}");

            let events = anna.settle().await;
            let changes = |(event, _): &&(String, Value)| event != "presence_count";
            let names: Vec<&str> = events
                .iter()
                .filter(changes)
                .map(|(event, _)| event.as_str())
                .collect();
            let (first, rest) = names.split_first().unwrap();
            assert_eq!(*first, "presence_state", "{mode:?} {topic}");
            assert!(rest.len() >= 5, "{names:?}");
            assert!(rest.iter().all(|event| *event == "presence_diff"));
            let list = node.presence.list(topic).to_json().to().unwrap();
            assert_eq!(anna.held().await, sorted(held(&list)));
        }
    }
}

/// The official client leaves when a join takes too long for it, and joins again. It would add what came of the first join's changes to the
/// second one's list.
#[tokio::test(start_paused = true)]
async fn no_change_comes_of_a_join_that_was_given_up_before_its_list_was_there() {
    for mode in [Mode::Full, Mode::Window(100)] {
        for (topic, params) in ways() {
            let node = node(PresenceConfig::default().with_fetch(SlowLists), mode);
            let _always = track(&node, topic, ALWAYS).await;
            sleep(2 * SLOW).await;
            let mut anna = node.connect(topic).await;
            assert_eq!(anna.join(params.clone()).await["status"], "ok");
            let before = node.presence.stats();
            let ghost = track(&node, topic, "ghost").await;
            sleep(SLOW / 2).await;
            let meanwhile = node.presence.stats();
            assert_eq!(meanwhile.states, before.states, "the list is on its way");
            assert!(meanwhile.diffs > before.diffs, "and changes wait for it");
            anna.send("phx_leave", json!({})).await;
            let events = anna.settle().await;
            let names = events.iter().map(|(event, _)| event.as_str());
            let names: Vec<&str> = names.filter(|event| *event != "presence_count").collect();
            // A change would not say of which join it is.
            let expected = ["phx_reply", "phx_close"];
            assert_eq!(names, expected, "{mode:?} {topic}");
            drop(ghost);
            sleep(SLOW).await;

            assert_eq!(anna.join(params).await["status"], "ok");
            let list = node.presence.list(topic).to_json().to().unwrap();
            assert_eq!(anna.held().await, sorted(held(&list)));
        }
    }
}

/// It hears of its first place after it has asked for the second, so the official class keeps that for the next list: then the end of the
/// first place has to come after it.
#[tokio::test(start_paused = true)]
async fn who_leaves_and_is_back_at_once_from_afar_holds_no_ghost_of_itself() {
    for mode in [Mode::Full, Mode::Window(100)] {
        let node = node(PresenceConfig::default(), mode);
        let mut anna = node.connect("room:1").await.far();
        let params = json!({ "user": "anna", "meta": {} });
        anna.ask(params.clone()).await;
        sleep(SLOW).await;
        anna.send("phx_leave", json!({})).await;
        sleep(Duration::from_millis(10)).await;
        anna.ask(params).await;
        let held_now = anna.held().await;
        let list = node.presence.list("room:1").to_json().to().unwrap();
        assert_eq!(held_now, sorted(held(&list)), "{mode:?}");
        assert_eq!(held_now["anna"].len(), 1);
    }
}

/// Who has a list is told changes before another one that it asks for: that is older than they are when it comes.
#[tokio::test(start_paused = true)]
async fn a_change_that_overtakes_a_list_asked_for_anew_follows_it_too() {
    let modes = [Mode::Full, Mode::Window(100)].into_iter();
    // Put off until after a join that was long ago, it is no other.
    let ways = modes.flat_map(|mode| [(mode, "anew"), (mode, "anew_afterwards")]);
    for (mode, way) in ways {
        let node = node(PresenceConfig::default().with_fetch(SlowLists), mode);
        let _always = track(&node, "room:1", ALWAYS).await;
        let mut anna = node.join("room:1", "anna", json!({})).await;
        sleep(3 * SLOW).await;
        anna.settle().await;
        anna.send(way, json!({})).await;
        sleep(SLOW / 4).await;
        let _ben = track(&node, "room:1", "ben").await;

        let events = anna.settle().await;
        let names = events.iter().map(|(event, _)| event.as_str());
        let names: Vec<&str> = names
            .filter(|event| event.starts_with("presence_"))
            .collect();
        let lists: Vec<&str> = names
            .into_iter()
            .filter(|event| *event != "presence_count")
            .collect();
        assert_eq!(
            lists,
            ["presence_diff", "presence_state", "presence_diff"],
            "{mode:?}"
        );
        let list = node.presence.list("room:1").to_json().to().unwrap();
        assert_eq!(anna.held().await, sorted(held(&list)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_counted_topic_has_neither_and_its_numbers_wait_for_nothing() {
    for (topic, params) in ways() {
        let node = node(PresenceConfig::default().with_fetch(SlowLists), Mode::Count);
        let _always = track(&node, topic, ALWAYS).await;
        sleep(2 * SLOW).await;
        let mut anna = node.connect(topic).await;
        anna.join(params).await;
        anna.expect("presence_count").await;
        let events = anna.settle().await;
        let counts = |(event, _): &(String, Value)| event == "presence_count";
        assert!(events.iter().all(counts), "{events:?}");
    }
}

/// Without a fetch a list waits for the end of the period only.
#[tokio::test(start_paused = true)]
async fn who_joins_in_the_middle_of_a_crowd_hears_of_nobody_before_the_list() {
    for mode in [Mode::Full, Mode::Window(3)] {
        for (topic, params) in ways() {
            let node = node(PresenceConfig::default(), mode);
            let mut clients = Vec::new();
            let mut others = Vec::new();
            for n in 0..30 {
                others.push(track(&node, topic, &format!("user-{n}")).await);
                let mut client = node.connect(topic).await;
                assert_eq!(client.join(params.clone()).await["status"], "ok");
                clients.push(client);
                sleep(Duration::from_millis(7)).await;
                if n % 3 == 0 {
                    others.swap_remove(0);
                }
            }
            let mut lists = Vec::new();
            for client in &mut clients {
                // Each asserts it at every change that comes.
                lists.push(client.held().await);
            }
            assert!(lists.iter().all(|list| *list == lists[0]), "{mode:?}");
        }
    }
}
