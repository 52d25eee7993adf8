//! The task that calls the application's handler, and what waits for it.
//!
//! What waits is one list for each topic that has changed, with what was fetched for those in it or in the list before, so it is never
//! more than the lists there are, however slow the handler is.

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
use crate::successors::Successors;

/// The lists that wait for the handler, oldest change first, and those that it knows.
#[derive(Debug, Default)]
pub(crate) struct HandlerQueue {
    topics: Mutex<Topics>,
    fed: Notify,
}

#[derive(Debug, Default)]
struct Topics {
    order: VecDeque<Arc<str>>,
    waiting: BTreeMap<Arc<str>, Waiting>,
    /// What the handler was last called for, none of them empty.
    handled: BTreeMap<Arc<str>, Entries>,
}

/// A list, and what was fetched for keys that are in it or in the one that the handler knows: for nobody else.
#[derive(Debug, Default)]
struct Waiting {
    list: Entries,
    extras: Extras,
}

/// From which list to which the handler is to be called.
struct Step {
    topic: Arc<str>,
    before: Entries,
    list: Entries,
    extras: Extras,
}

impl HandlerQueue {
    /// A topic has this list now. In place of the one that waits, if one does; what was fetched for that is kept as far as it is needed.
    pub(crate) fn feed(&self, topic: &Arc<str>, list: Entries, extras: Extras) {
        self.topics().feed(topic, list, extras);
        self.fed.notify_one();
    }

    async fn next(&self) -> Step {
        loop {
            if let Some(next) = self.topics().take() {
                return next;
            }
            self.fed.notified().await;
        }
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topics {
    fn feed(&mut self, topic: &Arc<str>, list: Entries, extras: Extras) {
        let waiting = self.waiting.entry(Arc::clone(topic)).or_insert_with(|| {
            self.order.push_back(Arc::clone(topic));
            Waiting::default()
        });
        let older = std::mem::replace(&mut waiting.list, list);
        let (list, handled) = (&waiting.list, self.handled.get(topic));
        let is_named = |key: &str| {
            let has = |list: &Entries| list.by_key(key).next().is_some();
            has(list) || handled.is_some_and(has)
        };
        waiting.extras.update(extras, is_named);
        // Of a list on which nobody was, nobody has gone.
        if !older.is_empty() {
            let gone = Difference::between([&older], list).leaves;
            for left in gone.iter().filter(|left| !is_named(&left.key)) {
                waiting.extras.remove(&left.key);
            }
        }
    }

    fn take(&mut self) -> Option<Step> {
        let topic = self.order.pop_front()?;
        let Waiting { list, extras } = self.waiting.remove(&topic)?;
        let before = self.handled.remove(&topic).unwrap_or_default();
        if !list.is_empty() {
            self.handled.insert(Arc::clone(&topic), list.clone());
        }
        Some(Step {
            topic,
            before,
            list,
            extras,
        })
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
            counters,
        };
        Box::pin(async move {
            loop {
                let step = queue.next().await;
                handling.handle(&step).await;
                // A handler that never waits must not keep the thread from everyone else.
                tokio::task::consume_budget().await;
            }
        })
    }
}

struct Handling<H> {
    handler: H,
    counters: Arc<Counters>,
}

impl<H: HandleMetas> Handling<H> {
    async fn handle(&mut self, step: &Step) {
        let difference = Difference::between([&step.before], &step.list);
        let keys = difference.keys();
        let change = |key| Change::new(&step.topic, key, &step.list, &step.extras);
        let changes: Vec<KeyChange<'_>> = keys
            .iter()
            .map(|key| KeyChange::new(change(key), &difference))
            .collect();
        self.call(&changes).await;
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
        counters.handler_panics.add_one();
        if let Some(left_out) = counters.lines.panicked.pass_now() {
            tracing::error!(
                left_out,
                "a handler of metas panicked; it is called again for the next change"
            );
        }
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
        let (joins, leaves) = difference.of_key(change.key());
        let mut successors = Successors::of(joins);
        let (mut updated, mut left) = (Vec::new(), Vec::new());
        for old in leaves {
            match successors.take_in_place_of(old) {
                Some(new) => updated.push((Meta::new(Arc::clone(old)), Meta::new(new))),
                None => left.push(Arc::clone(old)),
            }
        }
        let metas = |entries: Vec<Arc<Entry>>| entries.into_iter().map(Meta::new).collect();
        Self {
            change,
            joined: metas(successors.rest()),
            updated,
            left: metas(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::{TOPIC, entry, entry_of, list};

    fn fetched<'a>(keys: impl IntoIterator<Item = &'a str>, number: u64) -> Extras {
        let mut extras = Extras::default();
        for key in keys {
            extras.add(key.into(), &json!({ "n": number })).unwrap();
        }
        extras
    }

    #[test]
    fn what_was_fetched_for_those_who_only_passed_is_not_kept() {
        let (mut topics, topic) = (Topics::default(), Arc::from(TOPIC));
        for number in 1..=1_000 {
            let key = format!("passes-{number}");
            topics.feed(
                &topic,
                list(&[("stays", 0), (&key, number)]),
                fetched(["stays", &key], number),
            );
            topics.feed(
                &topic,
                list(&[("stays", 0)]),
                fetched([key.as_str()], number),
            );
        }
        assert_eq!(topics.take().unwrap().extras, fetched(["stays"], 1_000));
    }

    /// A node was started again: its first owner is another one than its first owner before.
    #[test]
    fn an_owner_of_the_next_life_updates_nothing_of_the_last_one() {
        let entry_in = |life: &str, number: u64, previous| {
            let mut entry = entry_of("anna", number, 1, previous).as_ref().clone();
            entry.reference = format!("{life}{number:08}").parse().unwrap();
            Arc::new(entry)
        };
        let old = entry_in("lifelife", 1, None);
        let counted = |new: Arc<Entry>| {
            let (before, now) = (
                [Arc::clone(&old)].into_iter().collect(),
                [new].into_iter().collect(),
            );
            let difference = Difference::between([&before], &now);
            let extras = Extras::default();
            let change = Change::new(TOPIC, "anna", &now, &extras);
            let change = KeyChange::new(change, &difference);
            (change.joined.len(), change.updated.len(), change.left.len())
        };
        assert_eq!(counted(entry_in("lifelife", 2, None)), (0, 1, 0));
        assert_eq!(counted(entry_in("another0", 1, None)), (1, 0, 1));
        // Of a tracker that took another number, at least the first update is known for one.
        assert_eq!(
            counted(entry_in("another0", 1, Some(old.reference))),
            (0, 1, 0)
        );
    }

    /// Writes down how it is called.
    struct Calls(Arc<Mutex<Vec<String>>>);

    impl Calls {
        fn note(&self, what: &str, change: &Change<'_>) {
            let call = format!("{what} {}", change.key());
            self.0.lock().unwrap().push(call);
        }
    }

    impl HandleMetas for Calls {
        async fn on_join(&mut self, change: &Change<'_>, _: &[Meta]) {
            self.note("join", change);
        }

        async fn on_update(&mut self, change: &Change<'_>, _: &Meta, _: &Meta) {
            self.note("update", change);
        }

        async fn on_leave(&mut self, change: &Change<'_>, _: &[Meta]) {
            self.note("leave", change);
        }
    }

    #[tokio::test]
    async fn of_one_step_the_joins_come_first_then_the_updates_then_the_leaves() {
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let mut handling = Handling {
            handler: Calls(Arc::clone(&calls)),
            counters: Arc::default(),
        };
        let [old, older] = [entry_of("b", 2, 2, None), entry_of("c", 3, 3, None)];
        let before = [
            entry("a", 1),
            Arc::clone(&old),
            entry("f", 9),
            Arc::clone(&older),
        ];
        let now = [
            entry_of("b", 4, 2, Some(old.reference)),
            entry_of("c", 5, 3, Some(older.reference)),
            entry("d", 6),
            entry("e", 7),
        ];
        let step = Step {
            topic: Arc::from(TOPIC),
            before: before.into_iter().collect(),
            list: now.into_iter().collect(),
            extras: Extras::default(),
        };
        handling.handle(&step).await;
        let expected = [
            "join d", "join e", "update b", "update c", "leave a", "leave f",
        ];
        assert_eq!(*calls.lock().unwrap(), expected);
    }

    proptest! {
        /// Of each key that a step names, the handler has what was last fetched for it.
        #[test]
        fn a_step_has_what_was_fetched_for_all_that_it_names_and_for_nobody_else(
            lists in proptest::collection::vec((proptest::collection::btree_set(0..6u64, 0..6), any::<bool>()), 1..20),
        ) {
            let keys = ["a", "b", "c", "d", "e", "f"];
            let (mut topics, topic) = (Topics::default(), Arc::from(TOPIC));
            let (mut last, mut newest) = (Entries::default(), BTreeMap::new());
            for (round, (set, takes)) in lists.iter().enumerate() {
                let list: Entries = set.iter().map(|n| entry(keys[*n as usize], *n)).collect();
                let changed = Difference::between([&last], &list).keys();
                let extras = fetched(changed.iter().map(AsRef::as_ref), round as u64);
                newest.extend(changed.iter().map(|key| (Arc::clone(key), round as u64)));
                topics.feed(&topic, list.clone(), extras);
                last = list;
                if *takes {
                    let step = topics.take().unwrap();
                    let named = Difference::between([&step.before], &step.list).keys();
                    for key in &named {
                        let expected = fetched([key.as_ref()], newest[key]);
                        prop_assert_eq!(step.extras.fields(key), expected.fields(key));
                    }
                    for key in keys {
                        let is_in = |list: &Entries| list.by_key(key).next().is_some();
                        let is_there = is_in(&step.before) || is_in(&step.list);
                        prop_assert!(is_there || step.extras.fields(key).is_none());
                    }
                }
            }
        }
    }
}
