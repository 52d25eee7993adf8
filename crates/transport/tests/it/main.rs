//! The transport from outside: sessions over memory, over WebSockets, over HTTP, and over a carrier of one's own.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod blocked;
mod buffers;
mod connections;
mod contract;
mod crowded;
mod custom;
mod forwarding;
mod handshake;
mod hostile;
mod lab;
mod limits;
mod log;
mod longpoll;
mod mounts;
mod outbox_model;
mod poller;
mod sessions;
mod unfinished;
mod unread;
mod websocket;
