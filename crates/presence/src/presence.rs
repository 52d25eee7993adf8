//! The handle: put somebody on a topic's list, change what is said about them, take them off, read the list.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::pubsub::registry::Owner;
use matryoshka_channel::{Flow, PushError, Socket};
use matryoshka_tracker::{PresenceRef, TrackError, Tracker, UpdateError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;

use crate::broadcaster::Broadcaster;
use crate::config::PresenceConfig;
use crate::error::{PresenceError, PresenceUpdateError, StartError};
use crate::list::PresenceState;
use crate::listing::Listing;
use crate::meta::{self, Meta};
use crate::stats::{Counters, Stats};
use crate::told::Told;

/// The event that tells a client the whole list of its topic.
pub const STATE_EVENT: &str = "presence_state";

/// The event that tells clients who came and who went.
pub const DIFF_EVENT: &str = "presence_diff";

/// Who is here, by topic and key, on all nodes of the cluster. A clone is the same presence.
///
/// The methods that take a [`Socket`] speak of that channel: its topic, and as long as the channel lives. Those that end
/// in `_for` take any [`Owner`] and topic instead.
///
/// It ends when its last clone is dropped; what it tracked then leaves the lists of the other nodes.
#[derive(Clone)]
pub struct Presence {
    shared: Arc<Shared>,
}

struct Shared {
    tracker: Tracker,
    listing: Arc<Listing>,
    counters: Arc<Counters>,
    broadcaster: AbortHandle,
}

impl Presence {
    /// Starts a presence with default settings on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// If a presence of the default name runs on this pubsub already (use that one, or [`start`](Self::start) a second
    /// one under another name), or if this is called outside a tokio runtime.
    pub fn new(pubsub: &PubSub) -> Self {
        match Self::start(pubsub, PresenceConfig::default()) {
            Ok(presence) => presence,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a presence on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] if one of its name runs on this pubsub already, or the settings make no sense.
    ///
    /// # Panics
    ///
    /// If this is called outside a tokio runtime.
    pub fn start(pubsub: &PubSub, config: PresenceConfig) -> Result<Self, StartError> {
        let tracker = Tracker::new(pubsub, config.tracker)?;
        let (listing, counters) = (Arc::<Listing>::default(), Arc::<Counters>::default());
        let broadcaster = Broadcaster {
            pubsub: pubsub.clone(),
            diffs: tracker.diffs(),
            told: Told::default(),
            listing: Arc::clone(&listing),
            counters: Arc::clone(&counters),
        };
        let broadcaster = tokio::spawn(broadcaster.run()).abort_handle();
        let shared = Shared {
            tracker,
            listing,
            counters,
            broadcaster,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// For a channel's `join`: once the client has its answer, puts it on the list of its topic until the channel ends,
    /// and pushes it the whole list, itself included, as `presence_state`.
    ///
    /// `meta` is what the list says about it: anything that serializes as a JSON object, or `&()`. If tracking fails
    /// then, the channel ends with an error and the client joins again.
    ///
    /// # Errors
    ///
    /// [`PresenceError::Meta`], at once, if `meta` is no JSON object. It turns into a refusal of the join by `?`.
    pub fn track_after_join<M>(
        &self,
        socket: &mut Socket,
        key: &str,
        meta: &M,
    ) -> Result<(), PresenceError>
    where
        M: Serialize + ?Sized,
    {
        let meta = meta::encode(meta)?;
        let (presence, key) = (self.clone(), key.to_owned());
        socket.after_join(move |socket| {
            Box::pin(async move { presence.enter(socket, &key, meta).await })
        });
        Ok(())
    }

    async fn enter(&self, socket: &Socket, key: &str, meta: Bytes) -> Flow {
        match self
            .track_bytes(socket.owner(), socket.topic(), key, meta)
            .await
        {
            Ok(_) => self.push_state(socket).into(),
            Err(error) => Flow::Fail(error.to_string()),
        }
    }

    /// Puts this channel's client on the list of its topic, until the channel ends or [`untrack`](Self::untrack).
    ///
    /// One channel may track several keys, but each only once. When this returns, [`list`](Self::list) shows it on this
    /// node; clients and other nodes are told soon after.
    ///
    /// # Errors
    ///
    /// [`PresenceError`] if `meta` is no JSON object, or this channel tracks this key already.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the client may be on the list or not, and leaves with the channel.
    pub async fn track<M>(
        &self,
        socket: &Socket,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceError>
    where
        M: Serialize + ?Sized,
    {
        self.track_for(socket.owner(), socket.topic(), key, meta)
            .await
    }

    /// As [`track`](Self::track), for any owner: until the owner is dropped.
    ///
    /// # Errors
    ///
    /// As [`track`](Self::track).
    ///
    /// # Cancel safety
    ///
    /// As [`track`](Self::track).
    pub async fn track_for<M>(
        &self,
        owner: &Owner,
        topic: &str,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceError>
    where
        M: Serialize + ?Sized,
    {
        let meta = meta::encode(meta)?;
        Ok(self.track_bytes(owner, topic, key, meta).await?)
    }

    async fn track_bytes(
        &self,
        owner: &Owner,
        topic: &str,
        key: &str,
        meta: Bytes,
    ) -> Result<PresenceRef, TrackError> {
        let tracked = self
            .shared
            .tracker
            .track_bytes(owner, topic, key, meta)
            .await?;
        let reference = tracked.reference();
        tracked.leave_to_owner();
        Ok(reference)
    }

    /// Replaces what the list says about this channel's client. Clients see it in one `presence_diff`: the old meta in
    /// `leaves`, the new one in `joins` with `phx_ref_prev`.
    ///
    /// # Errors
    ///
    /// [`PresenceUpdateError`] if `meta` is no JSON object, or this channel does not track this key.
    pub async fn update<M>(
        &self,
        socket: &Socket,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceUpdateError>
    where
        M: Serialize + ?Sized,
    {
        self.update_for(socket.owner(), socket.topic(), key, meta)
            .await
    }

    /// As [`update`](Self::update), for any owner.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub async fn update_for<M>(
        &self,
        owner: &Owner,
        topic: &str,
        key: &str,
        meta: &M,
    ) -> Result<PresenceRef, PresenceUpdateError>
    where
        M: Serialize + ?Sized,
    {
        let meta = meta::encode(meta)?;
        let tracker = &self.shared.tracker;
        Ok(tracker.replace_bytes(owner.id(), topic, key, meta).await?)
    }

    /// As [`update`](Self::update), with a function that changes the meta that is there.
    ///
    /// A channel's callbacks run one at a time, so nothing comes between reading and writing, unless you let two of
    /// these futures run side by side: then the later one wins.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); also if the meta does not have the shape of `M`.
    pub async fn update_with<M>(
        &self,
        socket: &Socket,
        key: &str,
        change: impl FnOnce(&mut M),
    ) -> Result<PresenceRef, PresenceUpdateError>
    where
        M: Serialize + DeserializeOwned,
    {
        let tracker = &self.shared.tracker;
        let entry = tracker.own_entry(socket.owner().id(), socket.topic(), key);
        let mut meta: M = Meta::new(entry.ok_or(UpdateError::NoPresence)?).get()?;
        change(&mut meta);
        self.update(socket, key, &meta).await
    }

    /// Takes this channel's client off the list. Tells whether it was there.
    pub async fn untrack(&self, socket: &Socket, key: &str) -> bool {
        self.untrack_for(socket.owner(), socket.topic(), key).await
    }

    /// As [`untrack`](Self::untrack), for any owner.
    pub async fn untrack_for(&self, owner: &Owner, topic: &str, key: &str) -> bool {
        // The errors say that nothing of this owner's is tracked here, as does `false`.
        self.shared
            .tracker
            .untrack(owner.id(), topic, key)
            .await
            .unwrap_or(false)
    }

    /// Who is on a topic's list, as this node knows it. Takes no lock and asks no other node.
    ///
    /// It is never older than a `presence_diff` that this node sent.
    pub fn list(&self, topic: &str) -> PresenceState {
        PresenceState::new(self.shared.tracker.entries(topic).iter().cloned())
    }

    /// The metas of one key of a topic's list; none if the key is not on it.
    pub fn get_by_key(&self, topic: &str, key: &str) -> Vec<Meta> {
        let entries = self.shared.tracker.entries(topic);
        entries
            .by_key(key)
            .map(|entry| Meta::new(Arc::clone(entry)))
            .collect()
    }

    /// Pushes a client the whole list of its topic as `presence_state`, which it must get after every join to be able to
    /// follow. [`track_after_join`](Self::track_after_join) has it included; this is for those who only watch. Call it
    /// from `Socket::after_join`. Pushing a [`list`](Self::list) by hand is not quite the same: this one also keeps its
    /// place among the lists that are sent to all when this node fell behind.
    ///
    /// # Errors
    ///
    /// [`PushError`] if the list cannot be sent to this client.
    pub fn push_state(&self, socket: &Socket) -> Result<(), PushError> {
        self.shared.counters.state();
        let topic = socket.topic();
        self.shared.listing.give(topic, || {
            socket.push_payload(STATE_EVENT, self.list(topic).to_json())
        })
    }

    /// The tracker beneath. What it tracks are the JSON texts of metas.
    pub fn tracker(&self) -> &Tracker {
        &self.shared.tracker
    }

    /// What this node's presence has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot()
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.broadcaster.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::CROWDED_TOPICS;
    use crate::listing::tests::given;

    /// Those who only watch cause no diff.
    #[tokio::test]
    async fn lists_given_where_nobody_is_tracked_do_not_pile_up() {
        let presence = Presence::new(&PubSub::local());
        let listing = &presence.shared.listing;
        for n in 0..4 * CROWDED_TOPICS {
            listing.give(&format!("topic {n}"), || ());
            tokio::task::yield_now().await;
        }
        assert!(
            given(listing) <= CROWDED_TOPICS,
            "{} topics",
            given(listing)
        );
    }
}
