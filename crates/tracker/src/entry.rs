//! One tracked value, as every node lists it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use bytes::Bytes;
use matryoshka_pubsub::NodeName;
use serde::de::DeserializeOwned;

use crate::error::MetaError;
use crate::reference::PresenceRef;

/// One value tracked under a topic and a key, somewhere in the cluster. It never changes: an update makes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The topic it is tracked under.
    pub topic: Arc<str>,
    /// The key within the topic. Several entries of a topic may have the same key.
    pub key: Arc<str>,
    /// The value, as the bytes that were tracked.
    pub meta: Bytes,
    /// What tells this value from every other one.
    pub reference: PresenceRef,
    /// The reference of the value that this one replaced, if it came by an update.
    pub previous: Option<PresenceRef>,
    /// The node where it is tracked.
    pub node: NodeName,
    /// The number of its owner. Only comparable with numbers of the same node.
    pub owner: u64,
}

impl Entry {
    /// The value, read as what [`Tracker::track`](crate::Tracker::track) wrote.
    ///
    /// # Errors
    ///
    /// If the bytes are not a value of `M`: another version wrote it, or it was tracked as plain bytes.
    pub fn decode<M: DeserializeOwned>(&self) -> Result<M, MetaError> {
        rmp_serde::from_slice(&self.meta).map_err(MetaError::decode)
    }
}

/// An entry with its value read.
#[derive(Clone, Debug)]
pub struct Present<M> {
    /// The value.
    pub meta: M,
    /// The entry it was read from.
    pub entry: Arc<Entry>,
}
