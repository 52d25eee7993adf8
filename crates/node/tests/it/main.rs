//! The real program, started as a process and driven from outside: flags, HTTP, sockets, a cluster.
//!
//! Nothing here knows the program's insides; ports are picked by the system and read from the
//! ready line, and each wait names what it waits for and has a deadline.

#![allow(
    clippy::unwrap_used,
    reason = "what is unwrapped here is what the test asserts"
)]

#[path = "../../../pubsub-quic/tests/it/ca.rs"]
mod ca;
mod client;
mod cluster;
mod command_line;
mod drain;
mod http;
mod identity;
mod lab;
mod limits;
mod malformed;
mod process;
mod request;
mod room;
