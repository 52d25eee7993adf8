//! What 100,000 topics cost a cluster that routes by interest, by a counting allocator: heap bytes of all nodes, which are in this
//! process.
//!
//! One node wants the topics: with one peer, then with 19, which do not. The difference is what a peer keeps to know what the
//! node wants. Then all twenty want 100,000 topics, each its own.
//!
//! `cargo xtask bench mesh-memory`

use std::alloc::System;
use std::time::{Duration, Instant};

use matryoshka_pubsub::{PubSub, Subscription};
use matryoshka_pubsub_quic::{QuicAdapter, Secret};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOPICS: usize = 100_000;
const PEERS: usize = 19;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Until queues and frames that were used on the way are given back.
const SETTLE: Duration = Duration::from_secs(2);
/// That all nodes meet, and that all know what all want.
const LIMIT: Duration = Duration::from_secs(300);

fn main() {
    println!("heap bytes for each of {TOPICS} topics of 24 bytes, all nodes together");
    let alone = alone();
    println!("  subscribed to on a node without a mesh: {alone}");
    let (one, _) = wanted_by_the_first(1 + 1);
    println!("  wanted by a node with one peer: {one}");
    let (all, took) = wanted_by_the_first(1 + PEERS);
    println!("  wanted by a node with {PEERS} peers: {all}, known to all after {took:.1?}");
    let each_peer = (all - one) / (PEERS - 1);
    println!("  hence on each peer: {each_peer}");
    println!(
        "  hence on the node, beside the subscription: {}",
        one - alone - each_peer
    );
    let (every, took) = wanted_by_all(1 + PEERS);
    println!("all {} nodes want {TOPICS} topics, each its own", 1 + PEERS);
    println!(
        "  for each topic on all nodes together: {every}, known to all after {took:.1?}; of which on each peer: {}",
        (every - (one - each_peer)) / PEERS
    );
}

fn topic(node: usize, n: usize) -> String {
    format!("room:{node:03}:{n:015}")
}

fn subscribe(pubsub: &PubSub, node: usize) -> Vec<Subscription> {
    let mut held = Vec::with_capacity(TOPICS);
    held.extend((0..TOPICS).map(|n| pubsub.subscribe(topic(node, n)).expect("a short name")));
    held
}

/// Bytes that stay allocated for each topic, and how long `act` took.
fn each(topics: usize, act: impl FnOnce() -> Vec<Vec<Subscription>>) -> (usize, Duration) {
    let (region, start) = (Region::new(COUNTING), Instant::now());
    let held = act();
    let took = start.elapsed();
    std::thread::sleep(SETTLE);
    let change = region.change();
    let values: usize = held.iter().map(|held| held.capacity()).sum();
    let values = values * size_of::<Subscription>();
    let stay = change.bytes_allocated - change.bytes_deallocated - values;
    (stay / topics, took)
}

fn alone() -> usize {
    let pubsub = PubSub::local();
    each(TOPICS, || vec![subscribe(&pubsub, 0)]).0
}

fn wanted_by_the_first(nodes: usize) -> (usize, Duration) {
    let cluster = Cluster::start(nodes);
    each(TOPICS, || {
        let held = subscribe(&cluster.nodes[0].1, 0);
        let peers = &cluster.nodes[1..];
        cluster.wait(|| {
            peers
                .iter()
                .all(|(mesh, _)| mesh.stats().topics_of_peers == TOPICS)
        });
        vec![held]
    })
}

fn wanted_by_all(nodes: usize) -> (usize, Duration) {
    let cluster = Cluster::start(nodes);
    each(nodes * TOPICS, || {
        let pubsubs = cluster.nodes.iter().map(|(_, pubsub)| pubsub);
        let held = pubsubs.enumerate().map(|(n, pubsub)| subscribe(pubsub, n));
        let held = held.collect();
        let foreign = (nodes - 1) * TOPICS;
        let knows_all = |(mesh, _): &(QuicAdapter, PubSub)| mesh.stats().topics_of_peers == foreign;
        cluster.wait(|| cluster.nodes.iter().all(knows_all));
        held
    })
}

struct Cluster {
    runtime: Runtime,
    nodes: Vec<(QuicAdapter, PubSub)>,
}

impl Cluster {
    /// So many nodes, with a link between each two.
    fn start(count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let mut cluster = Self {
            runtime: runtime.expect("threads can be started"),
            nodes: Vec::new(),
        };
        let secret = Secret::generate();
        for n in 0..count {
            let mut builder = QuicAdapter::builder(format!("node-{n}")).secret(secret.clone());
            if let Some((seed, _)) = cluster.nodes.first() {
                builder = builder.join(seed.local_addr());
            }
            let mesh = cluster.runtime.block_on(builder.start());
            let mesh = mesh.expect("a free port");
            let _here = cluster.runtime.enter();
            let pubsub = PubSub::with(mesh.clone());
            cluster.nodes.push((mesh, pubsub));
        }
        let links = count as u64 - 1;
        cluster.wait(|| {
            cluster
                .nodes
                .iter()
                .all(|(mesh, _)| mesh.stats().up == links)
        });
        std::thread::sleep(SETTLE);
        cluster
    }

    fn wait(&self, until: impl Fn() -> bool) {
        let start = Instant::now();
        while !until() {
            assert!(start.elapsed() < LIMIT, "it takes too long");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
