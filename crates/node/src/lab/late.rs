//! The replies that `later` owes: they end with their connection, and have a bound for each connection and one for the node.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use matryoshka_presence::channel::ReplyHandle;
use matryoshka_presence::channel::transport::{MAX_MESSAGE_BYTES, Payload};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many one connection may be owed; one more makes its channel fail, so that a client cannot fill the server with timers.
pub(super) const REPLIES: usize = 10_000;

/// How many bytes of payloads they may have together, as large as one message may be.
pub(super) const BYTES: usize = MAX_MESSAGE_BYTES;

/// The same of all connections. Of what is left one connection gets no more than half.
const NODE_BYTES: usize = 8 * BYTES;

/// What the node has left for late replies, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(NODE_BYTES)))
    }
}

/// The replies that one connection is owed. Dropped with it, it drops them.
#[derive(Debug)]
pub(crate) struct LateReplies {
    budget: Budget,
    /// Boxed, since few connections ask for one.
    own: OnceLock<Box<Own>>,
}

#[derive(Debug)]
struct Own {
    replies: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

/// Why a reply is not put off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TooMuch {
    Replies,
    Bytes,
    BytesOfAll,
}

impl LateReplies {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            own: OnceLock::new(),
        }
    }

    /// Answers with `payload` after that time.
    pub(super) fn owe(
        &self,
        wait: Duration,
        handle: ReplyHandle,
        payload: Payload,
    ) -> Result<(), TooMuch> {
        let own = self.own.get_or_init(Box::default);
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let one = Arc::clone(&own.replies).try_acquire_owned();
        let one = one.map_err(|_| TooMuch::Replies)?;
        let held = Arc::clone(&own.bytes).try_acquire_many_owned(bytes);
        let held = held.map_err(|_| TooMuch::Bytes)?;
        let Budget(all) = &self.budget;
        let of_all = Arc::clone(all).try_acquire_many_owned(bytes);
        let of_all = of_all.map_err(|_| TooMuch::BytesOfAll)?;
        if BYTES - own.bytes.available_permits() > all.available_permits() {
            return Err(TooMuch::BytesOfAll);
        }
        let mut tasks = own.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            if let Err(error) = handle.payload("ok", payload) {
                tracing::debug!(%error, "a late reply could not be sent");
            }
            drop((one, held, of_all));
        });
        Ok(())
    }
}

impl Default for Own {
    fn default() -> Self {
        Self {
            replies: Arc::new(Semaphore::new(REPLIES)),
            bytes: Arc::new(Semaphore::new(BYTES)),
            tasks: Mutex::default(),
        }
    }
}
