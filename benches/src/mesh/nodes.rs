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
    /// On a free port of loopback; and where the others reach it.
    async fn start(builder: Builder) -> (Self, SocketAddr) {
        let mesh = builder.start().await.expect("a free port");
        let address = mesh.local_addr();
        let pubsub = PubSub::with(mesh.clone());
        (Self { pubsub, mesh }, address)
    }

    /// The others reach it by way of the relay only.
    async fn start_relayed(builder: Builder, relay: &Relay) -> (Self, SocketAddr) {
        let relayed = relay.address().await;
        let (node, address) = Self::start(builder.advertise(relayed.address)).await;
        relayed.leads_to(address);
        (node, relayed.address)
    }

    /// Waits until it has so many links.
    async fn has_links(&self, links: usize) {
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

/// So many nodes with a link between each two; each reached by way of the relay, if there is one.
pub(super) async fn mesh(
    count: usize,
    relay: Option<&Relay>,
    adjust: impl Fn(Builder) -> Builder,
) -> Vec<Node> {
    let secret = Secret::generate();
    let mut nodes: Vec<Node> = Vec::new();
    let mut seed = None;
    for n in 0..count {
        let builder = QuicAdapter::builder(format!("node-{n}")).secret(secret.clone());
        let mut builder = adjust(builder);
        if let Some(seed) = seed {
            builder = builder.join(seed);
        }
        let (node, address) = match relay {
            Some(relay) => Node::start_relayed(builder, relay).await,
            None => Node::start(builder).await,
        };
        seed.get_or_insert(address);
        nodes.push(node);
    }
    for node in &nodes {
        node.has_links(count - 1).await;
    }
    nodes
}

/// Two nodes with a link.
pub(super) struct NodePair {
    pub(super) publisher: Node,
    pub(super) subscriber: Node,
}

impl NodePair {
    pub(super) async fn start(relay: Option<&Relay>) -> Self {
        let nodes = mesh(2, relay, |builder| builder).await;
        let [publisher, subscriber] = nodes.try_into().ok().expect("there are two");
        Self {
            publisher,
            subscriber,
        }
    }
}
