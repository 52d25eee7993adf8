#![doc = include_str!("../README.md")]

mod bound;
mod change;
mod directory;
mod duplicate;
mod edges;
mod entry;
mod key_lock;
mod list;
mod listener;
mod meta;
mod owned;
mod owner;
mod registration;
mod rings;
mod rows;
mod sharable;
mod shards;
mod sync;
mod tap;
mod tree;
mod unique;
mod waiting;
mod watchers;

#[cfg(test)]
mod interleavings;

pub use bound::ZeroBound;
pub use change::{Change, Reason, Snapshot};
pub use directory::ShardBy;
pub use duplicate::{DuplicateBuilder, DuplicateRegistry};
pub use entry::{Entries, EntriesIter, Entry};
pub use foldhash::quality::RandomState;
pub use key_lock::{KeyLocks, Lock, LockGuard, LockTimeout};
pub use listener::{Listener, RecvTimeout, SnapshotAndListener};
pub use meta::{Meta, MetaError};
pub use owner::{DeathHook, Owner, OwnerDead, OwnerId};
pub use registration::Registration;
pub use unique::{RegisterError, UniqueRegistry};
