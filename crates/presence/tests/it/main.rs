//! Presence as clients see it: real channels over the in-memory transport, on a paused clock, on one node and two.

mod behind;
mod channels;
mod client;
mod cluster;
mod js_client;
mod owners;
mod room;
