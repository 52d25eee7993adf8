//! What a tracker shows: the list of every topic, and the streams of those who follow changes.
//!
//! Shards write, everybody reads. Who reads a list finds its topic and copies two words, and waits for nobody: the lists stand there
//! twice ([`LeftRight`]), and while a shard puts a finished step into the one copy, the other is read.
//!
//! Lists are published before the diffs that led to them are handed out, so a list is never older than a diff that somebody has seen.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::task::AtomicWaker;

use crate::diff::Diff;
use crate::diffs::Snapshot;
use crate::entries::Entries;
use crate::left_right::LeftRight;
use crate::visible::TopicStep;

/// The lists of all shards.
#[derive(Debug)]
pub(crate) struct Published {
    shards: Vec<LeftRight<Lists>>,
    /// Held while a step is published and while somebody joins or catches up, so that a list and the diffs after it fit
    /// exactly. Taken before a shard's lists are written and before a queue; reading lists does not take it.
    consumers: Mutex<Consumers>,
    bound: usize,
}

type Lists = HashMap<Arc<str>, Entries>;

#[derive(Debug, Default)]
struct Consumers {
    all: Followers,
    by_topic: HashMap<Arc<str>, Followers>,
    /// How many have ever come: the number of the last one.
    came: u64,
    closed: bool,
}

/// By their numbers, so that one comes and goes without a look at the others: publishing waits meanwhile.
type Followers = BTreeMap<u64, Arc<Queue>>;

impl Published {
    pub(crate) fn new(shards: usize, bound: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| LeftRight::default()).collect(),
            consumers: Mutex::default(),
            bound,
        }
    }

    pub(crate) fn entries(&self, shard: usize, topic: &str) -> Entries {
        let listed = self.shards[shard].read(|lists| lists.get(topic).cloned());
        listed.unwrap_or_default()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let consumers = self.consumers();
        let topics = self.topics_now();
        drop(consumers);
        Snapshot::new(topics)
    }

    /// All lists as they are, in no order. Taken under the lock of the consumers, it fits the diffs after it.
    pub(crate) fn topics_now(&self) -> Vec<(Arc<str>, Entries)> {
        let topics = self.shards.iter().flat_map(|lists| {
            lists.read(|lists| {
                let lists = lists.iter();
                let both = lists.map(|(topic, entries)| (Arc::clone(topic), entries.clone()));
                both.collect::<Vec<_>>()
            })
        });
        topics.collect()
    }

    fn consumers(&self) -> MutexGuard<'_, Consumers> {
        self.consumers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the lists after some steps of one shard, then hands out their diffs in order.
    pub(crate) fn publish(&self, shard: usize, steps: Vec<TopicStep>) {
        if steps.is_empty() {
            return;
        }
        let mut told = Told::default();
        let consumers = self.consumers();
        let old = self.show(shard, &steps);
        for TopicStep { diff, .. } in steps {
            consumers.tell(&Arc::new(diff), self.bound, &mut told);
        }
        drop(consumers);
        drop(old);
        told.wake();
    }

    /// Gives back what both copies held before, so that it is freed under no lock.
    fn show(&self, shard: usize, steps: &[TopicStep]) -> [Vec<Entries>; 2] {
        self.shards[shard].write(|lists| {
            let shown = steps.iter().filter_map(|TopicStep { diff, entries }| {
                if entries.is_empty() {
                    lists.remove(&diff.topic)
                } else {
                    lists.insert(Arc::clone(&diff.topic), entries.clone())
                }
            });
            shown.collect()
        })
    }

    /// The list of a topic and all its later diffs.
    pub(crate) fn follow(&self, shard: usize, topic: &str) -> (Entries, Arc<Queue>) {
        let mut consumers = self.consumers();
        let queue = consumers.new_queue();
        let followers = consumers.by_topic.entry(Arc::from(topic)).or_default();
        followers.insert(queue.number, Arc::clone(&queue));
        (self.entries(shard, topic), queue)
    }

    /// All later diffs of all topics.
    pub(crate) fn follow_all(&self) -> Arc<Queue> {
        let mut consumers = self.consumers();
        let queue = consumers.new_queue();
        consumers.all.insert(queue.number, Arc::clone(&queue));
        queue
    }

    /// Nobody follows that topic through this queue any more. What waits in it is freed by whoever has it, under no lock.
    pub(crate) fn unfollow(&self, topic: &str, queue: &Queue) {
        let mut consumers = self.consumers();
        if let Some(followers) = consumers.by_topic.get_mut(topic) {
            followers.remove(&queue.number);
            if followers.is_empty() {
                consumers.by_topic.remove(topic);
            }
        }
    }

    /// As [`unfollow`](Self::unfollow), for a queue of all topics.
    pub(crate) fn unfollow_all(&self, queue: &Queue) {
        self.consumers().all.remove(&queue.number);
    }

    /// The next thing in a queue. For one that was too slow that is what `resync` makes of what `read` reads, together with all later diffs.
    /// Only what has to be read under the lock is: publishing waits for it.
    pub(crate) fn poll_next<R, T>(
        &self,
        queue: &Queue,
        cx: &mut Context<'_>,
        diff: impl FnOnce(Arc<Diff>) -> T,
        read: impl FnOnce(&Self) -> R,
        resync: impl FnOnce(R) -> T,
    ) -> Poll<Option<T>> {
        match queue.poll_take(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Taken::Diff(taken)) => Poll::Ready(Some(diff(taken))),
            Poll::Ready(Taken::Closed) => Poll::Ready(None),
            Poll::Ready(Taken::Lagged) => {
                let consumers = self.consumers();
                queue.caught_up();
                let now = read(self);
                drop(consumers);
                Poll::Ready(Some(resync(now)))
            }
        }
    }

    /// Empties the lists of a shard and ends all streams: the tracker is over.
    pub(crate) fn close(&self, shard: usize) {
        let mut consumers = self.consumers();
        consumers.closed = true;
        let all = mem::take(&mut consumers.all);
        let by_topic = mem::take(&mut consumers.by_topic);
        let of_topics = by_topic.values().flat_map(BTreeMap::values);
        let mut told = Told::default();
        for queue in all.values().chain(of_topics) {
            queue.close(&mut told);
        }
        drop(consumers);
        told.wake();
        drop(self.shards[shard].write(mem::take));
    }
}

impl Consumers {
    fn new_queue(&mut self) -> Arc<Queue> {
        self.came += 1;
        Arc::new(Queue::new(self.came, self.closed))
    }

    fn tell(&self, diff: &Arc<Diff>, bound: usize, told: &mut Told) {
        let of_topic = self.by_topic.get(&diff.topic);
        let of_topic = of_topic.into_iter().flat_map(BTreeMap::values);
        for queue in self.all.values().chain(of_topic) {
            queue.push(diff, bound, told);
        }
    }
}

/// What is to be done once the lock of the consumers is given back: it runs code of others, or takes long, and who comes or goes
/// meanwhile would wait for that.
#[derive(Debug, Default)]
struct Told {
    wakers: Vec<Waker>,
    dropped: Vec<VecDeque<Arc<Diff>>>,
}

impl Told {
    fn wake(self) {
        self.wakers.into_iter().for_each(Waker::wake);
    }
}

/// The diffs that wait for one consumer.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Its place among the followers.
    number: u64,
    state: Mutex<QueueState>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct QueueState {
    diffs: VecDeque<Arc<Diff>>,
    entries: usize,
    lagged: bool,
    closed: bool,
}

enum Taken {
    Diff(Arc<Diff>),
    Lagged,
    Closed,
}

impl Queue {
    fn new(number: u64, closed: bool) -> Self {
        Self {
            number,
            state: Mutex::new(QueueState {
                closed,
                ..QueueState::default()
            }),
            waker: AtomicWaker::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, diff: &Arc<Diff>, bound: usize, told: &mut Told) {
        let mut state = self.state();
        if state.lagged {
            return;
        }
        let size = diff.joins.len() + diff.leaves.len();
        let fits = state.diffs.len() < bound && state.entries + size <= QUEUED_ENTRIES;
        if fits || state.diffs.is_empty() {
            state.entries += size;
            state.diffs.push_back(Arc::clone(diff));
        } else {
            // One missing diff makes all later ones useless: forget them and start again from a list.
            state.lagged = true;
            state.entries = 0;
            told.dropped.push(mem::take(&mut state.diffs));
        }
        drop(state);
        told.wakers.extend(self.waker.take());
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        self.waker.register(cx.waker());
        let mut state = self.state();
        if let Some(diff) = state.diffs.pop_front() {
            state.entries -= diff.joins.len() + diff.leaves.len();
            if state.diffs.is_empty() {
                state.diffs.shrink_to(KEPT_CAPACITY);
            }
            Poll::Ready(Taken::Diff(diff))
        } else if state.closed {
            Poll::Ready(Taken::Closed)
        } else if state.lagged {
            Poll::Ready(Taken::Lagged)
        } else {
            Poll::Pending
        }
    }

    fn caught_up(&self) {
        let mut state = self.state();
        state.lagged = false;
        state.entries = 0;
    }

    fn close(&self, told: &mut Told) {
        self.state().closed = true;
        told.wakers.extend(self.waker.take());
    }
}

/// Joins and leaves that may wait for one consumer, over all its diffs. A single larger diff still fits alone.
const QUEUED_ENTRIES: usize = 262_144;

/// Capacity that an emptied queue may keep.
const KEPT_CAPACITY: usize = 16;

#[cfg(test)]
mod tests;
