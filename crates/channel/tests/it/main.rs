//! The protocol, from the client's end: scripts of frames over the in-memory carrier, on paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod at_once;
mod backlog;
mod census;
mod client;
mod crowd;
mod earlier;
mod ending;
mod expiry;
mod fast_lane;
mod first_mistakes;
mod flooded;
mod holding;
mod joining;
mod lab;
mod leaving;
mod log;
mod messages;
mod mixed;
mod observing;
mod order;
mod outside;
mod overrun;
mod own_wire;
mod polling;
mod pushing;
mod rates;
mod results;
mod routing;
mod settings;
mod slow;
mod sockets;
mod storm;
mod testing;
mod timers;
mod transcripts;
mod typed;
mod unhandled;
mod unread;
