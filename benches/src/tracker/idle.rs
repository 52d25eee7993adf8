//! What three nodes that list 100,000 entries send each other while nothing changes, beside three nodes without a tracker.
//!
//! Target: at most 1 kB a second and peer.

use std::time::Duration;

use super::cluster::Cluster;
use super::{ENTRIES, NODES};
use crate::mesh::meter::{Bar, Meter, load_average};
use crate::mesh::nodes::{Node, mesh};

const LINKS: usize = NODES * (NODES - 1) / 2;
const SETTLE: Duration = Duration::from_secs(2);
/// Several vectors.
const SAMPLE: Duration = Duration::from_secs(12);

/// Prints both.
pub(crate) fn run() {
    println!(
        "\n{NODES} idle nodes that list {ENTRIES} entries; {}",
        load_average()
    );
    let bare = crate::mesh::runtime().block_on(async {
        let nodes = mesh(NODES, None, |builder| builder).await;
        measure(&nodes.iter().collect::<Vec<_>>()).await
    });
    let idle = crate::mesh::runtime().block_on(async {
        let cluster = Cluster::start(NODES, None).await;
        let _owners = cluster.fill(ENTRIES).await;
        let nodes: Vec<&Node> = cluster.sites.iter().map(|site| &site.node).collect();
        measure(&nodes).await
    });
    println!(
        "  UDP bytes a second and link, both directions: {:.0}, without a tracker {:.0}  {}",
        idle.bytes,
        bare.bytes,
        Bar::AtMost(1_000.0).judge(idle.bytes)
    );
    println!(
        "  CPU ms a second, all nodes: {:.1}, without a tracker {:.1}",
        idle.cpu, bare.cpu
    );
}

/// Of a second.
struct Idle {
    /// On each link.
    bytes: f64,
    /// Milliseconds.
    cpu: f64,
}

async fn measure(nodes: &[&Node]) -> Idle {
    let sent = || -> u64 { nodes.iter().map(|node| node.udp_bytes_sent()).sum() };
    tokio::time::sleep(SETTLE).await;
    let (meter, before) = (Meter::start(), sent());
    tokio::time::sleep(SAMPLE).await;
    let (took, bytes) = (meter.stop(), sent() - before);
    let seconds = took.wall.as_secs_f64();
    Idle {
        bytes: bytes as f64 / seconds / LINKS as f64,
        cpu: took.cpu.as_secs_f64() * 1e3 / seconds,
    }
}
