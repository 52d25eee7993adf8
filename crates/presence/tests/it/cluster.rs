//! The same lists on two nodes, and what a node's death looks like to the clients of the other.

use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::pubsub::memory::MemoryMesh;
use matryoshka_presence::channel::pubsub::registry::Owner;
use serde_json::{Value, json};

use crate::js_client::{Held, held, sorted};
use crate::room::Node;

const ROOM: &str = "room:1";

fn listed(node: &Node) -> Held {
    sorted(held(&node.presence.list(ROOM).to_json().to().unwrap()))
}

fn two_nodes(mesh: &MemoryMesh) -> (Node, Node) {
    let start = |name| Node::start(PubSub::with(mesh.node(name)));
    (start("a"), start("b"))
}

#[tokio::test(start_paused = true)]
async fn clients_of_two_nodes_hold_one_list() {
    let mesh = MemoryMesh::new();
    let (a, b) = two_nodes(&mesh);
    let mut anna = a.join(ROOM, "anna", Value::Null).await;
    let mut ben = b.join(ROOM, "ben", json!({ "status": "online" })).await;
    let (of_anna, of_ben) = (anna.held().await, ben.held().await);
    assert_eq!(of_anna.keys().collect::<Vec<_>>(), ["anna", "ben"]);
    assert_eq!(of_anna, of_ben);
    assert_eq!((listed(&a), listed(&b)), (of_anna, of_ben));
}

#[tokio::test(start_paused = true)]
async fn q8_each_client_hears_of_a_change_once_whatever_the_node() {
    let mesh = MemoryMesh::new();
    let (a, b) = two_nodes(&mesh);
    let mut anna = a.join(ROOM, "anna", Value::Null).await;
    let mut ben = b.join(ROOM, "ben", Value::Null).await;
    anna.settle().await;
    ben.settle().await;
    anna.call("meta", json!({ "status": "away" })).await;
    let (near, far) = (anna.settle().await, ben.settle().await);
    assert_eq!(near.len(), 1, "{near:?}");
    assert_eq!(near, far);
    assert_eq!(
        near[0].1["leaves"]["anna"]["metas"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    drop(anna);
    let left = ben.settle().await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].1["joins"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_dead_nodes_users_leave_in_one_diff_per_topic() {
    let mesh = MemoryMesh::new();
    let (a, b) = two_nodes(&mesh);
    let mut ben = b.join(ROOM, "ben", Value::Null).await;
    let owners: Vec<Owner> = (0..20).map(|_| Owner::new()).collect();
    for (n, owner) in owners.iter().enumerate() {
        a.presence
            .of(owner)
            .track(ROOM, &format!("user-{n:02}"), &())
            .await
            .unwrap();
    }
    assert_eq!(ben.held().await.len(), 21);
    ben.settle().await;

    mesh.kill("a");
    let events = ben.settle().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(held(&events[0].1["leaves"]).len(), 20);
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben"]);
    assert_eq!(listed(&b).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_brings_no_ghosts() {
    let mesh = MemoryMesh::new();
    let (a, b) = two_nodes(&mesh);
    let mut ben = b.join(ROOM, "ben", Value::Null).await;
    let anna = a.join(ROOM, "anna", json!({ "life": 1 })).await;
    assert_eq!(ben.held().await.len(), 2);
    mesh.kill("a");
    assert_eq!(ben.held().await.len(), 1);
    drop((anna, a));

    let a = Node::start(PubSub::with(mesh.node("a")));
    let mut anna = a.join(ROOM, "anna", json!({ "life": 2 })).await;
    let (of_anna, of_ben) = (anna.held().await, ben.held().await);
    assert_eq!(of_anna, of_ben);
    assert_eq!(
        (of_ben["anna"].len(), &of_ben["anna"][0]["life"]),
        (1, &json!(2))
    );
}

#[tokio::test(start_paused = true)]
async fn a_split_shows_each_side_its_own_and_heals_to_one_list() {
    let mesh = MemoryMesh::new();
    let (a, b) = two_nodes(&mesh);
    let mut anna = a.join(ROOM, "anna", Value::Null).await;
    let mut ben = b.join(ROOM, "ben", Value::Null).await;
    assert_eq!(anna.held().await, ben.held().await);
    mesh.cut("a", "b");
    assert_eq!(anna.held().await.keys().collect::<Vec<_>>(), ["anna"]);
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben"]);
    ben.call("meta", json!({ "during": "the split" })).await;
    mesh.heal("a", "b");
    let (of_anna, of_ben) = (anna.held().await, ben.held().await);
    assert_eq!(of_anna, of_ben);
    assert_eq!(of_anna["ben"][0]["during"], "the split");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_presence_takes_its_users_off_the_other_nodes_lists() {
    let mesh = MemoryMesh::new();
    let (a, b) = two_nodes(&mesh);
    let mut ben = b.join(ROOM, "ben", Value::Null).await;
    let robot = Owner::new();
    a.presence
        .of(&robot)
        .track(ROOM, "robot", &())
        .await
        .unwrap();
    assert_eq!(ben.held().await.len(), 2);
    drop(a);
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben"]);
}
