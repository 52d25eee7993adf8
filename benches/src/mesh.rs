//! Measurements of the cluster link, each against bare QUIC with the same certificates, windows, frames and threads, in turn in
//! one run.

mod bare;
mod heal;
mod idle;
mod latency;
mod load;
mod loss;
pub(crate) mod meter;
pub(crate) mod nodes;
mod ping;
mod receiving;
mod rivals;
mod sparse;
mod tcp;
mod throughput;

use tokio::runtime::{Builder, Runtime};

pub(crate) use heal::run as heal;
pub(crate) use idle::run as idle;
pub(crate) use latency::run as latency;
pub(crate) use loss::run as loss;
pub(crate) use rivals::run as rivals;
pub(crate) use sparse::run as sparse;
pub(crate) use throughput::run as throughput;

/// How often each comparison is repeated; medians are printed.
pub(crate) const ROUNDS: usize = 5;

/// Threads of a runtime, whatever it runs.
const THREADS: usize = 2;

pub(crate) fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    runtime.expect("threads can be started")
}
