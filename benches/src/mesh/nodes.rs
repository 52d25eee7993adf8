//! Nodes of one process.

use std::net::SocketAddr;
use std::time::Duration;

use matryoshka_pubsub::PubSub;
use matryoshka_pubsub_quic::testing::udp_bytes_sent;
use matryoshka_pubsub_quic::{Builder, QuicAdapter, Secret};
use matryoshka_relay::{Place, Relay};

/// How long links may take to come up.
const UP_LIMIT: Duration = Duration::from_secs(30);

/// A node: its pubsub, and the handle to ask its mesh.
pub(crate) struct Node {
    pub(crate) pubsub: PubSub,
    pub(crate) mesh: QuicAdapter,
    /// At the relay, if it is behind one.
    pub(crate) place: Option<Place>,
}

impl Node {
    /// On a free port of loopback; reached by way of the relay only, if there is one. And where the others reach it.
    pub(crate) async fn start(builder: Builder, relay: Option<&mut Relay>) -> (Self, SocketAddr) {
        let Some(relay) = relay else {
            let mesh = builder.start().await.expect("a free port");
            let address = mesh.local_addr();
            return (Self::of(mesh, None), address);
        };
        let place = relay.add().expect("a free port");
        let address = relay.address(place).expect("it is bound");
        let mesh = builder.advertise(address).start().await;
        let mesh = mesh.expect("a free port");
        // It dials as soon as it has a pubsub, and then the relay has to know it.
        let settled = relay.settle(place, mesh.local_addr());
        settled.expect("nobody was taken for it");
        (Self::of(mesh, Some(place)), address)
    }

    fn of(mesh: QuicAdapter, place: Option<Place>) -> Self {
        let pubsub = PubSub::with(mesh.clone());
        Self {
            pubsub,
            mesh,
            place,
        }
    }

    /// Waits until it has so many links.
    pub(crate) async fn has_links(&self, links: usize) {
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
    pub(crate) fn udp_bytes_sent(&self) -> u64 {
        udp_bytes_sent(&self.mesh)
    }
}

/// So many nodes with a link between each two; each reached by way of the relay, if there is one.
pub(crate) async fn mesh(
    count: usize,
    mut relay: Option<&mut Relay>,
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
        let (node, address) = Node::start(builder, relay.as_deref_mut()).await;
        seed.get_or_insert(address);
        nodes.push(node);
    }
    for node in &nodes {
        node.has_links(count - 1).await;
    }
    nodes
}

/// Two nodes with a link.
pub(crate) struct NodePair {
    pub(crate) publisher: Node,
    pub(crate) subscriber: Node,
}

impl NodePair {
    pub(crate) async fn start(relay: Option<&mut Relay>) -> Self {
        let nodes = mesh(2, relay, |builder| builder).await;
        let [publisher, subscriber] = nodes.try_into().ok().expect("there are two");
        Self {
            publisher,
            subscriber,
        }
    }

    /// Of the publisher and the subscriber, who are behind a relay.
    pub(crate) fn places(&self) -> [Place; 2] {
        let places = [self.publisher.place, self.subscriber.place];
        places.map(|place| place.expect("they are behind a relay"))
    }
}
