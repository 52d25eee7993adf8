//! Nodes of one process.

use std::net::SocketAddr;
use std::time::Duration;

use matryoshka_pubsub::PubSub;
use matryoshka_pubsub_quic::testing::udp_bytes_sent;
use matryoshka_pubsub_quic::{Builder, QuicAdapter, Secret};

use super::relay::Relay;

/// How long links may take to come up.
const UP_LIMIT: Duration = Duration::from_secs(30);

/// A node: its pubsub, and the handle to ask its mesh.
pub(super) struct Node {
    pub(super) pubsub: PubSub,
    pub(super) mesh: QuicAdapter,
}

impl Node {
    /// A node that listens on a free port of loopback.
    pub(super) async fn start(builder: Builder) -> Self {
        let mesh = builder.start().await.expect("a free port");
        Self {
            pubsub: PubSub::with(mesh.clone()),
            mesh,
        }
    }

    /// A node that the others reach by way of the relay only.
    pub(super) async fn start_relayed(builder: Builder, relay: &Relay) -> (Self, SocketAddr) {
        let relayed = relay.address().await;
        let node = Self::start(builder.advertise(relayed.address)).await;
        relayed.leads_to(node.mesh.local_addr());
        (node, relayed.address)
    }

    /// Waits until it has so many links.
    pub(super) async fn has_links(&self, links: usize) {
        let mut members = self.pubsub.members();
        let up = async {
            while self.mesh.stats().up < links as u64 {
                members.next().await;
            }
        };
        let up = tokio::time::timeout(UP_LIMIT, up).await;
        up.expect("all nodes meet");
    }

    /// Bytes of UDP payload that it has sent over its links.
    pub(super) fn udp_bytes_sent(&self) -> u64 {
        udp_bytes_sent(&self.mesh)
    }
}

fn builders() -> [Builder; 2] {
    let secret = Secret::generate();
    ["one", "two"].map(|name| QuicAdapter::builder(name).secret(secret.clone()))
}

/// Two nodes with a link.
pub(super) struct NodePair {
    pub(super) publisher: Node,
    pub(super) subscriber: Node,
}

impl NodePair {
    pub(super) async fn start() -> Self {
        let [one, two] = builders();
        let publisher = Node::start(one).await;
        let two = two.join(publisher.mesh.local_addr());
        Self::met(publisher, Node::start(two).await).await
    }

    /// Whatever one sends to the other goes through the relay.
    pub(super) async fn start_relayed(relay: &Relay) -> Self {
        let [one, two] = builders();
        let (publisher, address) = Node::start_relayed(one, relay).await;
        let (subscriber, _) = Node::start_relayed(two.join(address), relay).await;
        Self::met(publisher, subscriber).await
    }

    async fn met(publisher: Node, subscriber: Node) -> Self {
        publisher.has_links(1).await;
        subscriber.has_links(1).await;
        Self {
            publisher,
            subscriber,
        }
    }
}
