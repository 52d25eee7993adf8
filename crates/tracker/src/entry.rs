//! One tracked value, as every node lists it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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
    /// What a reader of the value has found out about it; by default nothing. No part of what the entry says.
    pub verdict: Verdict,
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

    /// Whether it came by updates of the value of that number in its slot, or of a later one.
    pub(crate) fn came_of(&self, put_seq: u64) -> bool {
        self.previous.is_some_and(|was| was.put_seq() >= put_seq)
    }
}

/// Whether a value is what its readers take for one: asked once, and remembered for all lists that have the entry.
///
/// A tracker does not look into values, and other nodes may track anything. Two of these are always equal.
#[derive(Default)]
pub struct Verdict(AtomicU8);

impl Verdict {
    const SOUND: u8 = 1;
    const UNSOUND: u8 = 2;

    /// The verdict: of `judge` if there was none yet. Readers that ask at the same moment may each judge.
    pub fn or_judge(&self, judge: impl FnOnce() -> bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            Self::SOUND => true,
            Self::UNSOUND => false,
            _ => {
                let is_sound = judge();
                let verdict = if is_sound { Self::SOUND } else { Self::UNSOUND };
                self.0.store(verdict, Ordering::Relaxed);
                is_sound
            }
        }
    }
}

/// Of a copy, whose value may be made another, nothing has been found out.
impl Clone for Verdict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Verdict {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Verdict {}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verdict")
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
