//! The application's own ear: called for everybody who comes, goes or changes.

use std::fmt;
use std::sync::Arc;

use matryoshka_tracker::Entries;
use serde::de::DeserializeOwned;

use crate::error::MetaError;
use crate::extras::Extras;
use crate::list::PresenceState;
use crate::meta::Meta;

/// Told of all who come, go or change, on any topic of any node, as this node learns of it: for what a server itself wants to do
/// then, such as noting when somebody was last seen. Every node has its own and is told by itself.
///
/// The value is its state. Its methods are called one at a time in a task of its own, after the clients have been told; for
/// one diff first the joins, then the updates, then the leaves, in order of their keys. While it is busy, what happens is kept by topic
/// and merged, so who came and went meanwhile is not mentioned; it is never behind by more than the lists there are. A call that
/// panics is lost, counted and logged, and the next one is made. It goes into
/// [`PresenceConfig::with_handler`](crate::PresenceConfig::with_handler).
///
/// ```
/// use std::collections::BTreeSet;
///
/// use matryoshka_presence::{Change, HandleMetas, Meta};
///
/// /// Who is anywhere.
/// #[derive(Default)]
/// struct Online(BTreeSet<String>);
///
/// impl HandleMetas for Online {
///     async fn on_join(&mut self, change: &Change<'_>, _joined: &[Meta]) {
///         self.0.insert(change.key().to_owned());
///     }
///
///     async fn on_leave(&mut self, change: &Change<'_>, _left: &[Meta]) {
///         if change.metas().is_empty() {
///             self.0.remove(change.key());
///         }
///     }
/// }
/// ```
pub trait HandleMetas: Send + 'static {
    /// These metas of a key are new: somebody came, or one more device of somebody.
    ///
    /// # Cancel safety
    ///
    /// It is dropped when the presence ends, wherever it waits, and is not called again.
    fn on_join(&mut self, change: &Change<'_>, joined: &[Meta]) -> impl Future<Output = ()> + Send {
        let _ = (change, joined);
        async {}
    }

    /// One meta of a key was replaced.
    ///
    /// # Cancel safety
    ///
    /// As [`on_join`](Self::on_join).
    fn on_update(
        &mut self,
        change: &Change<'_>,
        old: &Meta,
        new: &Meta,
    ) -> impl Future<Output = ()> + Send {
        let _ = (change, old, new);
        async {}
    }

    /// These metas of a key are gone. [`Change::metas`] tells whether others remain.
    ///
    /// # Cancel safety
    ///
    /// As [`on_join`](Self::on_join).
    fn on_leave(&mut self, change: &Change<'_>, left: &[Meta]) -> impl Future<Output = ()> + Send {
        let _ = (change, left);
        async {}
    }
}

/// Where something changed, and what is there after the whole diff.
pub struct Change<'a> {
    topic: &'a str,
    key: &'a str,
    list: &'a Entries,
    extras: &'a Extras,
}

impl<'a> Change<'a> {
    pub(crate) fn new(topic: &'a str, key: &'a str, list: &'a Entries, extras: &'a Extras) -> Self {
        Self {
            topic,
            key,
            list,
            extras,
        }
    }

    /// The topic.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The key.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// All metas of the key after the change; none if it is gone.
    pub fn metas(&self) -> Vec<Meta> {
        let entries = self.list.by_key(self.key);
        entries.map(|entry| Meta::new(Arc::clone(entry))).collect()
    }

    /// The whole list of the topic after the change, without what was fetched.
    pub fn list(&self) -> PresenceState {
        PresenceState::new(self.list.iter().cloned())
    }

    /// What was [fetched](crate::Fetch) for the key; nothing if that brought nothing.
    ///
    /// # Errors
    ///
    /// [`MetaError::Shape`] if it does not have the shape of `T`.
    pub fn extra<T: DeserializeOwned>(&self) -> Result<Option<T>, MetaError> {
        self.extras.read(self.key)
    }
}

impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("metas", &self.metas())
            .finish_non_exhaustive()
    }
}
