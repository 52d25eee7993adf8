//! Delivery to the subscribers of this node: all at once, or in parts that leave room for others.
//!
//! In parts, the snapshot of subscribers is taken once, before the first part. What is left when the future is dropped is
//! delivered by the drop: a fan-out once begun completes.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use matryoshka_registry::{Entries, EntriesIter, OwnerId};

use crate::dispatcher::SinkRef;
use crate::shared::Shared;
use crate::{Dispatcher, Kind, Memo, Message, Subscribers};

/// How many subscribers a fan-out in parts serves before others get their turn: some ten microseconds' work.
const PART: usize = 512;

impl Shared {
    /// Delivers to all subscribers at once; how many got it.
    pub(crate) fn dispatch(&self, message: Message, except: Option<OwnerId>) -> usize {
        let Some(entries) = self.registry.lookup(message.topic()) else {
            return 0;
        };
        let entries = entries.iter();
        let subscribers = Subscribers::new(&entries, usize::MAX, except, &self.counters);
        let delivered = match self.dispatcher_of(message.kind()) {
            None => subscribers.give(message),
            Some(dispatcher) => {
                let whole = || dispatcher.dispatch(subscribers, &message);
                self.contained(&message, whole).unwrap_or(0)
            }
        };
        self.counters.delivered.add(delivered as u64);
        delivered
    }

    /// As [`dispatch`](Self::dispatch), with a breath between two parts.
    pub(crate) async fn dispatch_in_parts(
        &self,
        message: &Message,
        except: Option<OwnerId>,
    ) -> usize {
        let Some(entries) = self.registry.lookup(message.topic()) else {
            return 0;
        };
        let mut rest = Rest::new(self, &entries, message, except);
        while rest.deliver_part() {
            give_way().await;
        }
        rest.delivered
    }

    /// Who delivers messages of that kind, if they are not delivered as they are.
    fn dispatcher_of(&self, kind: Kind) -> Option<Arc<dyn Dispatcher>> {
        if kind == Kind::RAW || kind == Kind::TYPED {
            return None;
        }
        let dispatcher = self.dispatcher(kind);
        if dispatcher.is_none() {
            self.counters.unknown_kind.add(1);
        }
        dispatcher
    }

    /// Runs a dispatcher; `None` if it panicked.
    fn contained<R>(&self, message: &Message, dispatch: impl FnOnce() -> R) -> Option<R> {
        let outcome = catch_unwind(AssertUnwindSafe(dispatch));
        if outcome.is_err() {
            self.counters.panics.add(1);
            let (kind, topic) = (message.kind(), message.topic());
            tracing::error!(%kind, %topic, "a dispatcher panicked: this one message may be lost");
        }
        outcome.ok()
    }
}

/// What is left of one fan-out. Dropped, it is delivered.
struct Rest<'a> {
    shared: &'a Shared,
    message: &'a Message,
    except: Option<OwnerId>,
    dispatcher: Option<Arc<dyn Dispatcher>>,
    memo: Memo,
    entries: EntriesIter<'a, SinkRef>,
    left: usize,
    delivered: usize,
}

impl<'a> Rest<'a> {
    fn new(
        shared: &'a Shared,
        entries: &'a Entries<SinkRef>,
        message: &'a Message,
        except: Option<OwnerId>,
    ) -> Self {
        Self {
            shared,
            message,
            except,
            dispatcher: shared.dispatcher_of(message.kind()),
            memo: Memo::default(),
            entries: entries.iter(),
            left: entries.len(),
            delivered: 0,
        }
    }

    /// Delivers the next part; whether anything is left then.
    fn deliver_part(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let delivered = match self.dispatcher.clone() {
            None => self.next_part(PART).deliver(self.message),
            Some(dispatcher) => self.dispatch_part(&*dispatcher),
        };
        self.shared.counters.delivered.add(delivered as u64);
        self.delivered += delivered;
        self.left = self.left.saturating_sub(PART);
        if self.left > 0 {
            self.entries.nth(PART - 1);
        }
        self.left > 0
    }

    fn next_part(&self, size: usize) -> Subscribers<'_> {
        let counters = &self.shared.counters;
        Subscribers::new(&self.entries, size, self.except, counters)
    }

    fn dispatch_part(&mut self, dispatcher: &dyn Dispatcher) -> usize {
        let mut memo = std::mem::take(&mut self.memo);
        let part = || dispatcher.dispatch_part(self.next_part(PART), self.message, &mut memo);
        let delivered = match self.shared.contained(self.message, part) {
            None => 0,
            Some(Some(delivered)) => delivered,
            Some(None) => {
                let whole = || dispatcher.dispatch(self.next_part(usize::MAX), self.message);
                let delivered = self.shared.contained(self.message, whole);
                self.left = 0;
                delivered.unwrap_or(0)
            }
        };
        self.memo = memo;
        delivered
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        while self.deliver_part() {}
    }
}

/// Lets whatever else is ready run first, under any executor.
pub(crate) async fn give_way() {
    let mut gave = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
