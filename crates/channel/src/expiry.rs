//! The end that a connection was given, and the timer that sees to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::link::Link;
use crate::transport::{Close, CloseCode};

/// What a client whose connection's end has come finds as the close's reason.
const REASON: &str = "expired";

/// The end of one connection. Without one, which is usual, it costs no timer.
#[derive(Default)]
pub(crate) struct Expiry {
    timer: Mutex<Option<AbortHandle>>,
    has_come: AtomicBool,
}

impl Expiry {
    /// Whether the connection was closed for it.
    pub(crate) fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Acquire)
    }

    /// The connection is over, or has another end.
    pub(crate) fn cancel(&self) {
        self.set(None);
    }

    fn set(&self, timer: Option<AbortHandle>) {
        let mut current = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *current, timer) {
            old.abort();
        }
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Link {
    /// Gives the connection an end, in place of an earlier one.
    ///
    /// The wall clock is asked once: what is left is counted from then on, whatever somebody does to the clock.
    pub(crate) fn expire_at(self: &Arc<Self>, at: Option<SystemTime>) {
        let timer = at.map(|at| {
            let left = at.duration_since(SystemTime::now()).unwrap_or_default();
            let link = Arc::downgrade(self);
            let timer = tokio::spawn(async move {
                sleep(left).await;
                if let Some(link) = link.upgrade() {
                    link.expiry.has_come.store(true, Ordering::Release);
                    link.outbox
                        .close(Close::new(CloseCode::POLICY).with_reason(REASON));
                }
            });
            timer.abort_handle()
        });
        self.expiry.set(timer);
    }
}
