//! Following changes: of one topic, or of all.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};

use crate::diff::Diff;
use crate::entries::Entries;
use crate::published::{Published, Queue};

/// The lists of all topics at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    topics: BTreeMap<Arc<str>, Entries>,
}

impl Snapshot {
    pub(crate) fn new(topics: Vec<(Arc<str>, Entries)>) -> Self {
        let topics = topics.into_iter().collect();
        Self { topics }
    }

    /// The topics that have entries, each with its list, in order of their names.
    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &Entries)> {
        self.topics.iter()
    }

    /// The list of one topic; empty if it has no entries.
    pub fn entries(&self, topic: &str) -> Entries {
        self.topics.get(topic).cloned().unwrap_or_default()
    }
}

/// What [`Diffs`] yields.
#[derive(Clone, Debug)]
pub enum DiffEvent {
    /// A topic changed.
    Diff(Arc<Diff>),
    /// The consumer was too slow and diffs were dropped. These are all lists now: the next diffs start from them.
    Resync(Snapshot),
}

/// What [`TopicDiffs`] yields.
#[derive(Clone, Debug)]
pub enum TopicEvent {
    /// The topic changed.
    Diff(Arc<Diff>),
    /// The consumer was too slow and diffs were dropped. This is the list now: the next diffs start from it.
    Resync(Entries),
}

/// The changes of all topics, in order within each topic. A stream that ends when the tracker is closed; of several shards, when the first
/// one is over, so that it does not tell what leaves the others then.
///
/// A diff is yielded only after the lists show it. A consumer that falls behind by more than
/// [`consumer_diffs`](crate::TrackerConfig::consumer_diffs), or by diffs of more than 262,144 joins and leaves together (a single larger one
/// still fits alone), loses them and gets one [`DiffEvent::Resync`].
#[must_use = "a stream does nothing unless it is read"]
pub struct Diffs {
    published: Arc<Published>,
    queue: Arc<Queue>,
}

impl Diffs {
    pub(crate) fn new(published: Arc<Published>) -> Self {
        let queue = published.follow_all();
        Self { published, queue }
    }

    /// The next change; nothing once the tracker is closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: a change is taken only when it is returned.
    pub async fn next(&mut self) -> Option<DiffEvent> {
        StreamExt::next(self).await
    }
}

impl Stream for Diffs {
    type Item = DiffEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DiffEvent>> {
        self.published.poll_next(
            &self.queue,
            cx,
            DiffEvent::Diff,
            Published::topics_now,
            |topics| DiffEvent::Resync(Snapshot::new(topics)),
        )
    }
}

impl Drop for Diffs {
    fn drop(&mut self) {
        self.published.unfollow_all(&self.queue);
    }
}

impl fmt::Debug for Diffs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diffs").finish_non_exhaustive()
    }
}

/// The changes of one topic. A stream that ends when the tracker is closed.
///
/// A diff is yielded only after the list shows it. A consumer that falls behind by more than
/// [`consumer_diffs`](crate::TrackerConfig::consumer_diffs), or by diffs of more than 262,144 joins and leaves together (a single larger one
/// still fits alone), loses them and gets one [`TopicEvent::Resync`].
#[must_use = "a stream does nothing unless it is read"]
pub struct TopicDiffs {
    published: Arc<Published>,
    queue: Arc<Queue>,
    shard: usize,
    topic: Arc<str>,
}

impl TopicDiffs {
    pub(crate) fn new(published: Arc<Published>, shard: usize, topic: &str) -> (Entries, Self) {
        let (entries, queue) = published.follow(shard, topic);
        let diffs = Self {
            published,
            queue,
            shard,
            topic: Arc::from(topic),
        };
        (entries, diffs)
    }

    /// The next change; nothing once the tracker is closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: a change is taken only when it is returned.
    pub async fn next(&mut self) -> Option<TopicEvent> {
        StreamExt::next(self).await
    }
}

impl Stream for TopicDiffs {
    type Item = TopicEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TopicEvent>> {
        let list = |published: &Published| published.entries(self.shard, &self.topic);
        self.published
            .poll_next(&self.queue, cx, TopicEvent::Diff, list, TopicEvent::Resync)
    }
}

impl Drop for TopicDiffs {
    fn drop(&mut self) {
        self.published.unfollow(&self.topic, &self.queue);
    }
}

impl fmt::Debug for TopicDiffs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicDiffs")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
