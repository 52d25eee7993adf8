//! Differences as JSON. What is large is cut and written in threads that nobody else waits for, one part after the other: in one go it would
//! keep a thread of the runtime from all its other tasks. And other topics are told meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use matryoshka_channel::transport::Json;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use crate::difference::Difference;
use crate::extras::Extras;
use crate::list::PresenceDiff;
use crate::parts::{MAX_DIFF_BYTES, bytes_of, parts};
use crate::teller::Telling;

/// What is to be told, with the next part of its difference as `presence_diff`.
pub(crate) struct Written {
    pub(crate) telling: Telling,
    pub(crate) extras: Arc<Extras>,
    pub(crate) diff: Option<Json>,
    /// Parts that come after it.
    pub(crate) rest: VecDeque<Difference>,
}

/// The large differences that are being written: of each topic at most one.
pub(crate) struct Writing {
    under_way: JoinSet<Written>,
    turns: Arc<Semaphore>,
}

impl Writing {
    pub(crate) fn new() -> Self {
        Self {
            under_way: JoinSet::new(),
            turns: Arc::new(Semaphore::new(MOST_AT_A_TIME)),
        }
    }

    /// Writes a difference at once if it is small, else apart.
    pub(crate) fn start(&mut self, mut telling: Telling, extras: Extras) -> Option<Written> {
        let news = std::mem::take(&mut telling.news);
        let mut written = Written {
            telling,
            extras: Arc::new(extras),
            diff: None,
            rest: VecDeque::new(),
        };
        if is_large(&news, &written.extras) {
            self.spawn(async move {
                written.rest = cut(news, &written.extras).await.into();
                written.next().await
            });
            return None;
        }
        if !news.is_empty() {
            written.diff = Some(PresenceDiff::new(news, &written.extras).to_json());
        }
        Some(written)
    }

    /// Writes the next part.
    pub(crate) fn go_on(&mut self, written: Written) {
        self.spawn(written.next());
    }

    fn spawn(&mut self, work: impl Future<Output = Written> + Send + 'static) {
        let turns = Arc::clone(&self.turns);
        self.under_way.spawn(async move {
            // It is never closed.
            let _turn = turns.acquire().await;
            work.await
        });
    }

    /// The next one of which a part is written; nothing if none is being.
    ///
    /// # Cancel safety
    ///
    /// Safe: one stays until it is given back.
    pub(crate) async fn done(&mut self) -> Option<Written> {
        Some(unless_panicked(self.under_way.join_next().await?).await)
    }
}

impl Written {
    async fn next(mut self) -> Self {
        self.diff = match self.rest.pop_front() {
            Some(part) => Some(write(part, &self.extras).await),
            None => None,
        };
        self
    }
}

/// A difference in the parts that are told one after the other.
pub(crate) async fn write_all(news: Difference, extras: &Arc<Extras>) -> Vec<Json> {
    let mut written = Vec::new();
    for part in cut(news, extras).await {
        written.push(write(part, extras).await);
    }
    written
}

async fn cut(news: Difference, extras: &Arc<Extras>) -> Vec<Difference> {
    let (is_large, extras) = (is_large(&news, extras), Arc::clone(extras));
    apart(is_large, move || parts(news, &extras, MAX_DIFF_BYTES)).await
}

/// A part as `presence_diff`.
async fn write(part: Difference, extras: &Arc<Extras>) -> Json {
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
    unless_panicked(spawn_blocking(work).await).await
}

async fn unless_panicked<T>(done: Result<T, JoinError>) -> T {
    match done {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

/// As many entries, and bytes of them, as are written in passing: some 100 us of work.
pub(crate) const MOST_AT_ONCE: usize = 256;
const MOST_BYTES_AT_ONCE: usize = 256 * 1024;

/// How many large differences are written at a time. Others wait: what is written takes room until it is sent.
const MOST_AT_A_TIME: usize = 4;
