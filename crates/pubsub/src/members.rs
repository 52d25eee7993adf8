//! The other nodes, for whoever wants to follow them.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};

use crate::PubSub;
use crate::cluster::{Member, MemberEvent, MemberTable};
use crate::mailbox::{Bound, MailboxReceiver, MailboxSender, Overflow, Received, mailbox};

/// Events that a [`Members`] keeps for a reader who does not come. Beyond, the oldest go, and the reader is brought to the
/// present state by the events that lead there.
const WAITING_EVENTS: usize = 1_024;

/// Takes the events of members.
///
/// Called in order, in the adapter's thread: it must not block, and must not start another watch. A panic is contained.
pub trait MemberSink: Send + Sync {
    /// Takes one event.
    fn member_event(&self, event: &MemberEvent);
}

/// Any function of an event.
impl<F: Fn(&MemberEvent) + Send + Sync> MemberSink for F {
    fn member_event(&self, event: &MemberEvent) {
        self(event);
    }
}

/// The members and who follows them.
#[derive(Default)]
pub(crate) struct Membership {
    /// Held while events are handed out, so that all watchers see one order. Taken before `state`.
    turn: Mutex<()>,
    /// Never held while a sink runs.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    table: MemberTable,
    watchers: Vec<Arc<Watcher>>,
}

struct Watcher {
    sink: Arc<dyn MemberSink>,
}

impl Membership {
    pub(crate) fn now(&self) -> Vec<Member> {
        self.state().table.now()
    }

    fn table(&self) -> MemberTable {
        self.state().table.clone()
    }

    /// Takes an event of the adapter in and hands out what is news.
    pub(crate) fn handle(&self, event: MemberEvent) {
        let _turn = lock(&self.turn);
        let mut state = self.state();
        let news = state.table.handle(event);
        let watchers = state.watchers.clone();
        drop(state);
        for event in &news {
            watchers.iter().for_each(|watcher| watcher.tell(event));
        }
    }

    fn watch(self: &Arc<Self>, sink: Arc<dyn MemberSink>) -> MemberWatch {
        let _turn = lock(&self.turn);
        let watcher = Arc::new(Watcher { sink });
        let mut state = self.state();
        let introduction = state.table.introduce();
        state.watchers.push(Arc::clone(&watcher));
        drop(state);
        introduction.iter().for_each(|event| watcher.tell(event));
        MemberWatch {
            membership: Arc::downgrade(self),
            watcher,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Sinks' panics are contained, so a poisoned lock guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    fn tell(&self, event: &MemberEvent) {
        if catch_unwind(AssertUnwindSafe(|| self.sink.member_event(event))).is_err() {
            tracing::error!("a member sink panicked: it missed one event");
        }
    }
}

/// Keeps a [`MemberSink`] informed. Dropped, the sink gets no more events, except one that is under way in another thread.
#[must_use = "dropping it ends the watch"]
pub struct MemberWatch {
    membership: Weak<Membership>,
    watcher: Arc<Watcher>,
}

impl Drop for MemberWatch {
    fn drop(&mut self) {
        if let Some(membership) = self.membership.upgrade() {
            let mut state = membership.state();
            state
                .watchers
                .retain(|other| !Arc::ptr_eq(other, &self.watcher));
        }
    }
}

impl fmt::Debug for MemberWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberWatch").finish_non_exhaustive()
    }
}

impl PubSub {
    /// The other nodes: now, and a stream of what happens to them. It starts with an `Up` for each that is up.
    pub fn members(&self) -> Members {
        let bound = Bound::messages(WAITING_EVENTS).with_overflow(Overflow::DropOldest);
        let (sender, events) = mailbox(bound);
        let watch = self.watch_members(Arc::new(Forward(sender)));
        Members {
            membership: Arc::clone(&self.shared().membership),
            events,
            seen: MemberTable::new(),
            backlog: VecDeque::new(),
            _watch: watch,
            _pubsub: self.clone(),
        }
    }

    /// Hands every event of other nodes to `sink`, as long as the guard lives: first `Up` for each that is up now, before
    /// this returns, then each event as it happens.
    pub fn watch_members(&self, sink: Arc<dyn MemberSink>) -> MemberWatch {
        self.shared().membership.watch(sink)
    }
}

struct Forward(MailboxSender<MemberEvent>);

impl MemberSink for Forward {
    fn member_event(&self, event: &MemberEvent) {
        self.0.push(event.clone(), 0);
    }
}

/// The other nodes, and a stream of what happens to them. It never ends by itself.
///
/// A reader who stays away for more than 1,024 events is then told what leads to the present state, not each step.
pub struct Members {
    membership: Arc<Membership>,
    events: MailboxReceiver<MemberEvent>,
    /// What the reader was told so far.
    seen: MemberTable,
    /// Told next; at most a few events per member.
    backlog: VecDeque<MemberEvent>,
    _watch: MemberWatch,
    _pubsub: PubSub,
}

impl Members {
    /// The members at this moment, by name; those that are down too, until they are forgotten. This node is not among them.
    pub fn now(&self) -> Vec<Member> {
        self.membership.now()
    }

    /// The next event.
    ///
    /// # Cancel safety
    ///
    /// Safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> MemberEvent {
        let next = StreamExt::next(self).await;
        next.expect("the watch holds the sending end as long as this lives")
    }

    fn note(&mut self, received: Received<MemberEvent>) {
        let events = match received {
            Received::Item(event) => vec![event],
            Received::Lagged(_) => self.seen.changes_to(&self.membership.table()),
        };
        for event in events {
            self.backlog.extend(self.seen.handle(event));
        }
    }
}

impl Stream for Members {
    type Item = MemberEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<MemberEvent>> {
        loop {
            if let Some(event) = self.backlog.pop_front() {
                return Poll::Ready(Some(event));
            }
            match ready!(self.events.poll_recv(cx)) {
                Some(received) => self.note(received),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.now()).finish()
    }
}
