//! Tools for testing and measuring the tracker, with feature `test-util`.

pub mod sim;
mod still;
#[cfg(test)]
pub(crate) mod tally;

pub use still::{Sent, StillCluster};
