//! The guard of something tracked.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entry::Entry;
use crate::error::{Closed, UpdateError};
use crate::inbox::Inbox;
use crate::reference::PresenceRef;
use crate::slot::{Target, Ticket};
use crate::tracker::{Tracker, encode};

/// Keeps something tracked. Dropped, it is untracked; it is untracked as well when its owner dies.
///
/// It stands for what its own `track` made, through all updates, and for nothing else: once that has ended, it changes nothing that the
/// same owner tracks later under the same topic and key.
///
/// A guard keeps the tracker running, as a handle of it does.
#[must_use = "dropping it untracks at once"]
pub struct Tracked {
    tracker: Tracker,
    ticket: Ticket,
    lease: Lease,
}

impl Tracked {
    pub(crate) fn new(tracker: Tracker, ticket: Ticket, lease: Lease) -> Self {
        Self {
            tracker,
            ticket,
            lease,
        }
    }

    /// The topic it is tracked under.
    pub fn topic(&self) -> &str {
        &self.ticket.first().topic
    }

    /// The key it is tracked under.
    pub fn key(&self) -> &str {
        &self.ticket.first().key
    }

    /// What is tracked now: after an update another entry than before. As it was at first, once it has left.
    pub fn entry(&self) -> Arc<Entry> {
        let now = self.tracker.find(&self.target());
        now.unwrap_or_else(|| Arc::clone(self.ticket.first()))
    }

    /// The reference of what is tracked now.
    pub fn reference(&self) -> PresenceRef {
        self.entry().reference
    }

    /// Changes the value by a function. It is called again if another task changed the value in between.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]; the value stays. [`NoPresence`](UpdateError::NoPresence) once it has ended, whatever was tracked there since.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the change is either made or not. It stays tracked.
    pub async fn update<M, F>(&self, mut change: F) -> Result<PresenceRef, UpdateError>
    where
        M: Serialize + DeserializeOwned,
        F: FnMut(&mut M),
    {
        self.tracker.update_target(self.target(), &mut change).await
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    ///
    /// # Cancel safety
    ///
    /// As [`update`](Self::update).
    pub async fn replace<M: Serialize + ?Sized>(
        &self,
        meta: &M,
    ) -> Result<PresenceRef, UpdateError> {
        self.replace_bytes(encode(meta)?).await
    }

    /// Replaces the value by plain bytes.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    ///
    /// # Cancel safety
    ///
    /// As [`update`](Self::update).
    pub async fn replace_bytes(&self, meta: impl Into<Bytes>) -> Result<PresenceRef, UpdateError> {
        self.tracker
            .replace_target(self.target(), meta.into())
            .await
    }

    /// Untracks it, and waits until it has left this node's list. Whether it was still tracked.
    ///
    /// # Errors
    ///
    /// If the tracker was closed before; then it has left too.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, even before it was polled, it ends all the same, soon after: the guard is dropped with it. Only a grace of
    /// its own or an announced restart may hold the entry then, as when a guard is dropped.
    pub async fn untrack(self) -> Result<bool, Closed> {
        let untracked = self.tracker.untrack_target(self.target()).await?;
        // What this node tracks is never refused.
        Ok(untracked.unwrap_or(false))
    }

    /// Gives the guard up: it stays tracked until its owner dies or somebody untracks it.
    pub fn leave_to_owner(mut self) {
        self.lease.ticket = None;
    }

    fn target(&self) -> Target {
        Target::Ticket(self.ticket.clone())
    }
}

impl fmt::Debug for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked")
            .field("entry", &self.entry())
            .finish()
    }
}

/// Ends what one `track` made when it is dropped, if that has not ended before.
pub(crate) struct Lease {
    inbox: Arc<Inbox>,
    ticket: Option<Ticket>,
}

impl Lease {
    pub(crate) fn new(inbox: Arc<Inbox>, ticket: Ticket) -> Self {
        let ticket = Some(ticket);
        Self { inbox, ticket }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.inbox.ended(ticket);
        }
    }
}
