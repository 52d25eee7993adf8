//! Whether idle nodes say more as time passes: over a quiet hour, and after 1,000 nodes died and others came under new names. On the
//! tracker's pure core, with a clock of its own: only its messages are counted, not what the mesh puts around them.
//!
//! Target: no growth.

use std::time::Duration;

use matryoshka_tracker::testing::StillCluster;

use super::{ENTRIES, NODES};
use crate::bar::Bar;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const REPLACED: usize = 1_000;
const REPLACED_ENTRIES: usize = 100;
/// Simulated, between two.
const REPLACED_EVERY: Duration = Duration::from_secs(10);
const LINKS: usize = NODES * (NODES - 1) / 2;

/// Prints both.
pub(crate) fn run() {
    println!(
        "\n{NODES} idle nodes in simulated time: bytes of the tracker's messages a second and link, both directions"
    );
    let mut cluster = StillCluster::new(NODES, ENTRIES / NODES);
    let (first, last) = (rate(&mut cluster), {
        cluster.pass(HOUR);
        rate(&mut cluster)
    });
    println!("  the first minute {first:.1}, the minute after a quiet hour {last:.1}");
    println!(
        "    growth: {:.3}x  {}",
        last / first,
        Bar::AtMost(1.0).judge(last / first)
    );

    let mut cluster = StillCluster::new(NODES, REPLACED_ENTRIES);
    let (first, known) = (rate(&mut cluster), cluster.remembered());
    let mut most = 0;
    for _ in 0..REPLACED {
        cluster.replace(REPLACED_ENTRIES);
        cluster.pass(REPLACED_EVERY);
        most = most.max(cluster.remembered());
    }
    assert_eq!(
        cluster.listed(),
        NODES * REPLACED_ENTRIES,
        "the dead are in no list"
    );
    let after = rate(&mut cluster);
    println!(
        "  before any node died {first:.1}, after {REPLACED} died and came under new names {after:.1}"
    );
    println!(
        "    growth: {:.3}x  {}",
        after / first,
        Bar::AtMost(1.0).judge(after / first)
    );
    cluster.pass(HOUR);
    println!(
        "    others of whom a node remembers anything: {known} before, {most} at most, {} an hour later",
        cluster.remembered()
    );
}

/// Over a minute.
fn rate(cluster: &mut StillCluster) -> f64 {
    cluster.pass(MINUTE).bytes as f64 / MINUTE.as_secs_f64() / LINKS as f64
}
