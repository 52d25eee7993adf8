//! Clients that do not read what is sent to them keep nobody else from a list.

use std::time::Duration;

use matryoshka_presence::channel::broadcast;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::transport::Limits;
use serde_json::json;
// tidy: sleep because the clock is paused and only moved on by it
use tokio::time::sleep;

use crate::js_client::{held, sorted};
use crate::room::Node;

/// The outbox of a client, in frames.
const OUTBOX: usize = 40;

/// A node whose clients are sent nothing ahead of what they read.
fn node(pubsub: &PubSub) -> Node {
    let node = Node::start(pubsub.clone());
    let limits = Limits::default()
        .with_outbox_bytes(1_000_000)
        .with_outbox_items(OUTBOX);
    Node {
        service: node.service.with_limits(limits).with_capacity(0),
        ..node
    }
}

/// It would keep it, and each list of another moment, for as long as it stays.
#[tokio::test(start_paused = true)]
async fn a_list_that_its_client_has_no_room_for_is_given_back() {
    let pubsub = PubSub::local();
    let node = node(&pubsub);
    node.join("room:1", "anna", json!({})).await;
    let mut slow = node.connect("room:1").await;
    // The next list of the topic is a little off, and meanwhile its room is taken.
    slow.ask(json!({ "user": "slow" })).await;
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(20)).await;
    for _ in 0..OUTBOX / 2 + 5 {
        broadcast(&pubsub, "room:1", "noise", &()).unwrap();
    }
    sleep(Duration::from_secs(10)).await;
    let ben = node.join("room:1", "ben", json!({})).await;
    sleep(Duration::from_secs(10)).await;
    let events = slow.settle().await;
    let lists: Vec<_> = events
        .iter()
        .filter(|(event, _)| event == "presence_state")
        .collect();
    assert_eq!(lists.len(), 1, "{events:?}");
    assert!(lists[0].1.get("ben").is_some(), "{events:?}");
    let list = node.presence.list("room:1").to_json().to().unwrap();
    assert_eq!(slow.held().await, sorted(held(&list)));
    drop(ben);
}

#[tokio::test(start_paused = true)]
async fn who_asks_anew_and_reads_nothing_costs_nobody_else_a_list() {
    let pubsub = PubSub::local();
    let node = node(&pubsub);
    let mut anna = node.join("room:1", "anna", json!({})).await;
    let mut slow = Vec::new();
    for n in 0..12 {
        let mut client = node.join("room:1", &format!("slow-{n}"), json!({})).await;
        client.settle().await;
        slow.push(client);
    }
    anna.settle().await;
    for client in &mut slow {
        let behind = json!({ "frames": OUTBOX / 2 + 5 });
        client.send("anew_behind", behind).await;
        // So that each list is another one.
        sleep(Duration::from_millis(100)).await;
    }

    anna.send("anew", json!({})).await;
    let events = anna.settle().await;
    let lists = events.iter().filter(|(event, _)| event == "presence_state");
    assert_eq!(lists.count(), 1, "{events:?}");
    let mut ben = node.join("room:1", "ben", json!({})).await;
    let list = node.presence.list("room:1").to_json().to().unwrap();
    let list = sorted(held(&list));
    assert_eq!(ben.held().await, list);
    // Once they read they have theirs.
    for client in &mut slow {
        let events = client.settle().await;
        let lists = events.iter().filter(|(event, _)| event == "presence_state");
        assert_eq!(lists.count(), 1, "{events:?}");
        assert_eq!(client.held().await, list);
    }
}
