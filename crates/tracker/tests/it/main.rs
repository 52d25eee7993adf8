//! Trackers on several nodes of one process, over the in-memory mesh, on paused time.

mod cluster;
mod consumers;
#[cfg(feature = "test-util")]
mod histories;
mod left_right_model;
mod owners;
mod panics;
mod pools;
mod single;
mod steps;
mod support;
