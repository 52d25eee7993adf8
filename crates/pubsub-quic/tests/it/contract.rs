//! What every adapter must do.

use std::net::SocketAddr;
use std::sync::Arc;

use matryoshka_pubsub_quic::pubsub::cluster::MemberEvent;
use matryoshka_pubsub_quic::pubsub::testing::contract::{self, Rig};
use matryoshka_pubsub_quic::pubsub::{PubSub, SinkSubscription};
use matryoshka_pubsub_quic::{Builder, Secret};
use tokio::runtime::Runtime;

use crate::cluster::{DEADLINE, Node, cluster};
use crate::overload::Gate;

async fn keeps_the_contract(change: fn(Builder) -> Builder) {
    let suite = contract::all(async |count| {
        let nodes = match count {
            1 => cluster([change]).await,
            _ => cluster([change; 3]).await,
        };
        nodes.into_iter().map(|node| node.pubsub).collect()
    });
    tokio::time::timeout(DEADLINE, suite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_keeps_the_contract() {
    keeps_the_contract(|builder| builder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_keeps_the_contract_without_interest_routing() {
    keeps_the_contract(|builder| builder.interest(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_keeps_the_contract_as_the_release_before() {
    keeps_the_contract(|builder| builder.protocol(1)).await;
}

/// Three nodes, each in a runtime of its own, so that one can be killed or held up without the others.
struct QuicRig {
    secret: Secret,
    nodes: Vec<Life>,
}

struct Life {
    /// Gone once it is killed.
    runtime: Option<Runtime>,
    node: Node,
    /// What holds it up.
    stalled: Option<(Arc<Gate>, SinkSubscription)>,
}

const NAMES: [&str; 3] = ["n0", "n1", "n2"];

impl Life {
    async fn start(secret: &Secret, n: usize, seeds: Vec<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .unwrap();
        let builder = Node::builder(NAMES[n], secret);
        let builder = seeds.into_iter().fold(builder, Builder::join);
        let node = runtime.spawn(Node::start(builder)).await.unwrap();
        Self {
            runtime: Some(runtime),
            node,
            stalled: None,
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some((gate, _)) = &self.stalled {
            gate.open();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl QuicRig {
    async fn new() -> Self {
        let secret = Secret::generate();
        let mut nodes: Vec<Life> = Vec::new();
        for n in 0..NAMES.len() {
            let seeds = nodes.iter().map(|life| life.node.adapter.local_addr());
            let life = Life::start(&secret, n, seeds.collect()).await;
            nodes.push(life);
        }
        let mut rig = Self { secret, nodes };
        for n in 0..NAMES.len() {
            rig.meets_the_others(n).await;
        }
        rig
    }

    async fn meets_the_others(&mut self, n: usize) {
        for _ in 1..NAMES.len() {
            let up = |event: &MemberEvent| matches!(event, MemberEvent::Up(_));
            self.nodes[n].node.event(up).await;
        }
    }
}

impl Rig for QuicRig {
    fn node(&self, n: usize) -> &PubSub {
        &self.nodes[n].node.pubsub
    }

    async fn kill(&mut self, n: usize) {
        let runtime = self.nodes[n].runtime.take();
        runtime.expect("a node that runs").shutdown_background();
    }

    async fn restart(&mut self, n: usize) {
        let others = (0..NAMES.len()).filter(|other| *other != n);
        let seeds: Vec<_> = others
            .clone()
            .map(|other| self.nodes[other].node.adapter.local_addr())
            .collect();
        self.nodes[n] = Life::start(&self.secret, n, seeds).await;
        self.meets_the_others(n).await;
        for other in others {
            let life = self.nodes[n].node.pubsub.incarnation();
            while self.nodes[other].node.up(NAMES[n]).await.incarnation != life {}
        }
    }

    async fn stall(&mut self, n: usize, topic: &str) {
        let gate = Arc::new(Gate::default());
        let sink = self.node(n).subscribe_sink(topic, gate.clone()).unwrap();
        self.nodes[n].stalled = Some((gate, sink));
    }

    async fn resume(&mut self, n: usize) {
        if let Some((gate, _)) = self.nodes[n].stalled.take() {
            gate.open();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adapter_keeps_the_contract_when_nodes_die_and_dawdle() {
    let suite = contract::with_faults(QuicRig::new);
    tokio::time::timeout(2 * DEADLINE, suite).await.unwrap();
}
