//! Presence as clients see it: real channels over the in-memory transport, on a paused clock, on one node and two.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, nothing to unwrap is a failure"
)]

mod behind;
mod channels;
mod client;
mod cluster;
mod fetch;
mod grace;
mod handler;
#[path = "../../src/teller/histories/js_client.rs"]
mod js_client;
mod large;
mod modes;
mod owners;
mod room;
mod state_first;
mod unread;
