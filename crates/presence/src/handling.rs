//! The task that calls the application's handler, and what waits for it.
//!
//! What waits is one list for each topic that has changed, so it is never more than the lists there are, however slow the
//! handler is.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use matryoshka_tracker::{Entries, Entry};
use tokio::sync::Notify;

use crate::difference::Difference;
use crate::extras::Extras;
use crate::handler::{Change, HandleMetas};
use crate::meta::Meta;
use crate::stats::Counters;

/// The lists that wait for the handler, oldest change first.
#[derive(Debug, Default)]
pub(crate) struct HandlerQueue {
    waiting: Mutex<Waiting>,
    fed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Arc<str>>,
    topics: BTreeMap<Arc<str>, (Entries, Extras)>,
}

impl HandlerQueue {
    /// A topic has this list now. In place of the one that waits, if one does; what was fetched for that is kept beside it.
    pub(crate) fn feed(&self, topic: &Arc<str>, list: Entries, extras: Extras) {
        let mut waiting = self.waiting();
        match waiting.topics.get_mut(topic) {
            Some((older, all)) => {
                *older = list;
                all.update(extras);
            }
            None => {
                waiting.topics.insert(Arc::clone(topic), (list, extras));
                waiting.order.push_back(Arc::clone(topic));
            }
        }
        drop(waiting);
        self.fed.notify_one();
    }

    async fn next(&self) -> (Arc<str>, Entries, Extras) {
        loop {
            if let Some(next) = self.waiting().take() {
                return next;
            }
            self.fed.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<(Arc<str>, Entries, Extras)> {
        let topic = self.order.pop_front()?;
        let (list, extras) = self.topics.remove(&topic)?;
        Some((topic, list, extras))
    }
}

/// A [`HandleMetas`] whose type is forgotten.
pub(crate) trait AnyHandler: Send {
    /// Calls it for ever.
    fn run(
        self: Box<Self>,
        queue: Arc<HandlerQueue>,
        counters: Arc<Counters>,
    ) -> BoxFuture<'static, ()>;
}

impl<H: HandleMetas> AnyHandler for H {
    fn run(
        self: Box<Self>,
        queue: Arc<HandlerQueue>,
        counters: Arc<Counters>,
    ) -> BoxFuture<'static, ()> {
        let mut handling = Handling {
            handler: *self,
            handled: BTreeMap::new(),
            counters,
        };
        Box::pin(async move {
            loop {
                let (topic, list, extras) = queue.next().await;
                handling.handle(&topic, list, &extras).await;
                // A handler that never waits must not keep the thread from everyone else.
                tokio::task::consume_budget().await;
            }
        })
    }
}

struct Handling<H> {
    handler: H,
    /// The lists that it knows, none of them empty.
    handled: BTreeMap<Arc<str>, Entries>,
    counters: Arc<Counters>,
}

impl<H: HandleMetas> Handling<H> {
    async fn handle(&mut self, topic: &Arc<str>, list: Entries, extras: &Extras) {
        let before = self.handled.remove(topic).unwrap_or_default();
        let difference = Difference::between([&before], &list);
        let keys = difference.keys();
        let changes: Vec<KeyChange<'_>> = keys
            .iter()
            .map(|key| KeyChange::new(Change::new(topic, key, &list, extras), &difference))
            .collect();
        self.call(&changes).await;
        if !list.is_empty() {
            self.handled.insert(Arc::clone(topic), list);
        }
    }

    async fn call(&mut self, changes: &[KeyChange<'_>]) {
        let Self {
            handler, counters, ..
        } = self;
        for change in changes.iter().filter(|change| !change.joined.is_empty()) {
            caught(
                async { handler.on_join(&change.change, &change.joined).await },
                counters,
            )
            .await;
        }
        for change in changes {
            for (old, new) in &change.updated {
                caught(
                    async { handler.on_update(&change.change, old, new).await },
                    counters,
                )
                .await;
            }
        }
        for change in changes.iter().filter(|change| !change.left.is_empty()) {
            caught(
                async { handler.on_leave(&change.change, &change.left).await },
                counters,
            )
            .await;
        }
    }
}

/// Made inside an async block, so that a panic of the call itself is caught as well.
async fn caught(call: impl Future<Output = ()>, counters: &Counters) {
    if AssertUnwindSafe(call).catch_unwind().await.is_err() {
        counters.handler_panicked();
        tracing::error!("a handler of metas panicked; it is called again for the next change");
    }
}

/// What one difference says of one key.
struct KeyChange<'a> {
    change: Change<'a>,
    joined: Vec<Meta>,
    updated: Vec<(Meta, Meta)>,
    left: Vec<Meta>,
}

impl<'a> KeyChange<'a> {
    fn new(change: Change<'a>, difference: &Difference) -> Self {
        let of_key = |entries: &[Arc<Entry>]| -> Vec<Arc<Entry>> {
            let start = entries.partition_point(|entry| entry.key.as_ref() < change.key());
            let rest = entries[start..].iter();
            rest.take_while(|entry| entry.key.as_ref() == change.key())
                .cloned()
                .collect()
        };
        let (mut joins, mut leaves) = (of_key(&difference.joins), of_key(&difference.leaves));
        let mut updated = Vec::new();
        leaves.retain(|old| {
            // One owner has a key of a topic once, so what it has now is in place of what it had.
            let new = joins
                .iter()
                .position(|new| new.owner == old.owner && new.node == old.node);
            if let Some(new) = new {
                updated.push((Meta::new(Arc::clone(old)), Meta::new(joins.remove(new))));
            }
            new.is_none()
        });
        let metas = |entries: Vec<Arc<Entry>>| entries.into_iter().map(Meta::new).collect();
        Self {
            change,
            joined: metas(joins),
            updated,
            left: metas(leaves),
        }
    }
}
