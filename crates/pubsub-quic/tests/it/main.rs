//! Nodes in one process, over QUIC on loopback.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cluster;
mod contract;
mod log;

mod faults;
mod interest;
mod joining;
mod one_way;
mod overload;
mod refusals;
mod versions;
