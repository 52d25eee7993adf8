//! Tools for testing and measuring the tracker, with feature `test-util`.

pub mod sim;
mod still;

pub use still::{Sent, StillCluster};
