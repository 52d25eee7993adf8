//! Data of the application beside the metas of a key: asked for in batches, with a time limit, and never fatal.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use matryoshka_channel::transport::excerpt;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::error::MetaError;
use crate::extras::Extras;
use crate::stats::Counters;
use crate::writing::{MOST_AT_ONCE, apart};

/// Adds data to the keys of a list, such as the name and the picture of a user, before clients see it.
///
/// It is called with all keys of one list, or all that one `presence_diff` names, so it can ask a database once. Of one topic one
/// diff is fetched at a time, and the changes that come meanwhile go into the next one; other topics do not wait. When it
/// fails, panics or takes too long, clients get the metas without the data; what it gives for keys that it was not asked for is left out,
/// and so is what is no [`Extra`](Self::Extra), for its own key alone. Nothing is kept between calls: each list asks for all its keys
/// again, once for all clients that share it. Whose database is slow keeps what it said. Each failure is counted ([`Stats`](crate::Stats)). It goes into
/// [`PresenceConfig::with_fetch`](crate::PresenceConfig::with_fetch).
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use matryoshka_presence::Fetch;
///
/// struct Names;
///
/// #[derive(serde::Serialize)]
/// struct Named { name: String }
///
/// impl Fetch for Names {
///     type Extra = Named;
///     type Error = std::io::Error;
///
///     async fn fetch(&self, _topic: &str, keys: &[Arc<str>]) -> std::io::Result<HashMap<Arc<str>, Named>> {
///         // One query for all of them.
///         Ok(keys.iter().map(|key| (Arc::clone(key), Named { name: key.to_uppercase() })).collect())
///     }
/// }
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// The data of one key: anything that serializes as a JSON object, of at most 1 MiB. Its fields stand beside `metas`; one named
    /// `metas` is left out.
    type Extra: Serialize + Send;

    /// Why there are no data now. It goes to the log.
    type Error: fmt::Display + Send;

    /// The data of these keys of a topic, as far as there are any. `keys` is never empty and names each once.
    ///
    /// # Cancel safety
    ///
    /// It is dropped when its time is over, or when the presence ends.
    fn fetch(
        &self,
        topic: &str,
        keys: &[Arc<str>],
    ) -> impl Future<Output = Result<HashMap<Arc<str>, Self::Extra>, Self::Error>> + Send;
}

/// A [`Fetch`] whose types are forgotten.
pub(crate) trait AnyFetch: Send + Sync {
    fn extras<'a>(
        &'a self,
        topic: &'a str,
        keys: &'a [Arc<str>],
    ) -> BoxFuture<'a, Result<Fetched, String>>;
}

/// What a fetch gave.
#[derive(Default)]
pub(crate) struct Fetched {
    extras: Extras,
    /// For how many keys besides that nobody asked for.
    unasked: u64,
    /// Why what it gave for some keys cannot be told.
    unfit: Vec<MetaError>,
}

impl<F: Fetch> AnyFetch for F {
    fn extras<'a>(
        &'a self,
        topic: &'a str,
        keys: &'a [Arc<str>],
    ) -> BoxFuture<'a, Result<Fetched, String>> {
        Box::pin(async move {
            let found = self.fetch(topic, keys).await;
            let found = found.map_err(|error| error.to_string())?;
            let keys = keys.to_vec();
            let is_much = found.len() > MOST_AT_ONCE;
            Ok(apart(is_much, move || Fetched::new(found, &keys)).await)
        })
    }
}

impl Fetched {
    /// Of those that were asked for, which are in order.
    fn new<E: Serialize>(found: HashMap<Arc<str>, E>, keys: &[Arc<str>]) -> Self {
        let mut fetched = Self::default();
        for (key, extra) in found {
            if keys.binary_search(&key).is_err() {
                fetched.unasked += 1;
            } else if let Err(error) = fetched.extras.add(key, &extra) {
                fetched.unfit.push(error);
            }
        }
        fetched
    }
}

/// A fetch with its limits. A clone is the same.
#[derive(Clone)]
pub(crate) struct Fetcher {
    fetch: Arc<dyn AnyFetch>,
    limit: Duration,
    counters: Arc<Counters>,
}

impl Fetcher {
    pub(crate) fn new(fetch: Arc<dyn AnyFetch>, limit: Duration, counters: Arc<Counters>) -> Self {
        Self {
            fetch,
            limit,
            counters,
        }
    }

    /// When the time of what is asked for now is over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// The data of these keys, which are in order; none if that fails.
    pub(crate) async fn extras(&self, topic: &str, keys: &[Arc<str>], until: Instant) -> Extras {
        if keys.is_empty() {
            return Extras::default();
        }
        // Made and dropped inside, so that a panic of the call itself, and of what ends with it, is caught as well.
        let fetching = async { timeout_at(until, self.fetch.extras(topic, keys)).await };
        let failure = match AssertUnwindSafe(fetching).catch_unwind().await {
            Ok(Ok(Ok(fetched))) => {
                self.counters.fetched_unasked.add(fetched.unasked);
                self.counters.fetched_unfit.add(fetched.unfit.len() as u64);
                if let Some(error) = fetched.unfit.first()
                    && let Some(left_out) = self.counters.lines.unfit.pass_now()
                {
                    let (topic, keys) = (excerpt(topic), fetched.unfit.len());
                    tracing::warn!(topic, keys, %error, left_out, "data of some keys left out");
                }
                return fetched.extras;
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => {
                self.counters.fetches_too_long.add_one();
                format!("it took longer than {:?}", self.limit)
            }
            Err(_) => {
                self.counters.fetches_panicked.add_one();
                "it panicked".to_owned()
            }
        };
        self.failed(topic, &failure);
        Extras::default()
    }

    /// What was asked for waited for its turn in vain.
    pub(crate) fn never_began(&self, topic: &str) {
        let limit = self.limit;
        self.not_begun(topic, &format!("it waited {limit:?} for others to end"));
    }

    /// What was asked for found too many others waiting.
    pub(crate) fn turned_away(&self, topic: &str, waiting: usize) {
        self.not_begun(topic, &format!("{waiting} others wait already"));
    }

    fn not_begun(&self, topic: &str, failure: &str) {
        self.counters.fetches_not_begun.add_one();
        self.failed(topic, failure);
    }

    fn failed(&self, topic: &str, failure: &str) {
        self.counters.fetches_failed.add_one();
        if let Some(left_out) = self.counters.lines.not_fetched.pass_now() {
            tracing::warn!(
                topic = excerpt(topic),
                failure,
                left_out,
                "no data fetched; clients get the metas alone"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    struct AnswersForAll;

    impl Fetch for AnswersForAll {
        type Extra = Value;
        type Error = Infallible;

        async fn fetch(
            &self,
            _: &str,
            _: &[Arc<str>],
        ) -> Result<HashMap<Arc<str>, Value>, Infallible> {
            let of = |key: &str| (key.into(), json!({ "name": key }));
            Ok(HashMap::from(["anna", "ben", "cem"].map(of)))
        }
    }

    /// Says in which thread it is written.
    struct Place;

    impl Serialize for Place {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let thread = format!("{:?}", std::thread::current().id());
            HashMap::from([("thread", thread)]).serialize(serializer)
        }
    }

    struct Places;

    impl Fetch for Places {
        type Extra = Place;
        type Error = Infallible;

        async fn fetch(
            &self,
            _: &str,
            keys: &[Arc<str>],
        ) -> Result<HashMap<Arc<str>, Place>, Infallible> {
            Ok(keys.iter().map(|key| (Arc::clone(key), Place)).collect())
        }
    }

    #[tokio::test]
    async fn much_that_was_fetched_is_written_in_a_thread_that_nobody_waits_for() {
        let limit = Duration::from_secs(5);
        let fetcher = Fetcher::new(Arc::new(Places), limit, Arc::default());
        let here = format!("{:?}", std::thread::current().id());
        for (count, is_here) in [(MOST_AT_ONCE, true), (MOST_AT_ONCE + 1, false)] {
            let keys: Vec<Arc<str>> = (0..count).map(|n| format!("{n:04}").into()).collect();
            let extras = fetcher.extras("t", &keys, fetcher.deadline()).await;
            let places = keys.iter().map(|key| {
                let place: Value = extras.read(key).unwrap().unwrap();
                place["thread"] == here.as_str()
            });
            assert!(places.into_iter().all(|place| place == is_here), "{count}");
        }
    }

    #[tokio::test]
    async fn what_nobody_asked_for_is_left_out_and_counted() {
        let counters = Arc::<Counters>::default();
        let limit = Duration::from_secs(5);
        let fetcher = Fetcher::new(Arc::new(AnswersForAll), limit, Arc::clone(&counters));
        let asked = ["anna".into(), "dora".into()];
        let extras = fetcher.extras("t", &asked, fetcher.deadline()).await;
        let given = ["anna", "ben", "cem", "dora"].map(|key| extras.fields(key).is_some());
        assert_eq!(given, [true, false, false, false]);
        let stats = counters.snapshot();
        assert_eq!((stats.fetched_unasked, stats.fetches_failed), (2, 0));
    }

    /// As while a database is away and clients come back.
    struct Fails;

    impl Fetch for Fails {
        type Extra = ();
        type Error = &'static str;

        async fn fetch(
            &self,
            _: &str,
            _: &[Arc<str>],
        ) -> Result<HashMap<Arc<str>, ()>, &'static str> {
            Err("away")
        }
    }

    /// Counts the lines of a log.
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_fail_at_once_are_one_line() {
        let lines = Arc::<AtomicUsize>::default();
        let _collecting = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
        let counters = Arc::<Counters>::default();
        let limit = Duration::from_secs(5);
        let fetcher = Fetcher::new(Arc::new(Fails), limit, Arc::clone(&counters));
        for _ in 0..1_000 {
            let keys = ["anna".into()];
            fetcher.extras("t", &keys, fetcher.deadline()).await;
        }
        assert_eq!(counters.snapshot().fetches_failed, 1_000);
        assert_eq!(lines.load(Ordering::Relaxed), 1);
    }
}
