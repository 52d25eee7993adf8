//! The whole link between nodes, played from a seed: the shipped mesh, traffic, queues, readers and codecs, over a pretended
//! network on a pretended clock.
//!
//! A history is a setup and at least 200 steps, drawn from a seed: people subscribe and publish, packets are lost, ways cut,
//! processes stopped, killed and started again with clocks that jumped, names borne twice. Watchers check each delivery and each
//! event against what is promised (Q1 to Q5, Q7, and the contract of adapters) and at each tick what is held (Q6). In the end everything
//! is mended: all must be linked within three seconds of the last stale link, and nothing that is owed may be missing.
//!
//! How many times a broadcast is encoded (Q8) is a test of `proto::traffic`. What a local subscriber
//! gets is played by a registry of the simulator's own; that the pubsub's gives each one copy, over these links too, is
//! `broadcast_reaches_every_subscriber` of the contract of adapters.
//!
//! `cargo xtask sim --link` plays on without end.
//!
//! Pure: no clock, no I/O, no tasks.

mod cable;
mod history;
mod ledger;
mod network;
mod node;
mod random;
mod registry;
#[cfg(test)]
mod seeds;
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
