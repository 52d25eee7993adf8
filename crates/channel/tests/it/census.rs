//! Lists of a user's sockets and of a topic's clients, over several nodes.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use matryoshka_channel::pubsub::memory::MemoryMesh;
use matryoshka_channel::pubsub::{NodeName, PubSub};
use matryoshka_channel::transport::memory::MemoryService;
use matryoshka_channel::transport::{ConnectInfo, ConnectionLimits, Connections, Params};
use matryoshka_channel::{ANSWER_WAIT, LISTED_PER_NODE, sockets_of, subscribers_of};
use tokio::time::Instant;

use crate::client::{Client, Vsn};
use crate::lab::Lab;

const ANNA: &str = "user_socket:anna";
const JOIN: &str = r#"
    > ["1","1","lab:a","phx_join",{}]
    < ["1","1","lab:a","phx_reply",{"status":"ok","response":{}}]
    "#;

fn nodes<const N: usize>(mesh: &MemoryMesh, names: [&str; N]) -> [Lab; N] {
    names.map(|name| Lab::on(PubSub::with(mesh.node(name))))
}

async fn joined(lab: &Lab, user: &str) -> Client {
    let mut client = Client::connect_as(&lab.sockets(), Vsn::V2, user).await;
    client.play(JOIN).await;
    client
}

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_users_sockets_are_found_on_every_node() {
    let mesh = MemoryMesh::new();
    let [one, two] = nodes(&mesh, ["n1", "n2"]);
    let before = SystemTime::now() - Duration::from_millis(1);
    let peer: SocketAddr = "10.0.0.7:5123".parse().unwrap();
    let info = ConnectInfo::new("memory", Params::parse("user=anna").unwrap()).unwrap();
    let service = MemoryService::new(one.sockets());
    let _first = service
        .connect(info.with_peer_addr(Some(peer)))
        .await
        .unwrap();
    let second = joined(&two, "anna").await;
    let _ben = joined(&two, "ben").await;
    let start = Instant::now();
    for asking in [&one, &two] {
        let mut found = sockets_of(&asking.pubsub, ANNA).await;
        assert_eq!((found.unlisted, found.unreachable), (0, vec![]));
        found.entries.sort_by(|a, b| a.node.cmp(&b.node));
        let [on_one, on_two] = &found.entries[..] else {
            panic!("{:?}", found.entries);
        };
        assert_eq!((&on_one.node, &on_two.node), (&name("n1"), &name("n2")));
        assert_eq!((on_one.peer_addr, on_two.peer_addr), (Some(peer), None));
        assert_eq!(on_one.transport, "memory");
        assert!((before..=SystemTime::now()).contains(&on_one.connected_at));
    }
    second.close().await;
    assert_eq!(sockets_of(&two.pubsub, ANNA).await.entries.len(), 1);
    assert_eq!(sockets_of(&two.pubsub, "nobody").await.entries, []);
    assert_eq!(start.elapsed(), Duration::ZERO, "all have answered");
}

#[tokio::test(start_paused = true)]
async fn a_topics_clients_are_found_and_plain_subscribers_are_none() {
    let mesh = MemoryMesh::new();
    let [one, two] = nodes(&mesh, ["n1", "n2"]);
    let _clients = (joined(&one, "anna").await, joined(&two, "ben").await);
    let _joining = Client::connect(&one.sockets(), Vsn::V2).await;
    let _plain = two.pubsub.subscribe("lab:a").unwrap();
    let found = subscribers_of(&one.pubsub, "lab:a").await;
    let listed: Vec<_> = found
        .entries
        .iter()
        .map(|entry| (entry.node.as_str(), entry.socket_id.as_deref()))
        .collect();
    assert_eq!(
        listed,
        [("n1", Some(ANNA)), ("n2", Some("user_socket:ben"))]
    );
    assert!(found.unreachable.is_empty());
}

/// The first on the topic of questions may be anybody: who was there before the sockets, or a client where a route serves all topics.
#[tokio::test(start_paused = true)]
async fn nobody_keeps_a_question_from_those_who_answer_it() {
    let mesh = MemoryMesh::new();
    let pubsubs = ["n1", "n2"].map(|name| PubSub::with(mesh.node(name)));
    let listen = |pubsub: &PubSub| pubsub.subscribe("matryoshka:sockets:questions").unwrap();
    let _others = pubsubs.each_ref().map(listen);
    let [one, two] = pubsubs.map(Lab::on);
    let _client = joined(&two, "ben").await;
    let found = subscribers_of(&one.pubsub, "lab:a").await;
    assert_eq!((found.entries.len(), found.unreachable), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn nodes_that_do_not_answer_are_named() {
    let mesh = MemoryMesh::new();
    let [one, two, slow, dead] = nodes(&mesh, ["n1", "n2", "slow", "dead"]);
    let without_sockets = PubSub::with(mesh.node("bare"));
    let mut clients = Vec::new();
    for lab in [&one, &two, &slow, &dead] {
        clients.push(joined(lab, "anna").await);
    }
    mesh.kill("dead");
    mesh.hold("slow", "n1");
    let start = Instant::now();
    let found = sockets_of(&one.pubsub, ANNA).await;
    assert_eq!(start.elapsed(), ANSWER_WAIT);
    assert_eq!(found.entries.len(), 2);
    assert_eq!(found.unreachable, ["bare", "dead", "slow"].map(name));
    // An answer that comes too late is for nobody, and the next question stands alone.
    mesh.release("slow", "n1");
    let found = sockets_of(&one.pubsub, ANNA).await;
    assert_eq!(found.entries.len(), 3);
    assert_eq!(found.unreachable, ["bare", "dead"].map(name));
    drop(without_sockets);
}

#[tokio::test(start_paused = true)]
async fn a_node_lists_so_many_and_counts_the_others() {
    let mesh = MemoryMesh::new();
    let [one, two] = nodes(&mesh, ["n1", "n2"]);
    let any_number = ConnectionLimits::default().with_max_per_user(None);
    let service =
        MemoryService::new(two.sockets()).with_connections(&Connections::with_limits(any_number));
    let mut wires = Vec::new();
    for _ in 0..LISTED_PER_NODE + 3 {
        let info = ConnectInfo::new("memory", Params::parse("user=anna").unwrap()).unwrap();
        wires.push(service.connect(info).await.unwrap());
    }
    let _here = joined(&one, "anna").await;
    let found = sockets_of(&one.pubsub, ANNA).await;
    assert_eq!(found.entries.len(), LISTED_PER_NODE + 1);
    assert_eq!(found.unlisted, 3);
}

/// As long as one of them lives, whichever it is.
#[tokio::test(start_paused = true)]
async fn of_several_mounts_one_answers_for_all() {
    let mesh = MemoryMesh::new();
    let [one, two] = nodes(&mesh, ["n1", "n2"]);
    for goes_first in [0, 1] {
        let mut mounts = vec![two.sockets(), two.sockets()];
        let mut clients = Vec::new();
        for mount in &mounts {
            clients.push(Client::connect_as(mount, Vsn::V2, "anna").await);
        }
        let found = sockets_of(&one.pubsub, ANNA).await;
        assert_eq!((found.entries.len(), found.unreachable), (2, vec![]));
        // What is left of a mount holds on to its census as well.
        clients.remove(goes_first).close().await;
        drop(mounts.remove(goes_first));
        let found = sockets_of(&one.pubsub, ANNA).await;
        assert_eq!((found.entries.len(), found.unreachable), (1, vec![]));
        clients.remove(0).close().await;
        drop(mounts);
        let found = sockets_of(&one.pubsub, ANNA).await;
        assert_eq!(found.unreachable, [name("n2")], "nobody is left to answer");
    }
}
