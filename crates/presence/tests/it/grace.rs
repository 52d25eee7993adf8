//! Who is away for a moment, since a connection broke or a node restarts, is not seen to leave.

use std::num::NonZeroU32;
use std::time::Duration;

use matryoshka_presence::channel::pubsub::memory::MemoryMesh;
use matryoshka_presence::channel::pubsub::{Goodbye, PubSub};
use matryoshka_presence::channel::transport::CloseCode;
use matryoshka_presence::channel::{close_channel, disconnect};
use matryoshka_presence::{Presence, PresenceConfig, TopicConfig};
use serde_json::{Value, json};

use crate::client::Client;
use crate::js_client::held;
use crate::room::Node;

const ROOM: &str = "room:1";
const GRACE: Duration = Duration::from_secs(5);

fn node() -> (Node, PubSub) {
    let pubsub = PubSub::local();
    let topics = TopicConfig::default().with_drop_grace(GRACE);
    let config = PresenceConfig::default().with_topics("room:*", topics);
    let presence = Presence::start(&pubsub, config).unwrap();
    (Node::with(&pubsub, presence), pubsub)
}

/// One diff, in which the one place of a user takes that of the other.
fn assert_replaced(events: &[(String, Value)], user: &str) {
    assert_eq!(events.len(), 1, "{events:?}");
    let diff = &events[0].1;
    assert_eq!(held(&diff["joins"])[user].len(), 1, "{diff}");
    assert_eq!(held(&diff["leaves"])[user].len(), 1, "{diff}");
}

#[tokio::test(start_paused = true)]
async fn who_is_back_in_time_has_not_left() {
    let (node, _) = node();
    let mut ben = node.join(ROOM, "ben", Value::Null).await;
    let anna = node.join(ROOM, "anna", json!({ "life": 1 })).await;
    ben.settle().await;
    drop(anna);
    assert_eq!(ben.settle().await, []);
    let mut anna = node.join(ROOM, "anna", json!({ "life": 2 })).await;
    assert_replaced(&ben.settle().await, "anna");
    let (of_anna, of_ben) = (anna.held().await, ben.held().await);
    assert_eq!(of_anna, of_ben);
    assert_eq!(
        (of_ben["anna"].len(), &of_ben["anna"][0]["life"]),
        (1, &json!(2))
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_not_back_in_time_leaves_then() {
    let (node, _) = node();
    let mut ben = node.join(ROOM, "ben", Value::Null).await;
    let anna = node.join(ROOM, "anna", Value::Null).await;
    ben.settle().await;
    drop(anna);
    assert_eq!(ben.settle().await, []);
    tokio::time::advance(GRACE).await;
    let left = ben.settle().await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["ben"]);
}

/// It was not tracked by its join.
#[tokio::test(start_paused = true)]
async fn who_was_listed_later_and_leaves_the_topic_is_gone_at_once_too() {
    let pubsub = PubSub::local();
    let topics = TopicConfig::default().with_drop_grace(GRACE);
    let config = PresenceConfig::default().with_topics("watch:*", topics);
    let node = Node::with(&pubsub, Presence::start(&pubsub, config).unwrap());
    let mut ben = node.connect("watch:1").await;
    ben.join(json!({})).await;
    let mut anna = node.connect("watch:1").await;
    anna.join(json!({})).await;
    let listed = anna.call("also_as", json!({ "user": "anna" })).await;
    assert_eq!(listed["status"], "ok");
    ben.settle().await;
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["anna"]);
    anna.send("phx_leave", json!({})).await;
    // Much sooner than the grace ends.
    ben.settle().await;
    assert!(ben.held().await.is_empty());
}

/// What ends a channel.
#[derive(Clone, Copy, Debug)]
enum End {
    Leave,
    Stop,
    Kick,
    Disconnect,
    Crash,
}

impl End {
    async fn end(self, anna: &mut Client, pubsub: &PubSub) {
        match self {
            Self::Leave => drop(anna.call("phx_leave", json!({})).await),
            Self::Stop => anna.send("stop", Value::Null).await,
            Self::Kick => drop(close_channel(pubsub, "anna", ROOM).unwrap()),
            Self::Disconnect => drop(disconnect(pubsub, "anna").unwrap()),
            Self::Crash => anna.send("crash", Value::Null).await,
        }
    }
}

/// The channel itself does nothing for that, and two names are no more than one.
#[tokio::test(start_paused = true)]
async fn who_goes_on_purpose_is_gone_at_once_and_a_crash_is_no_purpose() {
    for end in [
        End::Leave,
        End::Stop,
        End::Kick,
        End::Disconnect,
        End::Crash,
    ] {
        let (node, pubsub) = node();
        let mut ben = node.join(ROOM, "ben", Value::Null).await;
        let mut anna = node.connect_as("anna", ROOM).await;
        anna.join(json!({ "user": "anna", "meta": {} })).await;
        anna.call("also_as", json!({ "user": "hanna" })).await;
        assert_eq!(ben.held().await.len(), 3, "{end:?}");
        end.end(&mut anna, &pubsub).await;
        let left = match end {
            End::Crash => 3,
            _ => 1,
        };
        assert_eq!(ben.held().await.len(), left, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_was_announced_shows_nobody_leave_who_comes_back() {
    let mesh = MemoryMesh::new();
    let (of_a, of_b) = (PubSub::with(mesh.node("a")), PubSub::with(mesh.node("b")));
    let (a, b) = (Node::start(of_a.clone()), Node::start(of_b));
    let mut ben = b.join(ROOM, "ben", Value::Null).await;
    let anna = a.join(ROOM, "anna", json!({ "life": 1 })).await;
    let carl = a.join(ROOM, "carl", Value::Null).await;
    assert_eq!(ben.held().await.len(), 3);
    ben.settle().await;

    a.presence.tracker().restart(GRACE).await;
    of_a.leave_with(Goodbye::Restarting { grace: GRACE });
    drop((anna, carl));
    a.presence.tracker().close().await;
    drop((a, of_a));
    assert_eq!(ben.settle().await, []);

    let a = Node::start(PubSub::with(mesh.node("a")));
    a.presence.tracker().first_snapshot().await;
    assert_eq!(a.presence.list(ROOM).len(), 3, "before it takes clients");
    let mut anna = a.join(ROOM, "anna", json!({ "life": 2 })).await;
    assert_replaced(&ben.settle().await, "anna");
    assert_eq!(anna.held().await, ben.held().await);
    assert_eq!(ben.held().await["anna"][0]["life"], 2);

    tokio::time::advance(GRACE).await;
    ben.settle().await;
    assert_eq!(ben.held().await.keys().collect::<Vec<_>>(), ["anna", "ben"]);
}

/// Anna is back on another node before anything that her closed connection caused can be heard there.
#[tokio::test(start_paused = true)]
async fn i14_a_drain_that_holds_first_changes_places_in_one_diff_on_every_node() {
    let mesh = MemoryMesh::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(PubSub::with(mesh.node(name))));
    let mut ben = b.join(ROOM, "ben", Value::Null).await;
    let mut carl = c.join(ROOM, "carl", Value::Null).await;
    let _anna = a.join(ROOM, "anna", json!({ "life": 1 })).await;
    assert_eq!(ben.held().await.len(), 3);
    ben.settle().await;
    carl.settle().await;

    let tracker = a.presence.tracker();
    tracker.restart(GRACE).await;
    let connections = a.service.connections();
    let drain =
        connections.drain_after(CloseCode::RESTART.into(), NonZeroU32::MAX, async |owners| {
            assert_eq!(owners.len(), 1, "anna's channel");
            assert!(tracker.hold(&owners).await);
        });
    drain.await;
    let _anna = b.join(ROOM, "anna", json!({ "life": 2 })).await;
    assert_replaced(&ben.settle().await, "anna");
    assert_replaced(&carl.settle().await, "anna");
    assert_eq!(ben.held().await["anna"][0]["life"], 2);
}
