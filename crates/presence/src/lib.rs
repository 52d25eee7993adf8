#![doc = include_str!("../README.md")]

mod broadcaster;
mod config;
mod departed;
mod difference;
mod error;
mod events;
mod extras;
mod fetch;
mod fetching;
mod greeting;
mod handler;
mod handling;
mod list;
mod log_lines;
mod meta;
mod mode;
mod of_owner;
mod parts;
mod presence;
mod stats;
mod successors;
mod teller;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
mod topic_config;
mod writing;

pub use config::PresenceConfig;
pub use error::{MetaError, PresenceError, PresenceUpdateError, PushStateError, StartError};
pub use events::{COUNT_EVENT, DIFF_EVENT, STATE_EVENT};
pub use fetch::Fetch;
pub use handler::{Change, HandleMetas};
pub use list::PresenceState;
pub use meta::Meta;
pub use mode::Mode;
pub use of_owner::OfOwner;
pub use presence::Presence;
pub use stats::Stats;
pub use topic_config::TopicConfig;

pub use matryoshka_channel as channel;
pub use matryoshka_tracker as tracker;
