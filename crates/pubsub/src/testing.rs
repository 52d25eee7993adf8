//! For the tests of adapters, and of what is built on a pubsub.

pub mod contract;
