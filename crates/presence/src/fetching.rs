//! The fetches under way, and those that wait for a place.
//!
//! Each has its time from when its turn in its topic came, so clients wait at most twice as long, for the one before and for their own,
//! however many fetches hang.

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
    most_waiting: usize,
}

impl<W: Send + 'static> Fetching<W> {
    pub(crate) fn new(fetcher: Fetcher, most: usize) -> Self {
        Self {
            fetcher,
            most,
            under_way: JoinSet::new(),
            waiting: VecDeque::new(),
            most_waiting: MOST_WAITING,
        }
    }

    /// Begins the fetch for a job, or puts it among those that wait. If too many wait it is given back, to be done without.
    pub(crate) fn start(&mut self, job: Job<W>) -> Option<Job<W>> {
        if self.waiting.len() >= self.most_waiting {
            self.fetcher.turned_away(job.topic(), self.most_waiting);
            return Some(job);
        }
        self.waiting.push_back((self.fetcher.deadline(), job));
        self.fill();
        None
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

/// Jobs that may wait for a fetch. A further one is done without: clients get the metas alone, and at once.
pub(crate) const MOST_WAITING: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::difference::Difference;
    use crate::fetch::Fetch;
    use crate::stats::Counters;
    use crate::teller::Telling;

    struct Hangs;

    impl Fetch for Hangs {
        type Extra = ();
        type Error = Infallible;

        async fn fetch(
            &self,
            _: &str,
            _: &[Arc<str>],
        ) -> Result<HashMap<Arc<str>, ()>, Infallible> {
            std::future::pending().await
        }
    }

    fn job(topic: &str) -> Job<()> {
        Job::Tell(Telling {
            topic: topic.into(),
            news: Difference::default(),
            count: None,
            handled: None,
            keys: vec!["anna".into()],
        })
    }

    #[tokio::test(start_paused = true)]
    async fn of_topics_without_end_so_many_wait_and_the_others_are_done_without() {
        let counters = Arc::<Counters>::default();
        let limit = Duration::from_secs(5);
        let fetcher = Fetcher::new(Arc::new(Hangs), limit, Arc::clone(&counters));
        let mut fetching = Fetching::new(fetcher, 1);
        assert_eq!(fetching.most_waiting, 16_384, "as the docs say");
        fetching.most_waiting = 3;
        let given_back = |fetching: &mut Fetching<()>, topic| fetching.start(job(topic)).is_some();
        for topic in ["a", "b", "c", "d"] {
            assert!(
                !given_back(&mut fetching, topic),
                "one begins and three wait"
            );
        }
        assert!(given_back(&mut fetching, "e"));
        assert_eq!(fetching.waiting.len(), 3);
        assert_eq!(counters.snapshot().fetches_not_begun, 1);
        // Each is given back in time all the same.
        let mut done = Vec::new();
        for _ in 0..4 {
            let (job, _) = fetching.done().await;
            done.push(job.topic().to_owned());
        }
        done.sort();
        assert_eq!(done, ["a", "b", "c", "d"]);
        let stats = counters.snapshot();
        assert_eq!((stats.fetches_too_long, stats.fetches_not_begun), (1, 4));
        assert!(!given_back(&mut fetching, "e"), "there is room again");
    }
}
