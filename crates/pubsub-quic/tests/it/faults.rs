//! Nodes that stop, restart, and say goodbye.

use std::time::{Duration, Instant};

use matryoshka_pubsub_quic::pubsub::cluster::{MemberEvent, MemberState};
use matryoshka_pubsub_quic::pubsub::{DirectError, Goodbye, NodeName};
use matryoshka_pubsub_quic::{Secret, StartError};

use crate::cluster::{DEADLINE, Node, chain, meet};

/// A node in a runtime of its own, which can be stopped like a killed process: nothing is sent, nothing answered.
fn start_apart(secret: &Secret, seed: std::net::SocketAddr) -> (tokio::runtime::Runtime, Node) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let builder = Node::builder("victim", secret).join(seed);
    let node = runtime.block_on(Node::start(builder));
    (runtime, node)
}

#[test]
fn an_abrupt_stop_is_noticed_within_three_seconds() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let secret = Secret::generate();
    let mut witness = runtime.block_on(Node::start(Node::builder("witness", &secret)));
    let (apart, victim) = start_apart(&secret, witness.adapter.local_addr());
    runtime.block_on(witness.up("victim"));
    let stopped = Instant::now();
    apart.shutdown_background();
    runtime.block_on(witness.down("victim"));
    let noticed = stopped.elapsed();
    assert!(
        noticed <= Duration::from_secs(3),
        "noticed after {noticed:?}"
    );
    let name = NodeName::new("victim").unwrap();
    let sent = witness.pubsub.direct_broadcast(&name, "x", "y");
    assert!(matches!(sent, Err(DirectError::NotUp(_))), "{sent:?}");
    assert_eq!(witness.pubsub.broadcast("x", "y").unwrap().peers, 0);
    drop(victim);
}

#[tokio::test]
async fn a_node_that_restarts_under_its_name_and_address_is_met_again() {
    let secret = Secret::generate();
    let one = Node::start(Node::builder("one", &secret)).await;
    let two = Node::builder("two", &secret).join(one.adapter.local_addr());
    let mut nodes = [one, Node::start(two).await];
    meet(&mut nodes).await;
    let [one, mut two] = nodes;
    let address = one.adapter.local_addr();
    let first = two.members.now()[0].clone();
    // Without a goodbye, so it stays a member and is dialled; the port is free a moment later.
    drop(one);
    two.down("one").await;
    let mut one = loop {
        match Node::builder("one", &secret).listen(address).start().await {
            Ok(adapter) => break Node::run(adapter),
            Err(StartError::PortTaken { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let back = two.up("one").await;
    assert!(back.incarnation > first.incarnation);
    assert!(back.link > first.link);
    one.up("two").await;
    let mut news = two.pubsub.subscribe("news").unwrap();
    one.pubsub.broadcast("news", "back").unwrap();
    let message = tokio::time::timeout(DEADLINE, news.next()).await.unwrap();
    let message = message.unwrap().unwrap();
    assert_eq!(message.origin().unwrap().link, back.link);
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_lets_everything_arrive() {
    let mut nodes = chain(3).await;
    let leaver = nodes.remove(1);
    let mut news = nodes[0].pubsub.subscribe("news").unwrap();
    for n in 0..1_000 {
        leaver.pubsub.broadcast("news", n.to_string()).unwrap();
    }
    tokio::time::timeout(DEADLINE, leaver.adapter.shutdown())
        .await
        .unwrap();
    for n in 0..1_000 {
        let message = tokio::time::timeout(DEADLINE, news.next()).await.unwrap();
        assert_eq!(message.unwrap().unwrap().payload(), &n.to_string());
    }
    for node in &mut nodes {
        let told =
            |event: &MemberEvent| !matches!(event, MemberEvent::Up(_) | MemberEvent::Gap { .. });
        assert!(matches!(node.event(told).await, MemberEvent::Leaving(_)));
        assert!(matches!(node.event(told).await, MemberEvent::Down(_)));
        assert!(matches!(node.event(told).await, MemberEvent::Forgotten(_)));
        assert_eq!(node.known().len(), 1);
    }
}

#[tokio::test]
async fn a_restarting_node_is_told_as_such_and_stays_reachable_until_it_goes() {
    let mut nodes = chain(2).await;
    let grace = Duration::from_secs(20);
    nodes[1].pubsub.leave_with(Goodbye::Restarting { grace });
    let told = |event: &MemberEvent| matches!(event, MemberEvent::Restarting(..));
    match nodes[0].event(told).await {
        MemberEvent::Restarting(member, told) => {
            assert_eq!((member.node.as_str(), told), ("n1", grace));
        }
        other => panic!("unexpected {other:?}"),
    }
    assert_eq!(nodes[0].adapter.peers()[0].state, MemberState::Restarting);
    let mut here = nodes[1].pubsub.subscribe("here").unwrap();
    assert_eq!(nodes[0].pubsub.broadcast("here", "yet").unwrap().peers, 1);
    let message = tokio::time::timeout(DEADLINE, here.next()).await.unwrap();
    assert!(message.unwrap().is_ok());
    nodes[1].adapter.shutdown().await;
    nodes[0].down("n1").await;
}

#[tokio::test]
async fn when_the_last_handle_is_dropped_the_others_are_told_at_once() {
    let mut nodes = chain(2).await;
    drop(nodes.pop());
    let before = Instant::now();
    nodes[0].down("n1").await;
    assert!(before.elapsed() < Duration::from_secs(2));
}
