#![doc = include_str!("../README.md")]

mod chunks;
mod duplicate;
mod edges;
mod entry;
mod owner;
mod registration;
mod shards;
mod unique;

pub use duplicate::DuplicateRegistry;
pub use entry::{Entries, EntriesIter, Entry};
pub use foldhash::quality::RandomState;
pub use owner::{DeathHook, Owner, OwnerId};
pub use registration::Registration;
pub use unique::{AlreadyRegistered, UniqueRegistry};
