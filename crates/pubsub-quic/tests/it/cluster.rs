//! Starting nodes, and waiting for what is told of them.

use std::time::Duration;

use futures::future::join_all;
use matryoshka_pubsub_quic::pubsub::cluster::{Member, MemberEvent, MemberState};
use matryoshka_pubsub_quic::pubsub::{Members, PubSub};
use matryoshka_pubsub_quic::{Builder, PeerInfo, Pki, QuicAdapter, Secret};

use crate::ca::Papers;

/// Nothing that is waited for may take longer, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A node: what a program holds of it.
pub(crate) struct Node {
    pub(crate) adapter: QuicAdapter,
    pub(crate) pubsub: PubSub,
    pub(crate) members: Members,
}

impl Node {
    pub(crate) async fn start(builder: Builder) -> Self {
        Self::run(builder.start().await.expect("a node that starts"))
    }

    pub(crate) fn run(adapter: QuicAdapter) -> Self {
        let pubsub = PubSub::with(adapter.clone());
        let members = pubsub.members();
        Self {
            adapter,
            pubsub,
            members,
        }
    }

    pub(crate) fn builder(name: &str, secret: &Secret) -> Builder {
        QuicAdapter::builder(name).secret(secret.clone())
    }

    /// Waits for an event that `is_it`; passes over others.
    pub(crate) async fn event(&mut self, is_it: impl Fn(&MemberEvent) -> bool) -> MemberEvent {
        let name = self.pubsub.node();
        let waiting = async {
            loop {
                let event = self.members.next().await;
                if is_it(&event) {
                    return event;
                }
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{name} waited in vain, it knows {:?}", self.known()))
    }

    /// Waits until `other` is up; gives what is told of it.
    pub(crate) async fn up(&mut self, other: &str) -> Member {
        let is_it = |event: &MemberEvent| matches!(event, MemberEvent::Up(m) if m.node == other);
        match self.event(is_it).await {
            MemberEvent::Up(member) => member,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Waits until `other` is down; gives what is told of it.
    pub(crate) async fn down(&mut self, other: &str) -> Member {
        let is_it = |event: &MemberEvent| matches!(event, MemberEvent::Down(m) if m.node == other);
        match self.event(is_it).await {
            MemberEvent::Down(member) => member,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// What it says of another node.
    pub(crate) fn peer(&self, other: &str) -> PeerInfo {
        let peers = self.adapter.peers().into_iter();
        peers.into_iter().find(|peer| peer.name == other).unwrap()
    }

    /// The names of the members that are up.
    pub(crate) fn known(&self) -> Vec<String> {
        let peers = self.adapter.peers().into_iter();
        let up = peers.filter(|peer| peer.state == MemberState::Up);
        up.map(|peer| peer.name.to_string()).collect()
    }
}

/// These papers as a node takes them.
pub(crate) fn pki(papers: &Papers) -> Pki {
    let Papers {
        ca,
        certificate,
        key,
    } = papers;
    Pki::from_pem(ca.as_bytes(), certificate.as_bytes(), key.as_bytes()).unwrap()
}

/// Nodes n0, n1, ...; each joins at the one before. All know all when this returns.
pub(crate) async fn chain(count: usize) -> Vec<Node> {
    let secret = Secret::generate();
    let mut nodes: Vec<Node> = Vec::new();
    for index in 0..count {
        let mut builder = Node::builder(&format!("n{index}"), &secret);
        if let Some(before) = nodes.last() {
            builder = builder.join(before.adapter.local_addr());
        }
        nodes.push(Node::start(builder).await);
    }
    meet(&mut nodes).await;
    nodes
}

/// Nodes n0, n1, ... made by these builders' changes; each joins at the one before. All know all when this returns.
pub(crate) async fn cluster<const N: usize>(changes: [fn(Builder) -> Builder; N]) -> Vec<Node> {
    let secret = Secret::generate();
    let mut nodes: Vec<Node> = Vec::new();
    for (index, change) in changes.into_iter().enumerate() {
        let mut builder = change(Node::builder(&format!("n{index}"), &secret));
        if let Some(before) = nodes.last() {
            builder = builder.join(before.adapter.local_addr());
        }
        nodes.push(Node::start(builder).await);
    }
    meet(&mut nodes).await;
    nodes
}

/// Looks again and again, under the deadline, until `is_it`.
pub(crate) async fn until(what: &str, is_it: impl FnMut() -> bool) {
    until_within(DEADLINE, what, is_it).await;
}

/// The same, for what is much work.
pub(crate) async fn until_within(deadline: Duration, what: &str, mut is_it: impl FnMut() -> bool) {
    let waiting = async {
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while !is_it() {
            look.tick().await;
        }
    };
    let waited = tokio::time::timeout(deadline, waiting).await;
    waited.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// Waits until all nodes know all others.
pub(crate) async fn meet(nodes: &mut [Node]) {
    let others = nodes.len() - 1;
    let all = nodes.iter_mut().map(|node| async move {
        let mut up = 0;
        while up < others {
            let event = node
                .event(|event| matches!(event, MemberEvent::Up(_)))
                .await;
            up += usize::from(matches!(event, MemberEvent::Up(_)));
        }
    });
    join_all(all).await;
}
