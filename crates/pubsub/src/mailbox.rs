//! A bounded queue with an owner, and a stated answer to the question what happens when it is full.
//!
//! Idle it takes 128 bytes, and what a burst made it grow it gives back. Pushing never waits: when the bound is
//! reached, [`Overflow`] says who loses. Whoever can wait uses [`try_push`](MailboxSender::try_push) and
//! [`poll_room`](MailboxSender::poll_room).

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use futures::Stream;
use thiserror::Error;

use super::sync::{Arc, Mutex, MutexGuard};
use bound::KeyOf;
use waiting::Waiting;

#[path = "mailbox/bound.rs"]
mod bound;
#[path = "mailbox/latest.rs"]
mod latest;
#[path = "mailbox/queue.rs"]
mod queue;
#[path = "mailbox/waiting.rs"]
mod waiting;

pub use bound::{Bound, Overflow, Policy, ZeroBound};

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

/// What became of a pushed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the mailbox. (With [`Overflow::DropOldest`] or a key an older one may have gone for it.)
    Queued,
    /// The mailbox is full and the item lost; with [`Overflow::Close`] the mailbox is closed now.
    Dropped,
    /// Nobody will read it.
    Closed,
}

/// An item that was not taken, and is given back.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum TryPushError<T> {
    /// There is no room now: wait for [`MailboxSender::poll_room`].
    #[error("the mailbox is full")]
    Full(T),
    /// Nobody will read it.
    #[error("the mailbox is closed")]
    Closed(T),
}

impl<T> fmt::Debug for TryPushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// What a receiver gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// The next item.
    Item(T),
    /// So many items were lost at this place.
    Lagged(u64),
}

struct Shared<T> {
    rule: Rule<T>,
    state: Mutex<State<T>>,
}

/// What is done with an item that comes.
enum Rule<T> {
    InLine {
        /// Not `usize`, for smallness.
        messages: u32,
        overflow: Overflow,
        bytes: usize,
    },
    /// Apart, so that the mailboxes without a key are small.
    PerKey(Box<(Bound, std::sync::Arc<KeyOf<T>>)>),
}

impl<T> Rule<T> {
    fn new(Policy { bound, key }: Policy<T>) -> Self {
        let bound = Bound {
            messages: bound.messages.max(1),
            bytes: bound.bytes.max(1),
            ..bound
        };
        match key {
            None => Self::InLine {
                messages: bound.messages.try_into().unwrap_or(u32::MAX),
                overflow: bound.overflow,
                bytes: bound.bytes,
            },
            Some(key) => Self::PerKey(Box::new((bound, key))),
        }
    }

    fn bound(&self) -> Bound {
        match *self {
            Self::PerKey(ref rule) => rule.0,
            Self::InLine {
                messages,
                overflow,
                bytes,
            } => Bound {
                messages: messages as usize,
                bytes,
                overflow,
            },
        }
    }

    /// Runs the user's key function: under no lock.
    fn key(&self, item: &T) -> u128 {
        match self {
            Self::InLine { .. } => 0,
            Self::PerKey(rule) => rule.1(item),
        }
    }

    fn on_overflow(&self) -> Loss {
        match self {
            Self::PerKey(_) => Loss::Latest,
            Self::InLine { overflow, .. } => match overflow {
                Overflow::DropNewest => Loss::Newest,
                Overflow::DropOldest => Loss::Oldest,
                Overflow::Close => Loss::All,
            },
        }
    }
}

/// What a full mailbox loses, by its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Newest,
    Oldest,
    Latest,
    All,
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

/// Notes whom to wake when something comes in.
fn wait<T>(mut state: MutexGuard<'_, State<T>>, cx: &Context<'_>) {
    let known = state.receiver.as_ref();
    if known.is_some_and(|waker| waker.will_wake(cx.waker())) {
        return;
    }
    let old = state.receiver.replace(cx.waker().clone());
    drop(state);
    drop(old);
}

/// Puts an item into a mailbox with room, and wakes the receiver.
fn append<T>(mut state: MutexGuard<'_, State<T>>, item: T, bytes: usize, key: u128) {
    state.queue.append(item, bytes, key);
    let receiver = state.receiver.take();
    drop(state);
    wake(receiver);
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// The sending end of a [`mailbox`]; clones send to the same one.
pub struct MailboxSender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> MailboxSender<T> {
    /// Puts `item` in, of which `bytes` count against the bound. Never waits: when full, the overflow policy decides.
    ///
    /// # Panics
    ///
    /// If the key function of [`Bound::keep_latest_by`] does; then nothing changed.
    pub fn push(&self, item: T, bytes: usize) -> Pushed {
        self.push_counted(item, bytes).0
    }

    /// Also how many items were lost by it.
    pub(crate) fn push_counted(&self, item: T, bytes: usize) -> (Pushed, u64) {
        let rule = &self.shared.rule;
        let key = rule.key(&item);
        let mut state = self.shared.lock();
        let mut lost = 0;
        while state.end == End::Open && state.queue.is_full(&rule.bound()) {
            match rule.on_overflow() {
                Loss::Newest => {
                    state.queue.lose_newest();
                    return (Pushed::Dropped, 1);
                }
                Loss::All => {
                    drop(state);
                    let inside = self.shared.close(End::Overflowed);
                    return (Pushed::Dropped, inside as u64 + 1);
                }
                Loss::Oldest | Loss::Latest => {
                    let one = state.queue.lose_for(key);
                    lost += 1;
                    // Items are the user's: they are not dropped under the lock.
                    drop(state);
                    drop(one);
                    state = self.shared.lock();
                }
            }
        }
        if state.end != End::Open {
            return (Pushed::Closed, lost);
        }
        append(state, item, bytes, key);
        (Pushed::Queued, lost)
    }

    /// Notes an item that could not even be pushed: the receiver is told in its place.
    pub(crate) fn lose(&self) {
        let mut state = self.shared.lock();
        state.queue.lose_newest();
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
    }

    /// What goes when it is full.
    pub(crate) fn on_overflow(&self) -> Loss {
        self.shared.rule.on_overflow()
    }

    /// Puts `item` in if there is room, whatever the overflow policy.
    ///
    /// # Errors
    ///
    /// Gives the item back when the mailbox is full or closed.
    pub fn try_push(&self, item: T, bytes: usize) -> Result<(), TryPushError<T>> {
        let key = self.shared.rule.key(&item);
        let state = self.shared.lock();
        if state.end != End::Open {
            return Err(TryPushError::Closed(item));
        }
        if state.queue.is_full(&self.shared.rule.bound()) {
            return Err(TryPushError::Full(item));
        }
        append(state, item, bytes, key);
        Ok(())
    }

    /// Ready when a push would find room, or the mailbox is closed; else the task is woken when that may be so.
    ///
    /// Room is not reserved: another sender may take it first.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.end != End::Open || !state.queue.is_full(&self.shared.rule.bound()) {
            return Poll::Ready(());
        }
        let waiting = &mut state.waiting.get_or_insert_default().0;
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until a push would find room, or the mailbox is closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is reserved.
    pub async fn room(&self) {
        poll_fn(|cx| self.poll_room(cx)).await;
    }

    /// Closes the mailbox: the receiver gets what is inside, then the end.
    pub fn close(&self) {
        self.shared.close(End::Closed);
    }

    /// Whether pushes are in vain.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().end != End::Open
    }

    /// Items inside now.
    pub fn len(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Whether nothing is inside now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> Self {
        let mut state = self.shared.lock();
        state.senders = state
            .senders
            .checked_add(1)
            .expect("fewer senders than 2^32");
        drop(state);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for MailboxSender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.shared.close(End::Closed);
        }
    }
}

impl<T> fmt::Debug for MailboxSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxSender")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The receiving end of a [`mailbox`]. Dropping it drops what is inside.
pub struct MailboxReceiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> MailboxReceiver<T> {
    /// The next item, or how many are missing in its place; `None` once the mailbox is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// Safe: an item is taken out only when it is returned.
    pub async fn recv(&mut self) -> Option<Received<T>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for hand-written futures. The last task that polled is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        let mut state = self.shared.lock();
        if let Some(received) = state.queue.next() {
            self.made_room(state);
            return Poll::Ready(Some(received));
        }
        if state.end != End::Open {
            return Poll::Ready(None);
        }
        wait(state, cx);
        Poll::Pending
    }

    /// What is there now, if anything.
    pub fn try_recv(&mut self) -> Option<Received<T>> {
        let mut state = self.shared.lock();
        let received = state.queue.next()?;
        self.made_room(state);
        Some(received)
    }

    fn made_room(&self, mut state: MutexGuard<'_, State<T>>) {
        if state.waiting.is_none() || state.queue.is_full(&self.shared.rule.bound()) {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake(waiting.into_iter().flat_map(|waiting| waiting.0));
    }

    /// Whether the mailbox was closed by an item too many ([`Overflow::Close`]); then it is empty.
    pub fn overflowed(&self) -> bool {
        self.shared.lock().end == End::Overflowed
    }

    /// Ready once the mailbox was closed by an item too many; else the task is woken when that may be so. Takes
    /// nothing out: for a reader that cannot take items now, but has to know that it is too late.
    pub fn poll_overflowed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let state = self.shared.lock();
        if state.end == End::Overflowed {
            return Poll::Ready(());
        }
        wait(state, cx);
        Poll::Pending
    }

    /// Whether nothing more comes in; what is inside can still be read.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().end != End::Open
    }

    /// Takes nothing more in; what is inside can still be read.
    pub fn close(&mut self) {
        self.shared.close(End::Closed);
    }

    /// Items inside now.
    pub fn len(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Whether nothing is inside now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Stream for MailboxReceiver<T> {
    type Item = Received<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<T> Drop for MailboxReceiver<T> {
    fn drop(&mut self) {
        self.shared.close(End::Gone);
    }
}

impl<T> fmt::Debug for MailboxReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxReceiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The number stands in the module's doc. (Under test this file is also compiled with a model's larger locks.)
#[cfg(all(target_pointer_width = "64", not(test)))]
const _: () = assert!(size_of::<Shared<std::sync::Arc<()>>>() + 2 * size_of::<usize>() <= 128);
