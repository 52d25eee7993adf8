//! What stands between a registry and one listener: a bounded queue that is given up as a whole when it overflows.
//!
//! A shard's changes count for a listener from the moment that shard was read for it, under that shard's lock. So what was
//! read and what is queued meet without a gap and without an overlap, shard by shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::Change;
use crate::shards::MOST_SHARDS;
use crate::sync::{Mutex, lock};

pub(crate) struct Tap<K, V> {
    state: Mutex<State<K, V>>,
    bound: usize,
}

struct State<K, V> {
    queue: VecDeque<Change<K, V>>,
    /// The shards that were read, hence whose changes count.
    read: ShardSet,
    /// The queue overflowed; nothing is queued until all is read anew.
    behind: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// What comes next for a listener.
pub(crate) enum Next<K, V> {
    Change(Change<K, V>),
    /// All must be read anew.
    Behind,
    Nothing,
    /// The registry is gone.
    Closed,
}

/// What is left to do about a change for one listener, once the shard is unlocked.
#[must_use]
pub(crate) struct Notice<K, V> {
    waker: Option<Waker>,
    /// What the listener will not get: the user's to drop.
    _missed: VecDeque<Change<K, V>>,
}

impl<K, V> Tap<K, V> {
    pub(crate) fn new(bound: usize) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            read: ShardSet::default(),
            behind: false,
            closed: false,
            waker: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            bound,
        })
    }

    /// Called under the shard's lock.
    pub(crate) fn push(&self, shard: usize, change: Change<K, V>) -> Notice<K, V> {
        let mut state = lock(&self.state);
        let mut missed = VecDeque::new();
        if state.behind || !state.read.contains(shard) {
            missed.push_back(change);
            return Notice::silent(missed);
        }
        if state.queue.len() < self.bound {
            state.queue.push_back(change);
        } else {
            missed = std::mem::take(&mut state.queue);
            missed.push_back(change);
            state.behind = true;
        }
        Notice {
            waker: state.waker.take(),
            _missed: missed,
        }
    }

    /// Called under the shard's lock, in the same moment in which the shard is read.
    pub(crate) fn start(&self, shard: usize) {
        lock(&self.state).read.insert(shard);
    }

    /// Forgets everything: all shards are going to be read anew.
    pub(crate) fn restart(&self) {
        let mut state = lock(&self.state);
        state.behind = false;
        state.read = ShardSet::default();
        let missed = std::mem::take(&mut state.queue);
        drop(state);
        drop(missed);
    }

    /// What is next; if that is nothing, `waker` is woken when there is something.
    pub(crate) fn next(&self, waker: Option<Waker>) -> Next<K, V> {
        let mut state = lock(&self.state);
        if let Some(change) = state.queue.pop_front() {
            if state.queue.is_empty() {
                state.queue.shrink_to(KEPT_CAPACITY);
            }
            return Next::Change(change);
        }
        if state.closed {
            return Next::Closed;
        }
        if state.behind {
            return Next::Behind;
        }
        let before = std::mem::replace(&mut state.waker, waker);
        drop(state);
        drop(before);
        Next::Nothing
    }

    /// The registry is gone: what is queued can still be read.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Room that a queue keeps after a burst.
const KEPT_CAPACITY: usize = 16;

impl<K, V> Notice<K, V> {
    fn silent(missed: VecDeque<Change<K, V>>) -> Self {
        Self {
            waker: None,
            _missed: missed,
        }
    }

    /// Called under no lock.
    pub(crate) fn deliver(self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
    }
}

#[derive(Default)]
struct ShardSet([u64; MOST_SHARDS / 64]);

impl ShardSet {
    fn insert(&mut self, shard: usize) {
        self.0[shard / 64] |= 1 << (shard % 64);
    }

    fn contains(&self, shard: usize) -> bool {
        self.0[shard / 64] & (1 << (shard % 64)) != 0
    }
}
