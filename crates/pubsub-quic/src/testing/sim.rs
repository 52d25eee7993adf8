//! The whole link between nodes, played from a seed: the shipped mesh, traffic, queues, readers and codecs, over a pretended
//! network on a pretended clock.
//!
//! Pure: no clock, no I/O, no tasks.

mod cable;
mod history;
mod ledger;
mod network;
mod node;
mod registry;
mod setup;
mod tally;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use history::{Outcome, play};
pub use tally::{Seen, Tally};
#[cfg(test)]
pub(crate) use world::World;
