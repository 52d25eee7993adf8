//! Tools for testing the tracker, with feature `test-util`.

pub mod sim;
