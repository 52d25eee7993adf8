//! Nodes in one process, over QUIC on loopback.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod ca;
mod cluster;
mod contract;
mod log;
mod stranger;

mod faults;
mod hostile;
mod interest;
mod joining;
mod lanes;
mod one_way;
mod overload;
mod own_pki;
mod readme;
mod refusals;
mod rotation;
mod secrecy;
mod seen;
mod versions;
