//! A bounded queue with an owner, and a stated answer to the question what happens when it is full.
//!
//! Idle it takes 128 bytes, and what a burst made it grow it gives back. Pushing never waits: when the bound is
//! reached, [`Overflow`] says who loses. Whoever can wait uses [`try_push`](MailboxSender::try_push) and
//! [`poll_room`](MailboxSender::poll_room).

use std::sync::PoisonError;
use std::task::Waker;

use super::sync::{self, Arc, Mutex, MutexGuard};
use rule::Rule;
use waiting::Waiting;

#[path = "mailbox/bound.rs"]
mod bound;
#[path = "mailbox/latest.rs"]
mod latest;
#[path = "mailbox/queue.rs"]
mod queue;
#[path = "mailbox/receiver.rs"]
mod receiver;
#[path = "mailbox/rule.rs"]
mod rule;
#[path = "mailbox/sender.rs"]
mod sender;
#[path = "mailbox/waiting.rs"]
mod waiting;

pub use bound::{Bound, Overflow, Policy, ZeroBound};
pub use receiver::{MailboxReceiver, Received};
pub(crate) use rule::Loss;
pub use sender::{MailboxSender, Pushed, TryPushError};

/// A mailbox of that bound and policy: its two ends. A bound of 0 counts as 1; [`Bound::check`] tells.
///
/// It is closed when the last sender is dropped, the receiver is dropped, either end says so, or it overflows with
/// [`Overflow::Close`].
pub fn mailbox<T>(policy: impl Into<Policy<T>>) -> (MailboxSender<T>, MailboxReceiver<T>) {
    let rule = Rule::new(policy.into());
    let queue = match rule {
        Rule::InLine { .. } => Waiting::in_line(),
        Rule::PerKey(_) => Waiting::per_key(),
    };
    let shared = Arc::new(Shared {
        rule,
        state: Mutex::new(State {
            queue,
            senders: 1,
            end: End::Open,
            receiver: None,
            waiting: None,
        }),
    });
    let sender = MailboxSender {
        shared: Arc::clone(&shared),
    };
    (sender, MailboxReceiver { shared })
}

/// What the two ends share.
struct Shared<T> {
    rule: Rule<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    queue: Waiting<T>,
    senders: u32,
    end: End,
    receiver: Option<Waker>,
    /// Few ever wait for room: hence the box.
    waiting: Option<Box<Waiters>>,
}

/// Tasks that wait for room, each once.
#[derive(Default)]
struct Waiters(Vec<Waker>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// No more items come in; those inside can be read.
    Closed,
    /// No more items come in, and those inside were let go: one was too many.
    Overflowed,
    /// Nobody reads any more.
    Gone,
}

impl<T> Shared<T> {
    /// The one lock of a mailbox. What is the user's runs outside: keys are made before it, items that go are dropped after it.
    /// Of foreign code only wakers are compared and cloned inside, when nothing is half done: a poisoned lock guards sound data.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends an open mailbox; how many items were let go. What is inside stays for the receiver, unless the end is such that
    /// nobody is to have it.
    fn close(&self, end: End) -> usize {
        let mut state = self.lock();
        if state.end == End::Open || end == End::Gone {
            state.end = end;
        }
        let nobody_reads = state.end != End::Closed;
        let let_go = nobody_reads.then(|| std::mem::take(&mut state.queue));
        let receiver = state.receiver.take();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake(receiver);
        wake(waiting.into_iter().flat_map(|waiting| waiting.0));
        let_go.map_or(0, |queue| queue.len())
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// The number stands in the module's doc. (Under test this file is also compiled with a model's larger locks.)
#[cfg(all(target_pointer_width = "64", not(test)))]
const _: () = assert!(size_of::<Shared<std::sync::Arc<()>>>() + 2 * size_of::<usize>() <= 128);
