#![doc = include_str!("../README.md")]

mod broadcaster;
mod config;
mod error;
mod list;
mod listing;
mod meta;
mod presence;
mod stats;
mod told;

pub use config::PresenceConfig;
pub use error::{MetaError, PresenceError, PresenceUpdateError, StartError};
pub use list::PresenceState;
pub use meta::Meta;
pub use presence::{DIFF_EVENT, Presence, STATE_EVENT};
pub use stats::Stats;

pub use matryoshka_channel as channel;
pub use matryoshka_tracker as tracker;
