//! Differences as JSON. What is large is cut and written in threads that nobody else waits for, one part after the other: in one go it would
//! keep a thread of the runtime from all its other tasks.

use std::sync::Arc;

use matryoshka_channel::transport::Json;
use tokio::task::spawn_blocking;

use crate::difference::Difference;
use crate::extras::Extras;
use crate::list::PresenceDiff;
use crate::parts::{MAX_DIFF_BYTES, bytes_of, parts};

/// The parts of a difference that are told one after the other.
pub(crate) async fn cut(news: Difference, extras: &Arc<Extras>) -> Vec<Difference> {
    let (is_large, extras) = (is_large(&news, extras), Arc::clone(extras));
    apart(is_large, move || parts(news, &extras, MAX_DIFF_BYTES)).await
}

/// A part as `presence_diff`.
pub(crate) async fn write(part: Difference, extras: &Arc<Extras>) -> Json {
    let (is_large, extras) = (is_large(&part, extras), Arc::clone(extras));
    apart(is_large, move || PresenceDiff::new(part, &extras).to_json()).await
}

fn is_large(news: &Difference, extras: &Extras) -> bool {
    let count = news.joins.len() + news.leaves.len();
    count > MOST_AT_ONCE || bytes_of(news, extras) > MOST_BYTES_AT_ONCE
}

/// Does some work, in a thread of its own if it is much.
pub(crate) async fn apart<T: Send + 'static>(
    is_much: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if !is_much {
        return work();
    }
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

/// As many entries, and bytes of them, as are written in passing: some 100 us of work.
pub(crate) const MOST_AT_ONCE: usize = 256;
const MOST_BYTES_AT_ONCE: usize = 256 * 1024;
