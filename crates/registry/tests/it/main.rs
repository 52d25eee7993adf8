//! The registry through its public face.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod death;
mod duplicate;
mod model;
mod reentry;
mod threads;
mod unique;
