//! What one owner tracks, channel or not.

use bytes::Bytes;
use matryoshka_channel::pubsub::registry::Owner;
use matryoshka_tracker::PresenceRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{PresenceError, PresenceUpdateError};
use crate::meta;
use crate::presence::Presence;

/// A [`Presence`] as one owner uses it: what [`Presence::track`] and the others do for a channel and its topic, for any owner and topic.
///
/// ```
/// # use matryoshka_presence::{Presence, PresenceError};
/// # use matryoshka_presence::channel::pubsub::registry::Owner;
/// # async fn robots(presence: &Presence) -> Result<(), PresenceError> {
/// let robots = Owner::new(); // they are on the list while this lives
/// presence.of(&robots).track("room:lobby", "r2", &()).await?;
/// presence.of(&robots).track("room:lobby", "c3", &()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OfOwner<'a> {
    presence: &'a Presence,
    owner: &'a Owner,
}

impl<'a> OfOwner<'a> {
    pub(crate) fn new(presence: &'a Presence, owner: &'a Owner) -> Self {
        Self { presence, owner }
    }

    /// As [`Presence::track`], until the owner is dropped.
    ///
    /// # Errors
    ///
    /// As [`Presence::track`]; also if no client can subscribe to that topic.
    ///
    /// # Cancel safety
    ///
    /// As [`Presence::track`].
    pub async fn track<M>(
        self,
        topic: &str,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceError>
    where
        M: Serialize + ?Sized,
    {
        let meta = meta::encode(meta)?;
        let presence = self.presence;
        presence.track_bytes(self.owner, topic, key, meta).await
    }

    /// As [`Presence::update`].
    ///
    /// # Errors
    ///
    /// As [`Presence::update`].
    ///
    /// # Cancel safety
    ///
    /// As [`Presence::update`].
    pub async fn update<M>(
        self,
        topic: &str,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceUpdateError>
    where
        M: Serialize + ?Sized,
    {
        let meta = meta::encode(meta)?;
        let (tracker, owner) = (self.presence.tracker(), self.owner.id());
        Ok(tracker.replace_bytes(owner, topic, key, meta).await?)
    }

    /// As [`Presence::update_with`].
    ///
    /// # Errors
    ///
    /// As [`Presence::update_with`].
    ///
    /// # Cancel safety
    ///
    /// As [`Presence::update`].
    pub async fn update_with<M>(
        self,
        topic: &str,
        key: &str,
        mut change: impl FnMut(&mut M),
    ) -> Result<PresenceRef, PresenceUpdateError>
    where
        M: Serialize + DeserializeOwned,
    {
        let changed = |there: &Bytes| {
            let mut meta = meta::decode(there)?;
            change(&mut meta);
            Ok(meta::encode(&meta)?)
        };
        let (tracker, owner) = (self.presence.tracker(), self.owner.id());
        tracker.try_update_bytes(owner, topic, key, changed).await
    }

    /// As [`Presence::untrack`].
    ///
    /// # Cancel safety
    ///
    /// As [`Presence::untrack`].
    pub async fn untrack(self, topic: &str, key: &str) -> bool {
        let (tracker, owner) = (self.presence.tracker(), self.owner.id());
        // The errors say that nothing of this owner's is tracked here, as does `false`.
        tracker.untrack(owner, topic, key).await.unwrap_or(false)
    }

    /// As [`Presence::untrack_all`], on all topics.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, some of them may be off the lists and others not: call it again.
    pub async fn untrack_all(self) -> usize {
        let (tracker, owner) = (self.presence.tracker(), self.owner.id());
        // A tracker that was closed tracks nothing.
        tracker.untrack_owner(owner).await.unwrap_or(0)
    }
}
