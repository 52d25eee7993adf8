//! Sockets end to end: clients over TCP against a server that serves the lab contract, ours or any other, against a bare loop on the same
//! codec, and against a floor that is nothing but the system's calls. What is counted is the servers' own CPU and memory, which the system tells for each process.
//!
//! `MATRYOSHKA_NODE` is the node's program, which is started for each measurement. Instead, `MATRYOSHKA_LAB` is where a server listens, such as
//! `127.0.0.1:4000`, and `MATRYOSHKA_LAB_PIDS` are its processes, with commas between.

mod bare;
mod client;
mod deliver;
mod echo;
mod floor;
mod http;
mod idle;
mod latency;
mod longpoll;
mod poller;
mod process;
mod server;
mod slow;
mod storm;

use std::future::Future;
use std::time::Duration;

use crate::bar::Bar;

pub(crate) use bare::{BARE_LOOP, serve as serve_bare};
pub(crate) use deliver::run as deliver;
pub(crate) use echo::run as echo;
pub(crate) use floor::{FLOOR, serve as serve_floor};
pub(crate) use idle::run as idle;
pub(crate) use latency::run as latency;
pub(crate) use longpoll::run as longpoll;
pub(crate) use slow::run as slow;
pub(crate) use storm::run as storm;

/// Samples per figure; the median counts.
const SAMPLES: usize = 5;

/// The clients have one thread, so that the server has the rest of the machine.
fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs nothing but the system")
        .block_on(work)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU for each of so many, in microseconds, which is seconds for a million.
fn each_us(cpu: Duration, count: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}

/// A server and what is done to it.
trait Load {
    /// CPU for each thing that is done, in microseconds.
    async fn sample(&mut self) -> f64;
}

/// Samples of each kind of server.
#[derive(Default)]
struct Costs {
    lab: Vec<f64>,
    bare: Vec<f64>,
    floor: Vec<f64>,
}

/// The bare loop is no baseline if it needs more than this, of the floor.
const MOST_OF_FLOOR: f64 = 1.4;

impl Costs {
    /// One sample of each kind after the other, so that what slows the machine for a while slows all of them.
    async fn in_turn(mut lab: impl Load, mut bare: impl Load, mut floor: impl Load) -> Self {
        let mut costs = Self::default();
        for _ in 0..SAMPLES {
            costs.lab.push(lab.sample().await);
            costs.bare.push(bare.sample().await);
            costs.floor.push(floor.sample().await);
        }
        costs
    }

    /// The figures and the bars of each kind. A ratio is the median of those of samples that were taken one after the other.
    fn print(self, what: &str, bar: f64) {
        let ratio = median(ratios(&self.lab, &self.bare));
        let of_floor = median(ratios(&self.bare, &self.floor));
        let (lab, bare_loop, floor) = (median(self.lab), median(self.bare), median(self.floor));
        println!(
            "{what}: {lab:.2} us of CPU each ({}); bare loop {bare_loop:.2}, ratio {ratio:.2} ({}); floor {floor:.2}, of which the bare loop \
             takes {of_floor:.2} ({})",
            Bar::AtMost(bar).judge(lab),
            Bar::AtMost(1.5).judge(ratio),
            Bar::AtMost(MOST_OF_FLOOR).judge(of_floor),
        );
    }
}

fn ratios(samples: &[f64], baselines: &[f64]) -> Vec<f64> {
    let both = samples.iter().zip(baselines);
    both.map(|(sample, baseline)| sample / baseline).collect()
}
