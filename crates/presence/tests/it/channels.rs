//! What clients of one node are told.

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::tracker::UpdateError;
use serde_json::{Value, json};

use crate::client::Client;
use crate::js_client::{held, sorted};
use crate::room::Node;

const ROOM: &str = "room:1";

/// Waits for this client's own arrival: its state and then its own diff.
async fn arrive(client: &mut Client) -> (Value, Value) {
    let events = client.settle().await;
    let [(first, state), (second, diff)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((&**first, &**second), ("presence_state", "presence_diff"));
    (state.clone(), diff.clone())
}

#[tokio::test(start_paused = true)]
async fn q1_q3_q10_the_joiner_gets_the_state_and_its_own_diff() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join(ROOM, "anna", json!({ "status": "online" })).await;
    let (state, diff) = arrive(&mut anna).await;
    let reference = state["anna"]["metas"][0]["phx_ref"].as_str().unwrap();
    assert_eq!(reference.len(), 16);
    assert_eq!(
        state,
        json!({ "anna": { "metas": [{ "status": "online", "phx_ref": reference }] } })
    );
    assert_eq!(diff, json!({ "joins": state, "leaves": {} }));
}

/// By topic: `n3_nobody_is_on_the_list_of_a_topic_without_members`.
#[tokio::test(start_paused = true)]
async fn n3_a_channel_alone_is_given_an_empty_list() {
    let node = Node::start(PubSub::local());
    let mut watcher = node.connect("watch:1").await;
    watcher.join(json!({})).await;
    assert_eq!(watcher.expect("presence_state").await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn n4_list_by_topic_and_by_socket_is_what_clients_hold() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join(ROOM, "anna", json!({ "a": 1 })).await;
    arrive(&mut anna).await;
    let of_anna = node.presence.get_by_key(ROOM, "anna");
    assert_eq!(of_anna.len(), 1);
    let meta = json!({ "a": 1, "phx_ref": of_anna[0].reference().to_string() });
    let expected = json!({ "anna": { "metas": [meta] } });
    let listed: Value = node.presence.list(ROOM).to_json().to().unwrap();
    assert_eq!(listed, expected, "by topic");
    let listed = anna.call("list", json!({})).await["response"].clone();
    assert_eq!(listed, expected, "by the socket's topic");
    assert_eq!(anna.held().await, sorted(held(&expected)));
}

#[tokio::test(start_paused = true)]
async fn n7_a_join_and_a_loss_of_connection_are_one_diff_each_with_one_reference() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    arrive(&mut anna).await;

    let ben = node.join(ROOM, "ben", Value::Null).await;
    let came = anna.expect("presence_diff").await;
    assert_eq!(came["leaves"], json!({}));
    let meta = &came["joins"]["ben"]["metas"][0];
    assert_eq!(
        meta["phx_ref"],
        node.presence.get_by_key(ROOM, "ben")[0]
            .reference()
            .to_string()
    );

    drop(ben);
    let left = anna.expect("presence_diff").await;
    assert_eq!(
        left,
        json!({ "joins": {}, "leaves": { "ben": { "metas": [meta] } } })
    );
    assert!(!node.presence.list(ROOM).contains_key("ben"));
    assert_eq!(anna.settle().await, []);
}

#[tokio::test(start_paused = true)]
async fn n10_n11_one_of_two_names_is_hidden() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    arrive(&mut anna).await;
    assert_eq!(
        anna.call("also_as", json!({ "user": "robot" })).await["status"],
        "ok"
    );
    anna.settle().await;
    assert_eq!(
        anna.call("hide", json!({ "user": "robot" })).await["response"],
        json!({ "was": true })
    );
    let left = anna.expect("presence_diff").await;
    assert_eq!(left["joins"], json!({}));
    assert_eq!(held(&left["leaves"]).keys().collect::<Vec<_>>(), ["robot"]);
    assert_eq!(anna.held().await.keys().collect::<Vec<_>>(), ["anna"]);
}

#[tokio::test(start_paused = true)]
async fn n12_hiding_who_is_not_listed_changes_nothing() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    arrive(&mut anna).await;
    assert_eq!(
        anna.call("hide", json!({ "user": "ben" })).await["response"],
        json!({ "was": false })
    );
    assert_eq!(anna.settle().await, []);
}

#[tokio::test(start_paused = true)]
async fn n13_q5_an_update_is_one_diff_and_the_list_has_the_new_meta() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join(ROOM, "anna", json!({ "status": "online" })).await;
    let (state, _) = arrive(&mut anna).await;
    let old = &state["anna"]["metas"][0];

    let reply = anna.call("meta", json!({ "status": "away" })).await;
    let new = json!({ "status": "away", "phx_ref": reply["response"]["phx_ref"], "phx_ref_prev": old["phx_ref"] });
    let diffs = anna.settle().await;
    let diff = json!({ "joins": { "anna": { "metas": [new] } }, "leaves": { "anna": { "metas": [old] } } });
    assert_eq!(diffs, [("presence_diff".to_owned(), diff)]);
    assert_eq!(anna.held().await["anna"], std::slice::from_ref(&new));
    let listed: Value = node.presence.list(ROOM).to_json().to().unwrap();
    assert_eq!(listed, json!({ "anna": { "metas": [new] } }));

    let reply = anna.call("meta", json!({})).await;
    anna.settle().await;
    let newest = json!({ "phx_ref": reply["response"]["phx_ref"], "phx_ref_prev": new["phx_ref"] });
    assert_eq!(anna.held().await["anna"], [newest]);
}

#[tokio::test(start_paused = true)]
async fn n14_an_update_of_nothing_is_refused() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    anna.call("hide", json!({ "user": "anna" })).await;
    assert_eq!(
        anna.call("meta", json!({ "status": "away" })).await,
        json!({ "status": "error", "response": { "reason": UpdateError::NoPresence.to_string() } })
    );
    assert!(node.presence.list(ROOM).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_meta_that_is_no_object_refuses_the_join() {
    let node = Node::start(PubSub::local());
    let mut anna = node.connect(ROOM).await;
    let reply = anna.join(json!({ "user": "anna", "meta": 7 })).await;
    assert_eq!(
        reply,
        json!({ "status": "error", "response": { "reason": "presence failed" } })
    );
    assert!(node.presence.list(ROOM).is_empty());
}

#[tokio::test(start_paused = true)]
async fn q4_q6_q10_two_tabs_of_one_user_are_two_metas_and_leave_one_by_one() {
    let node = Node::start(PubSub::local());
    let mut ben = node.join(ROOM, "ben", Value::Null).await;
    let desk = node.join(ROOM, "anna", json!({ "on": "desk" })).await;
    let phone = node.join(ROOM, "anna", json!({ "on": "phone" })).await;
    let metas = ben.held().await["anna"].clone();
    let [first, second] = &metas[..] else {
        panic!("{metas:?}");
    };
    assert_eq!(
        (&first["on"], &second["on"]),
        (&json!("desk"), &json!("phone"))
    );
    assert_ne!(first["phx_ref"], second["phx_ref"]);
    assert_eq!(first["phx_ref"].as_str().unwrap().len(), 16);
    drop(desk);
    let held = ben.held().await;
    assert_eq!(
        (held["anna"].len(), &held["anna"][0]["on"]),
        (1, &json!("phone"))
    );
    drop(phone);
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben"]);
}

#[tokio::test(start_paused = true)]
async fn q6_leaving_the_topic_and_crashing_both_leave_the_list() {
    let node = Node::start(PubSub::local());
    let mut ben = node.join(ROOM, "ben", Value::Null).await;
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    let mut carl = node.join(ROOM, "carl", Value::Null).await;
    assert_eq!(ben.held().await.len(), 3);
    anna.call("phx_leave", json!({})).await;
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben", "carl"]);
    carl.send("crash", json!({})).await;
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben"]);
}

#[tokio::test(start_paused = true)]
async fn joining_again_gives_a_new_state_and_no_ghost() {
    let node = Node::start(PubSub::local());
    let mut ben = node.join(ROOM, "ben", Value::Null).await;
    let mut anna = node.join(ROOM, "anna", Value::Null).await;
    anna.held().await;
    let again = anna
        .join(json!({ "user": "anna", "meta": { "again": true } }))
        .await;
    assert_eq!(again["status"], "ok");
    let (of_anna, of_ben) = (anna.held().await, ben.held().await);
    assert_eq!(of_anna, of_ben);
    assert_eq!(
        (of_anna["anna"].len(), &of_anna["anna"][0]["again"]),
        (1, &json!(true))
    );
}

#[tokio::test(start_paused = true)]
async fn who_only_watches_holds_the_list_and_is_not_on_it() {
    let node = Node::start(PubSub::local());
    let mut watcher = node.connect("watch:1").await;
    watcher.join(json!({})).await;
    assert_eq!(watcher.expect("presence_state").await, json!({}));
    let robot = matryoshka_presence::channel::pubsub::registry::Owner::new();
    node.presence
        .of(&robot)
        .track("watch:1", "robot", &())
        .await
        .unwrap();
    assert_eq!(watcher.held().await.keys().collect::<Vec<_>>(), ["robot"]);
    drop(robot);
    assert!(watcher.held().await.is_empty());
}

/// An empty list would say that everybody has gone.
#[tokio::test(start_paused = true)]
async fn where_there_is_no_list_any_more_the_client_is_to_join_again() {
    let node = Node::start(PubSub::local());
    let (mut first, mut second) = (node.connect("watch:1").await, node.connect(ROOM).await);
    node.presence.tracker().close().await;
    first.join(json!({})).await;
    second.join(json!({ "user": "anna" })).await;
    for client in [&mut first, &mut second] {
        let events = client.settle().await;
        let names: Vec<_> = events.iter().map(|(event, _)| event.as_str()).collect();
        assert_eq!(names, ["phx_error"]);
    }
}

#[tokio::test(start_paused = true)]
async fn topics_do_not_mix() {
    let node = Node::start(PubSub::local());
    let mut anna = node.join("room:1", "anna", Value::Null).await;
    let mut ben = node.join("room:2", "ben", Value::Null).await;
    assert_eq!(anna.held().await.keys().collect::<Vec<_>>(), ["anna"]);
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben"]);
}

#[tokio::test(start_paused = true)]
async fn many_come_and_go_at_once_and_all_who_stay_hold_one_list() {
    let node = Node::start(PubSub::local());
    let names: Vec<String> = (0..40).map(|n| format!("user-{n:02}")).collect();
    let join = |name| node.join(ROOM, name, Value::Null);
    let clients = futures::future::join_all(names.iter().map(|name| join(name))).await;
    let mut stay: Vec<Client> = clients.into_iter().step_by(2).collect();
    let mut lists = Vec::new();
    for client in &mut stay {
        lists.push(client.held().await);
    }
    assert_eq!(lists[0].len(), 20);
    assert!(lists.iter().all(|list| *list == lists[0]));
    assert_eq!(
        lists[0],
        sorted(held(&node.presence.list(ROOM).to_json().to().unwrap()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_function_changes_the_meta_that_is_there() {
    let node = Node::start(PubSub::local());
    let meta = json!({ "status": "online", "since": 7 });
    let mut anna = node.join(ROOM, "anna", meta).await;
    arrive(&mut anna).await;
    let reply = anna.call("set_status", json!({ "status": "away" })).await;
    assert_eq!(reply["status"], "ok");
    let held = anna.held().await;
    let meta = &held["anna"][0];
    assert_eq!(
        (&meta["status"], &meta["since"]),
        (&json!("away"), &json!(7))
    );
    let nobody = anna
        .call("set_status", json!({ "user": "ben", "status": "away" }))
        .await;
    assert_eq!(nobody["status"], "error");
}
