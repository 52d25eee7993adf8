//! The registry through its public face.

mod death;
mod duplicate;
mod model;
mod reentry;
mod threads;
mod unique;
