//! Three nodes that track 100,000 entries: one node after the other while the others copy, and all three at once.
//!
//! Targets for each node: at least 50,000 a second; 99 of 100 calls within 5 ms.

use std::time::Instant;

use super::cluster::{CALLERS, Cluster, share, track};
use super::{ENTRIES, NODES};
use crate::mesh::ROUNDS;
use crate::mesh::meter::{Bar, Meter, Values, load_average};

/// Prints both.
pub(crate) fn run() {
    println!(
        "\n{ENTRIES} entries on {NODES} nodes, {CALLERS} callers on each node that tracks; {}",
        load_average()
    );
    let (mut apart, mut together) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        crate::mesh::runtime().block_on(in_turn(&mut apart));
        crate::mesh::runtime().block_on(at_once(&mut together));
    }
    println!("  one node after the other, two copying");
    apart.print();
    println!("  all nodes at once, each copying two");
    together.print();
}

#[derive(Default)]
struct Figures {
    rates: Values,
    ninety_ninth: Values,
    worst: Values,
    whole: Values,
    cpu: Values,
}

impl Figures {
    fn print(&self) {
        let Self {
            rates,
            ninety_ninth,
            worst,
            whole,
            cpu,
        } = self;
        println!(
            "    tracked a second and node: {rates}  {}",
            Bar::AtLeast(50_000.0).judge(rates.median())
        );
        println!(
            "    99th percentile of a call, ms: {ninety_ninth}  {}",
            Bar::AtMost(5.0).judge(ninety_ninth.median())
        );
        println!("    slowest call, ms: {worst}");
        println!("    from the last call to all lists whole, ms: {whole}");
        println!("    CPU us for each entry, tracked once and copied twice: {cpu}");
    }

    fn note(&mut self, entries: usize, wall: f64, calls: Vec<f64>) {
        let calls: Values = calls.into_iter().map(|call| call * 1e3).collect();
        self.rates.push(entries as f64 / wall);
        self.ninety_ninth.push(calls.percentile(99));
        self.worst.push(calls.max());
    }
}

async fn in_turn(figures: &mut Figures) {
    let cluster = Cluster::start(NODES, None).await;
    let mut owners = Vec::new();
    for (n, site) in cluster.sites.iter().enumerate() {
        let (from, to) = share(n, NODES, ENTRIES);
        let meter = Meter::start();
        let tracking = track(site, from, to).await;
        figures.note(to - from, tracking.wall.as_secs_f64(), tracking.calls);
        owners.push(tracking.owners);
        figures.whole.push(whole(&cluster, to).await);
        figures
            .cpu
            .push(meter.stop().cpu.as_secs_f64() * 1e6 / (to - from) as f64);
    }
}

async fn at_once(figures: &mut Figures) {
    let cluster = Cluster::start(NODES, None).await;
    let meter = Meter::start();
    let of = |n: usize| {
        let (from, to) = share(n, NODES, ENTRIES);
        track(&cluster.sites[n], from, to)
    };
    let (one, two, three) = tokio::join!(of(0), of(1), of(2));
    let mut owners = Vec::new();
    for tracking in [one, two, three] {
        figures.note(
            tracking.calls.len(),
            tracking.wall.as_secs_f64(),
            tracking.calls,
        );
        owners.push(tracking.owners);
    }
    figures.whole.push(whole(&cluster, ENTRIES).await);
    figures
        .cpu
        .push(meter.stop().cpu.as_secs_f64() * 1e6 / ENTRIES as f64);
}

/// Milliseconds until all nodes list so many.
async fn whole(cluster: &Cluster, entries: usize) -> f64 {
    let began = Instant::now();
    for site in &cluster.sites {
        site.lists(entries).await;
    }
    began.elapsed().as_secs_f64() * 1e3
}
