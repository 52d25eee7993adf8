//! What a listener hears.

use std::fmt;
use std::sync::Arc;

use crate::{Entries, Entry};

/// Something that happened in a registry.
///
/// Replayed in order, changes lead to the registry's content: [`Resync`](Self::Resync) replaces all that was known.
pub enum Change<K, V> {
    /// An entry came.
    Registered {
        /// Under which key.
        key: Arc<K>,
        /// Whose, and with what value.
        entry: Arc<Entry<V>>,
    },
    /// The value of an entry changed (names only). It is the same registration still.
    Updated {
        /// Under which key.
        key: Arc<K>,
        /// With the new value.
        entry: Arc<Entry<V>>,
    },
    /// An entry went.
    Unregistered {
        /// From under which key.
        key: Arc<K>,
        /// As it was at the end.
        entry: Arc<Entry<V>>,
        /// Why.
        reason: Reason,
    },
    /// The listener fell behind and missed changes: this is what stood there afterwards. Every later change follows.
    Resync(Snapshot<K, V>),
}

/// Why an entry went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its guard was dropped, or its owner unregistered it.
    Explicit,
    /// Its owner died.
    OwnerDied,
    /// Its owner was dying, and somebody else took the name before the owner's end got to this entry.
    Replaced,
}

impl<K, V> Clone for Change<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Registered { key, entry } => Self::Registered {
                key: Arc::clone(key),
                entry: Arc::clone(entry),
            },
            Self::Updated { key, entry } => Self::Updated {
                key: Arc::clone(key),
                entry: Arc::clone(entry),
            },
            Self::Unregistered { key, entry, reason } => Self::Unregistered {
                key: Arc::clone(key),
                entry: Arc::clone(entry),
                reason: *reason,
            },
            Self::Resync(snapshot) => Self::Resync(snapshot.clone()),
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Change<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { key, entry } => tuple(f, "Registered", key, entry).finish(),
            Self::Updated { key, entry } => tuple(f, "Updated", key, entry).finish(),
            Self::Unregistered { key, entry, reason } => {
                tuple(f, "Unregistered", key, entry).field(reason).finish()
            }
            Self::Resync(snapshot) => f.debug_tuple("Resync").field(snapshot).finish(),
        }
    }
}

fn tuple<'a, 'b>(
    f: &'a mut fmt::Formatter<'b>,
    name: &str,
    key: &dyn fmt::Debug,
    entry: &dyn fmt::Debug,
) -> fmt::DebugTuple<'a, 'b> {
    let mut tuple = f.debug_tuple(name);
    tuple.field(key).field(entry);
    tuple
}

/// The content of a registry, or of one key of it, such that every later change is told.
///
/// Each key is as it stood at one moment; two keys may have been read at two moments.
pub struct Snapshot<K, V> {
    /// A key may stand here several times, each time with other entries.
    parts: Vec<(Arc<K>, Entries<V>)>,
}

impl<K, V> Snapshot<K, V> {
    pub(crate) fn new(parts: Vec<(Arc<K>, Entries<V>)>) -> Self {
        Self { parts }
    }

    /// Each entry with its key; those of one owner under one key in the order of their registration.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Entry<V>)> {
        let parts = self.parts.iter();
        parts.flat_map(|(key, entries)| entries.iter().map(move |entry| (&**key, entry)))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, entries)| entries.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl<K, V> Clone for Snapshot<K, V> {
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Snapshot<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
