//! Every open connection of a service: how many there are, and how to close them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{close::Close, outbox::Outbox};

/// The connections of one service. Clones share the same set.
///
/// A connection counts from before its session is asked for until its task has ended, closing handshake included.
#[derive(Clone, Default)]
pub struct Connections {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    gone: Notify,
}

#[derive(Default)]
struct State {
    count: usize,
    next: u64,
    /// How to reach those that have not been told to close.
    open: HashMap<u64, Box<dyn Closer>>,
    /// Set for ever by the first `close_all`.
    closing: bool,
}

impl Connections {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections there are now.
    pub fn count(&self) -> usize {
        self.state().count
    }

    /// Whether [`close_all`](Self::close_all) has been called.
    pub fn is_closing(&self) -> bool {
        self.state().closing
    }

    /// Tells every connection to close, and refuses new ones from now on. What waits in a connection's outbox is
    /// written first. Does not wait; see [`closed`](Self::closed). Later calls change nothing.
    pub fn close_all(&self, close: Close) {
        let open = {
            let mut state = self.state();
            state.closing = true;
            std::mem::take(&mut state.open)
        };
        // Outside the lock: an outbox that overflows drops what waits in it, and that is user code.
        for closer in open.values() {
            closer.close(close.clone());
        }
    }

    /// Waits until no connection is left. Without [`close_all`](Self::close_all) new ones may come at any time.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn closed(&self) {
        loop {
            let gone = self.shared.gone.notified();
            if self.count() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// Counts a connection in, reachable through its outbox.
    pub(crate) fn enter<M: Send + 'static>(&self, outbox: &Outbox<M>) -> Result<Entered, Closing> {
        let mut state = self.state();
        if state.closing {
            return Err(Closing);
        }
        let id = state.next;
        state.next += 1;
        state.count += 1;
        state.open.insert(id, Box::new(outbox.clone()));
        drop(state);
        Ok(Entered {
            shared: Arc::clone(&self.shared),
            id,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("count", &self.count())
            .finish()
    }
}

/// One counted connection; dropping it counts it out.
#[must_use]
pub(crate) struct Entered {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let (left, closer) = {
            let mut state = self.shared.lock();
            state.count -= 1;
            (state.count, state.open.remove(&self.id))
        };
        drop(closer);
        if left == 0 {
            self.shared.gone.notify_waiters();
        }
    }
}

/// The service takes no new connections.
pub(crate) struct Closing;

/// A connection of whatever session, as far as closing it goes.
trait Closer: Send {
    fn close(&self, close: Close);
}

impl<M: Send + 'static> Closer for Outbox<M> {
    fn close(&self, close: Close) {
        Outbox::close(self, close);
    }
}
