//! Measurements of the tracker on nodes of one process, which meet over QUIC: two threads do the work of all of them.

mod cluster;
mod fresh;
mod heal;
mod idle;
mod latency;
mod list;
mod quiet;
mod rate;

pub(crate) use fresh::run as fresh;
pub(crate) use heal::run as heal;
pub(crate) use idle::run as idle;
pub(crate) use latency::run as latency;
pub(crate) use list::run as list;
pub(crate) use quiet::run as quiet;
pub(crate) use rate::run as rate;

/// Nodes of a cluster.
const NODES: usize = 3;

/// Entries of the whole cluster.
const ENTRIES: usize = 100_000;

/// Entries of one topic.
const TOPIC_ENTRIES: usize = 1_000;
