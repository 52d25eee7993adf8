//! The adapters of this crate against the suite for all adapters.

use std::time::Duration;

use matryoshka_pubsub::PubSub;
use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::testing::contract::{self, Rig};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn the_memory_mesh_keeps_the_contract() {
    let cluster = async |count| {
        let mesh = MemoryMesh::new();
        let node = |n| PubSub::with(mesh.node(&format!("n{n}")));
        (0..count).map(node).collect()
    };
    timeout(DEADLINE, contract::all(cluster))
        .await
        .expect("the suite ends");
}

#[tokio::test(start_paused = true)]
async fn a_pubsub_alone_keeps_the_contract_of_a_cluster_of_one() {
    timeout(DEADLINE, contract::every_check(&[PubSub::local()]))
        .await
        .expect("the suite ends");
}

/// Three nodes of one mesh.
struct MeshRig {
    mesh: MemoryMesh,
    nodes: Vec<PubSub>,
}

const NAMES: [&str; 3] = ["n0", "n1", "n2"];

impl MeshRig {
    fn new() -> Self {
        let mesh = MemoryMesh::new();
        let nodes = NAMES.map(|name| PubSub::with(mesh.node(name))).into();
        Self { mesh, nodes }
    }
}

impl Rig for MeshRig {
    fn node(&self, n: usize) -> &PubSub {
        &self.nodes[n]
    }

    async fn kill(&mut self, n: usize) {
        self.mesh.kill(NAMES[n]);
    }

    async fn restart(&mut self, n: usize) {
        self.nodes[n] = PubSub::with(self.mesh.node(NAMES[n]));
    }

    async fn stall(&mut self, n: usize, _topic: &str) {
        NAMES.iter().for_each(|from| self.mesh.hold(from, NAMES[n]));
    }

    async fn resume(&mut self, n: usize) {
        NAMES
            .iter()
            .for_each(|from| self.mesh.release(from, NAMES[n]));
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_mesh_keeps_the_contract_when_nodes_die_and_dawdle() {
    timeout(DEADLINE, contract::with_faults(async || MeshRig::new()))
        .await
        .expect("the suite ends");
}
