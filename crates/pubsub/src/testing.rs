//! For adapters' tests.

pub mod contract;
