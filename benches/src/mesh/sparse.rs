//! Twenty nodes, a topic with subscribers on two of them, one of which publishes 20,000 messages of 1 KiB a second for ten
//! seconds, five times: over loopback, and with a relay before each node that makes every way 100 ms long.
//!
//! Targets: one copy leaves the publisher for each message; of all copies that flooding would have sent, at most 1 % are sent to
//! nodes that do not want them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use matryoshka_pubsub::TopicName;
use matryoshka_pubsub_quic::{QuicAdapter, Stats};
use matryoshka_relay::{Faults, Relay};

use super::load::{Arrived, TOPIC, payload};
use super::meter::{Bar, Meter, Took, Values, load_average};
use super::nodes::{self, Node};
use super::receiving::Receiving;

const NODES: usize = 20;
const BYTES: usize = 1_024;
/// Published at once, twenty a millisecond.
const BURST: u64 = 20;
const TICK: Duration = Duration::from_millis(1);
const SECONDS: u64 = 10;
const A_SECOND: u64 = 1_000 * BURST;
const MESSAGES: u64 = SECONDS * A_SECOND;
/// Before the count: until every node has told what it wants, and QUIC has found out how much the way to the subscriber carries.
const WARM_UP: u64 = 4;
/// After the last message.
const ARRIVE_LIMIT: Duration = Duration::from_secs(10);
/// Between the warming up and the count.
const PAUSE: Duration = Duration::from_secs(1);

/// Prints the table.
pub(crate) fn run() {
    println!(
        "\n{NODES} nodes, {SECONDS} s of 20,000 messages of {BYTES} bytes a second, wanted by two nodes"
    );
    println!(
        "{:>8}  {:>8} {:>8} {:>10} {:>10} {:>9} {:>10} {:>8} {:>7}",
        "one way",
        "/second",
        "copies",
        "for nobody",
        "flooded",
        "held",
        "in ring kB",
        "dropped",
        "CPU s"
    );
    super::runtime().block_on(async {
        let nodes = nodes::mesh(NODES, None, |builder| builder).await;
        rounds(&nodes, Duration::ZERO).await;
    });
    relayed(Duration::from_millis(100));
}

fn relayed(delay: Duration) {
    let mut relay = Relay::start(0).expect("a thread can be started");
    relay.set_everywhere(Faults {
        delay,
        ..Faults::NONE
    });
    super::runtime().block_on(async {
        let nodes = nodes::mesh(NODES, Some(&mut relay), |builder| builder).await;
        rounds(&nodes, delay).await;
    });
}

/// Prints each round, and judges the medians.
async fn rounds(nodes: &[Node], one_way: Duration) {
    let (mut copies, mut flooded) = (Values::default(), Values::default());
    for _ in 0..super::ROUNDS {
        let outcome = publish(nodes).await;
        outcome.print(one_way);
        copies.push(outcome.copies());
        flooded.push(outcome.flooded_percent());
    }
    println!(
        "{:>9} medians: copies: {}; flooded: {}; {}",
        "",
        Bar::AtMost(1.001).judge(copies.median()),
        Bar::AtMost(1.0).judge(flooded.median()),
        load_average()
    );
}

/// What it took, and the counters of what was done meanwhile.
struct Outcome {
    took: Took,
    dropped: u64,
    received: u64,
    for_nobody: u64,
    flooded: u64,
    held: u64,
    most_in_ring: usize,
}

async fn publish(nodes: &[Node]) -> Outcome {
    let arrived = Arc::<Arrived>::default();
    // The publisher's own subscriber is not counted.
    let _own = Receiving::count(&nodes[0].pubsub, TOPIC, &Arc::default());
    let _other = Receiving::count(&nodes[1].pubsub, TOPIC, &arrived);
    publish_in_time(nodes, WARM_UP * A_SECOND).await;
    tokio::time::sleep(PAUSE).await;
    let warm = arrived.count();
    let before: Vec<Stats> = nodes.iter().map(|node| node.mesh.stats()).collect();
    let ring = RingWatch::start(&nodes[0].mesh);
    let meter = Meter::start();
    let dropped = publish_in_time(nodes, MESSAGES).await;
    let took = meter.stop();
    let arriving = arrived.wait_for(warm + MESSAGES - dropped);
    let all = tokio::time::timeout(ARRIVE_LIMIT, arriving).await;
    all.expect("each message arrives where it is wanted");
    let most_in_ring = ring.stop().await;
    let after: Vec<Stats> = nodes.iter().map(|node| node.mesh.stats()).collect();
    let (routed, routed_before) = (after[0].routing, before[0].routing);
    let sum = |of: fn(&Stats) -> u64| {
        let pairs = after.iter().zip(&before);
        pairs.map(|(after, before)| of(after) - of(before)).sum()
    };
    Outcome {
        took,
        dropped,
        received: sum(|stats| stats.received),
        for_nobody: sum(|stats| stats.routing.arrived_for_nobody),
        flooded: routed.flooded() - routed_before.flooded(),
        held: routed.held - routed_before.held,
        most_in_ring,
    }
}

/// A burst each millisecond; what the machine could not do in time follows as soon as it can. How many were dropped.
async fn publish_in_time(nodes: &[Node], messages: u64) -> u64 {
    let publisher = nodes[0].pubsub.publisher();
    let (topic, payload) = (TopicName::from(TOPIC), payload(BYTES));
    let publishing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(TICK);
        let mut dropped = 0;
        for _ in 0..messages / BURST {
            tick.tick().await;
            for _ in 0..BURST {
                let sent = publisher.broadcast(&topic, payload.clone());
                dropped += sent.expect("it is small").dropped.len() as u64;
            }
        }
        dropped
    });
    publishing.await.expect("it does not panic")
}

/// The most that the ring held, looked at often.
struct RingWatch {
    stopped: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<usize>,
}

impl RingWatch {
    fn start(mesh: &QuicAdapter) -> Self {
        let (mesh, stopped) = (mesh.clone(), Arc::<AtomicBool>::default());
        let stop = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            let mut most = 0;
            while !stop.load(Ordering::Relaxed) {
                most = most.max(mesh.stats().ring_bytes);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            most
        });
        Self { stopped, task }
    }

    async fn stop(self) -> usize {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await.expect("it does not panic")
    }
}

impl Outcome {
    /// That left the publisher, for each message.
    fn copies(&self) -> f64 {
        self.received as f64 / MESSAGES as f64
    }

    /// Of the copies that flooding would have sent.
    fn flooded_percent(&self) -> f64 {
        100.0 * self.flooded as f64 / (MESSAGES * (NODES as u64 - 1)) as f64
    }

    fn print(&self, one_way: Duration) {
        println!(
            "{one_way:>8?}  {:>8.0} {:>8.3} {:>10} {:>8.3} % {:>9} {:>10} {:>8} {:>7.1}",
            MESSAGES as f64 / self.took.wall.as_secs_f64(),
            self.copies(),
            self.for_nobody,
            self.flooded_percent(),
            self.held,
            self.most_in_ring / 1_000,
            self.dropped,
            self.took.cpu.as_secs_f64(),
        );
    }
}
