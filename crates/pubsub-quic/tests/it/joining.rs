//! How nodes find each other.

use matryoshka_pubsub_quic::Secret;

use crate::cluster::{DEADLINE, Node, chain, meet};

#[tokio::test]
async fn one_that_joins_at_any_node_finds_all() {
    let nodes = chain(5).await;
    for node in &nodes {
        assert_eq!(node.known().len(), 4);
        assert_eq!(node.adapter.stats().up, 4);
    }
    let addresses: Vec<String> = nodes[0]
        .adapter
        .peers()
        .into_iter()
        .map(|p| p.addr)
        .collect();
    for node in &nodes[1..] {
        let address = node.adapter.local_addr().to_string();
        assert!(addresses.contains(&address), "{addresses:?}");
    }
}

#[tokio::test]
async fn a_seed_may_be_a_host_name_and_may_come_later() {
    let secret = Secret::generate();
    let place = Node::start(Node::builder("a", &secret)).await;
    let address = place.adapter.local_addr();
    place.adapter.shutdown().await;
    let seed = format!("localhost:{}", address.port());
    let late = Node::start(Node::builder("b", &secret).join(&seed).join(&seed)).await;
    let first = Node::start(Node::builder("a", &secret).listen(address)).await;
    meet(&mut [first, late]).await;
}

#[tokio::test]
async fn the_advertised_address_is_the_one_told() {
    let secret = Secret::generate();
    let one = Node::start(Node::builder("one", &secret)).await;
    let place = Node::start(Node::builder("two", &secret)).await;
    let address = place.adapter.local_addr();
    place.adapter.shutdown().await;
    let advertised = format!("localhost:{}", address.port());
    let two = Node::builder("two", &secret)
        .listen(address)
        .advertise(&advertised)
        .join(one.adapter.local_addr());
    let mut nodes = [one, Node::start(two).await];
    meet(&mut nodes).await;
    assert_eq!(nodes[0].adapter.peers()[0].addr, advertised);
}

#[tokio::test]
async fn nobody_is_met_before_the_adapter_is_attached() {
    let secret = Secret::generate();
    let one = Node::start(Node::builder("one", &secret)).await;
    let two = Node::builder("two", &secret).join(one.adapter.local_addr());
    let two = two.start().await.unwrap();
    assert_eq!(two.stats().dials, 0);
    // A node that was never attached can be shut down as well.
    tokio::time::timeout(DEADLINE, two.shutdown())
        .await
        .unwrap();
    assert_eq!(one.adapter.stats().accepted, 0);
}
