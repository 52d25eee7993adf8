//! How long a node that was never there needs from its first link to the whole list.
//!
//! Target: at most 1 s for 100,000 entries.

use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::MemberEvent;

use super::cluster::Cluster;
use super::{ENTRIES, NODES};
use crate::mesh::ROUNDS;
use crate::mesh::meter::{Bar, Meter, Values, load_average};

/// Between two fresh nodes, until the one before is gone.
const SETTLE: Duration = Duration::from_secs(1);

/// Prints the times.
pub(crate) fn run() {
    println!(
        "\na fresh node joins {NODES} that list {ENTRIES} entries, {ROUNDS} times; {}",
        load_average()
    );
    let (mut times, mut cpu) = (Values::default(), Values::default());
    crate::mesh::runtime().block_on(async {
        let mut cluster = Cluster::start(NODES, None).await;
        let _owners = cluster.fill(ENTRIES).await;
        for round in 0..ROUNDS {
            tokio::time::sleep(SETTLE).await;
            let meter = Meter::start();
            let fresh = cluster.add(&format!("fresh-{round}"), None).await;
            let mut members = fresh.node.pubsub.members();
            while !matches!(members.next().await, MemberEvent::Up(_)) {}
            let up = Instant::now();
            fresh.lists(ENTRIES).await;
            times.push(up.elapsed().as_secs_f64());
            cpu.push(meter.stop().cpu.as_secs_f64());
        }
    });
    println!(
        "  seconds from its first link to the whole list: {times}  {}",
        Bar::AtMost(1.0).judge(times.max())
    );
    println!("  seconds of CPU, all {} nodes: {cpu}", NODES + 1);
}
