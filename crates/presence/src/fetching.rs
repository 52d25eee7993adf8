//! The fetches under way, and those that wait for a place.
//!
//! Each has its time from when it was asked for, so clients wait no longer than that, however many fetches hang.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::extras::Extras;
use crate::fetch::Fetcher;
use crate::teller::Job;

/// Fetches for jobs. Of each topic there is at most one for a difference and one for a list.
pub(crate) struct Fetching<W> {
    fetcher: Fetcher,
    most: usize,
    under_way: JoinSet<(Job<W>, Extras)>,
    /// In the order in which their time is over.
    waiting: VecDeque<(Instant, Job<W>)>,
}

impl<W: Send + 'static> Fetching<W> {
    pub(crate) fn new(fetcher: Fetcher, most: usize) -> Self {
        Self {
            fetcher,
            most,
            under_way: JoinSet::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn start(&mut self, job: Job<W>) {
        self.waiting.push_back((self.fetcher.deadline(), job));
        self.fill();
    }

    /// The next one that is done, or whose time is over while it waits; never, if there is none.
    ///
    /// # Cancel safety
    ///
    /// Safe: a job stays until it is given back.
    pub(crate) async fn done(&mut self) -> (Job<W>, Extras) {
        loop {
            let too_late = self.waiting.front().map(|(until, _)| *until);
            let too_late = async {
                match too_late {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What is done makes room for what waits, so it comes first.
                biased;
                Some(done) = self.under_way.join_next() => {
                    self.fill();
                    // Panics are caught inside, so an error is the runtime's end.
                    if let Ok(done) = done {
                        return done;
                    }
                }
                () = too_late => {
                    if let Some((_, job)) = self.waiting.pop_front() {
                        self.fetcher.never_began(job.topic());
                        return (job, Extras::default());
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// What is too late is not begun.
    fn fill(&mut self) {
        let now = Instant::now();
        while self.under_way.len() < self.most
            && self.waiting.front().is_some_and(|(until, _)| *until > now)
            && let Some((until, job)) = self.waiting.pop_front()
        {
            let fetcher = self.fetcher.clone();
            self.under_way.spawn(async move {
                let extras = fetcher.extras(job.topic(), &job.keys(), until).await;
                (job, extras)
            });
        }
    }
}

impl<W> Job<W> {
    fn topic(&self) -> &str {
        match self {
            Self::Tell(telling) => &telling.topic,
            Self::Greet(greet) => &greet.topic,
        }
    }

    fn keys(&self) -> Vec<Arc<str>> {
        match self {
            Self::Tell(telling) => telling.keys.clone(),
            Self::Greet(greet) => greet.greeting.keys(),
        }
    }

    /// Whether it names anybody to fetch something for.
    pub(crate) fn needs_fetch(&self) -> bool {
        match self {
            Self::Tell(telling) => !telling.keys.is_empty(),
            Self::Greet(greet) => greet.greeting.names_somebody(),
        }
    }
}
