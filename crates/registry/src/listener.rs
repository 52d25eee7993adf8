//! The receiving end of a registry's changes.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::tap::{Next, Tap};
use crate::waiting::wait;
use crate::watchers::Scope;
use crate::{Change, Snapshot};

/// A registry as its listeners need it.
pub(crate) trait Source<K, V>: Send + Sync {
    /// Adds `tap` for all keys, or for that one with its hash: what is listened to now, and what is there, such that every
    /// later change reaches the tap.
    fn join(&self, key: Option<(u64, K)>, tap: &Arc<Tap<K, V>>) -> (Scope<K>, Snapshot<K, V>);

    /// Reads what is in `scope` anew, such that every later change reaches `tap`.
    fn read(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>) -> Snapshot<K, V>;

    /// Takes the tap out.
    fn leave(&self, scope: &Scope<K>, tap: &Arc<Tap<K, V>>);
}

/// Hears every change of a registry or of one key, each once, those of one key in their order.
///
/// At most as many changes wait as its bound says. One more, and all that waits is given up: the listener gets one
/// [`Change::Resync`] in its place, with what stands in the registry when it asks. So it misses steps, never the outcome, and
/// whoever registers neither waits for it nor fails by it. It does not keep the registry alive; dropped, it listens no more.
#[must_use = "dropped, it listens no more"]
pub struct Listener<K, V> {
    source: Weak<dyn Source<K, V>>,
    scope: Scope<K>,
    tap: Arc<Tap<K, V>>,
}

/// What was there when a listener joined, and the listener to every later change.
pub type SnapshotAndListener<K, V> = (Snapshot<K, V>, Listener<K, V>);

impl<K, V> Listener<K, V> {
    /// Joins `source`: what is there now, and the listener to what comes.
    pub(crate) fn join(
        source: &Arc<dyn Source<K, V>>,
        key: Option<(u64, K)>,
        bound: usize,
    ) -> SnapshotAndListener<K, V> {
        let tap = Tap::new(bound);
        let (scope, snapshot) = source.join(key, &tap);
        let source = Arc::downgrade(source);
        (snapshot, Self { source, scope, tap })
    }

    /// The next change, if there is one now.
    pub fn try_recv(&mut self) -> Option<Change<K, V>> {
        match self.next(None) {
            Poll::Ready(change) => change,
            Poll::Pending => None,
        }
    }

    /// Waits for the next change; `None` when the registry is gone and all was read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Change<K, V>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv), for those who poll. Only the last waker given is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change<K, V>>> {
        self.next(Some(cx))
    }

    /// [`recv`](Self::recv), blocking the thread.
    ///
    /// # Errors
    ///
    /// [`RecvTimeout`] after `limit`; nothing is lost.
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Option<Change<K, V>>, RecvTimeout> {
        wait(pin!(self.recv()), Some(limit)).ok_or(RecvTimeout { limit })
    }

    /// Ready with `None` at the end.
    fn next(&mut self, cx: Option<&mut Context<'_>>) -> Poll<Option<Change<K, V>>> {
        let waker = cx.map(|cx| cx.waker().clone());
        match self.tap.next(waker) {
            Next::Change(change) => Poll::Ready(Some(change)),
            Next::Behind => Poll::Ready(self.resync()),
            Next::Nothing => Poll::Pending,
            Next::Closed => Poll::Ready(None),
        }
    }

    /// `None` if the registry goes just now.
    fn resync(&self) -> Option<Change<K, V>> {
        let source = self.source.upgrade()?;
        Some(Change::Resync(source.read(&self.scope, &self.tap)))
    }
}

impl<K, V> Drop for Listener<K, V> {
    fn drop(&mut self) {
        if let Some(source) = self.source.upgrade() {
            source.leave(&self.scope, &self.tap);
        }
    }
}

impl<K, V> fmt::Debug for Listener<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// No change came in time. Nothing changed: ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no change came within {limit:?}")]
pub struct RecvTimeout {
    /// How long was waited.
    pub limit: Duration,
}
