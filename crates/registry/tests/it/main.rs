//! The registry through its public face.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod death;
mod duplicate;
mod listeners;
mod locks;
mod model;
mod parallel;
mod races;
mod reentry;
mod rows;
mod threads;
mod unique;
