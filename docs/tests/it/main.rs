//! The guide's programs, compiled and used as a reader would use them.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, nothing to unwrap is a failure"
)]

mod authentication;
mod chat;
mod checklists;
mod client;
#[cfg(unix)]
mod cluster;
mod custom_transport;
mod limits;
mod log_lines;
mod phoenix;
mod presence;
mod presence_ids;
mod program;
mod promises;
mod registry_and_pubsub_ids;
mod sources;
mod testing;
mod two_terminals;
mod world;
