//! What an entry takes, by a counting allocator: heap bytes of nodes that list 100,000 entries with a small value, each entry
//! of an owner of its own: a thousand to a topic, and each in a topic of its own. Nodes meet in memory; owners are there before.
//!
//! Target: at most 400 bytes an entry and node.
//!
//! `cargo xtask bench tracker-memory`

#[expect(dead_code, reason = "here all bars are upper ones")]
mod bar;

use std::alloc::System;
use std::time::{Duration, Instant};

use matryoshka_pubsub::PubSub;
use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::registry::Owner;
use matryoshka_tracker::testing::StillCluster;
use matryoshka_tracker::{Tracker, TrackerConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

use bar::Bar;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NODES: usize = 3;
const ENTRIES: usize = 100_000;
/// As JSON: what a presence tracks.
const META: &[u8] = br#"{"online_at":1700000000,"status":"online"}"#;
/// Entries of a topic, and the value of each.
const LAYOUTS: [(usize, &[u8]); 3] = [(1_000, META), (1, META), (1, b"{}")];
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Until queues that were used on the way are given back.
const SETTLE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    for (topic_entries, meta) in LAYOUTS {
        Layout {
            topic_entries,
            meta,
        }
        .print();
    }
    growth();
}

/// How entries are spread.
#[derive(Clone, Copy)]
struct Layout {
    topic_entries: usize,
    meta: &'static [u8],
}

impl Layout {
    fn print(self) {
        println!(
            "heap bytes for each of {ENTRIES} entries: {} to a topic, topics of 10 bytes, keys of 11, values of {}",
            self.topic_entries,
            self.meta.len()
        );
        let alone = each(self, &[ENTRIES]);
        println!(
            "  on the node where all are tracked, without others: {alone}  {}",
            judge(alone)
        );
        let copied = each(self, &[ENTRIES, 0]) - alone;
        println!(
            "  on a node that has copies only: {copied}  {}",
            judge(copied)
        );
        let third = ENTRIES / NODES;
        let average = each(self, &[third, third, ENTRIES - 2 * third]) / NODES;
        println!(
            "  on each of {NODES} nodes, of which each tracks a third: {average}  {}",
            judge(average)
        );
    }

    fn topic_of(self, entry: usize) -> String {
        topic(entry / self.topic_entries)
    }
}

fn judge(bytes: usize) -> String {
    Bar::AtMost(400.0).judge(bytes as f64)
}

/// Bytes that stay allocated on all nodes together for each entry of the cluster; so many are tracked on each node.
fn each(layout: Layout, tracked: &[usize]) -> usize {
    let cluster = Cluster::start(tracked.len());
    let owners: Vec<Vec<Owner>> = tracked
        .iter()
        .map(|count| (0..*count).map(|_| Owner::new()).collect())
        .collect();
    let region = Region::new(COUNTING);
    cluster.track(layout, &owners);
    std::thread::sleep(SETTLE);
    let change = region.change();
    let stay = change.bytes_allocated - change.bytes_deallocated;
    drop(owners);
    stay / ENTRIES
}

struct Cluster {
    runtime: Runtime,
    trackers: Vec<Tracker>,
}

impl Cluster {
    fn start(nodes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let here = runtime.enter();
        let mesh = MemoryMesh::new();
        let tracker = |n: usize| {
            let pubsub = PubSub::with(mesh.node(&format!("node-{n}")));
            Tracker::new(&pubsub, TrackerConfig::default()).expect("the first of its name")
        };
        let trackers = (0..nodes).map(tracker).collect();
        drop(here);
        Self { runtime, trackers }
    }

    fn track(&self, layout: Layout, owners: &[Vec<Owner>]) {
        let mut entry = 0;
        for (tracker, owners) in self.trackers.iter().zip(owners) {
            self.runtime.block_on(async {
                for owner in owners {
                    let (topic, key) = (layout.topic_of(entry), format!("user-{entry:06}"));
                    let tracked = tracker
                        .track_bytes(owner, &topic, &key, layout.meta.to_vec())
                        .await;
                    tracked.expect("the tracker runs").leave_to_owner();
                    entry += 1;
                }
            });
        }
        let began = Instant::now();
        let listed = |tracker: &Tracker| -> usize {
            (0..ENTRIES / layout.topic_entries)
                .map(|n| tracker.count(&topic(n)))
                .sum()
        };
        while self
            .trackers
            .iter()
            .any(|tracker| listed(tracker) != ENTRIES)
        {
            assert!(began.elapsed() < LIMIT, "it takes too long");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn topic(number: usize) -> String {
    format!("room:{number:05}")
}

/// Of the pure core, in simulated time.
fn growth() {
    const HOUR: Duration = Duration::from_secs(3_600);
    const REPLACED: usize = 1_000;
    let mut cluster = StillCluster::new(NODES, ENTRIES / NODES);
    cluster.pass(HOUR);
    let region = Region::new(COUNTING);
    cluster.pass(HOUR);
    println!(
        "  growth over a quiet hour, simulated, all nodes: {} bytes",
        stayed(&region)
    );
    let mut cluster = StillCluster::new(NODES, 100);
    for _ in 0..REPLACED {
        cluster.replace(100);
        cluster.pass(Duration::from_secs(10));
    }
    cluster.pass(HOUR);
    let region = Region::new(COUNTING);
    for _ in 0..REPLACED {
        cluster.replace(100);
        cluster.pass(Duration::from_secs(10));
    }
    cluster.pass(HOUR);
    println!(
        "  growth over {REPLACED} more nodes that died and came under new names, and an hour: {} bytes",
        stayed(&region)
    );
}

fn stayed(region: &Region<'_, System>) -> isize {
    let change = region.change();
    change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed()
}
