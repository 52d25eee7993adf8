#![doc = include_str!("../README.md")]

pub use matryoshka_pubsub as pubsub;

mod config;
mod diff;
mod diffs;
mod driver;
mod entries;
mod entry;
mod error;
mod gone;
mod held;
mod inbox;
mod left_right;
mod life;
mod message;
mod owner_log;
mod peer;
mod published;
mod reference;
mod replica;
mod runs;
mod shard;
mod slot;
mod stats;
mod sync;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
mod tracked;
mod tracker;
mod visible;

pub use config::TrackerConfig;
pub use diff::Diff;
pub use diffs::{DiffEvent, Diffs, Snapshot, TopicDiffs, TopicEvent};
pub use entries::Entries;
pub use entry::{Entry, Present, Verdict};
pub use error::{
    Closed, ConfigError, MetaError, TrackError, TrackerError, UntrackError, UpdateError,
};
pub use reference::{NotAReference, PresenceRef};
pub use stats::Stats;
pub use tracked::Tracked;
pub use tracker::Tracker;
