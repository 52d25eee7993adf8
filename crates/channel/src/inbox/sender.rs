//! The way into a channel's inbox, and past it.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::lines::bytes_of;
use super::{ITEM_BYTES, Info, Item, Over, Shared, State, wake};
use crate::multiplexer::Request;
use crate::pubsub::Delivery;
use crate::timers::later;
use crate::transport::{LogLimit, WhenSlow};
use crate::{Broadcast, SendError, Terminated};
use matryoshka_transport::excerpt;

/// The way into a channel's inbox. What goes in, and what finds no room, is counted.
#[derive(Clone)]
pub(crate) struct InboxSender(pub(super) Arc<Shared>);

impl InboxSender {
    /// Puts a request in, or gives it back if there is no room now. A channel that has ended takes it and does nothing.
    pub(crate) fn offer(&self, request: Request) -> Option<Request> {
        let link = &self.0.link;
        let mut state = self.0.lock();
        if state.is_closed {
            return None;
        }
        if state.lines.is_full_of_requests(self.0.bound()) {
            return Some(request);
        }
        link.waiting.add(bytes_of(&request));
        state.lines.add_request(request);
        self.came_in(state);
        None
    }

    /// Ready when there is room for a request, or the inbox is closed; else the session is woken when that may be so.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.is_closed || !state.lines.is_full_of_requests(self.0.bound()) {
            return Poll::Ready(());
        }
        state.is_awaited = true;
        self.0.link.waiting.wait(cx);
        Poll::Pending
    }

    /// Puts a message for `handle_info` in, of which so many bytes count against the bound, or drops it.
    pub(crate) fn send(&self, info: Info, bytes: usize) -> Result<(), SendError> {
        self.add(Item::Info(info), bytes, |_| {})
    }

    /// The same for a message of a subscribed topic. If there is no room, the channel is told so in its place.
    pub(crate) fn heard(&self, item: Item, bytes: usize, topic: &str) -> Delivery {
        let added = self.add(item, bytes, |state| state.lines.lose());
        if added == Err(SendError::Full) {
            let line = &self.0.link.counters.lines.missed;
            log_loss(line, topic, "a channel misses messages of a topic");
        }
        delivery(added)
    }

    /// The same for a broadcast on the channel's own topic. If there is no room for one that may not give way, the channel ends.
    pub(crate) fn intercepted(
        &self,
        broadcast: Broadcast,
        when_slow: impl FnOnce(&Broadcast) -> WhenSlow,
    ) -> Delivery {
        let bytes = ITEM_BYTES + broadcast.event().len() + broadcast.payload().len();
        let added = self.add(Item::Out(broadcast.clone()), bytes, |_| {});
        if added == Err(SendError::Full) {
            let is_to_arrive = when_slow(&broadcast) == WhenSlow::Close;
            let lines = &self.0.link.counters.lines;
            let (line, what) = match is_to_arrive {
                true => (
                    &lines.overrun,
                    "a channel ends, as it cannot see a broadcast that it intercepts",
                ),
                false => (
                    &lines.given_way,
                    "a channel does not see broadcasts that it intercepts",
                ),
            };
            log_loss(line, broadcast.topic(), what);
            if is_to_arrive {
                self.0.orders.overrun.store(true, Ordering::Release);
                self.0.wake_channel();
            }
        }
        delivery(added)
    }

    fn add(
        &self,
        item: Item,
        bytes: usize,
        lose: impl FnOnce(&mut State),
    ) -> Result<(), SendError> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(SendError::Ended);
        }
        if state.lines.is_full_of_others(self.0.bound()) {
            lose(&mut state);
            drop(state);
            self.0.link.counters.inbox_dropped.add_one();
            return Err(SendError::Full);
        }
        state.lines.add_other(item, bytes);
        self.came_in(state);
        Ok(())
    }

    fn came_in(&self, mut state: MutexGuard<'_, State>) {
        let receiver = match state.only_the_end_matters {
            true => None,
            false => state.receiver.take(),
        };
        drop(state);
        self.0.link.counters.inbox_in.add_one();
        wake(receiver);
    }

    /// A newer join took the topic: the channel ends when its own join is answered.
    pub(crate) fn supersede(&self) {
        self.0.orders.superseded.store(true, Ordering::Release);
    }

    /// The client has left: that waits in the inbox.
    pub(crate) fn leave(&self) {
        self.0.orders.leaving.store(true, Ordering::Release);
        self.0.wake_channel();
    }

    /// The channel's join is to wait only a short while longer for the one that it replaces.
    pub(crate) fn hasten(&self) {
        self.0.orders.hastened.store(true, Ordering::Release);
        self.0.wake_channel();
    }

    /// Ready once the channel is [hastened](Self::hasten); else its task is woken then.
    pub(crate) fn poll_hastened(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.wait_for_the_end(cx);
        match self.0.orders.hastened.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Ready once the channel is [kicked](Self::kick); else its task is woken then.
    pub(crate) fn poll_kicked(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.wait_for_the_end(cx);
        match self.is_kicked() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub(crate) fn is_kicked(&self) -> bool {
        self.0.orders.kicked.load(Ordering::Acquire)
    }

    /// The channel ends before whatever waits in its inbox.
    pub(crate) fn kick(&self) {
        self.0.orders.kicked.store(true, Ordering::Release);
        self.0.wake_channel();
    }

    /// The connection has ended. What is inside can still be read, for a while.
    pub(crate) fn close(&self, reason: Terminated) {
        let deadline = later(Instant::now(), self.0.link.config.terminate_timeout);
        self.close_by(reason, deadline);
    }

    /// If its client has left, nobody waits any longer for the channel to work that off: it ends where it stands. Tells whether that is so.
    pub(crate) fn dismiss(&self) -> bool {
        let is_leaving = self.0.orders.leaving.load(Ordering::Acquire);
        if is_leaving {
            self.close_by(Terminated::Left, Instant::now());
        }
        is_leaving
    }

    fn close_by(&self, reason: Terminated, deadline: Instant) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let over = || Box::new(Over::Connection { reason, deadline });
        state.over.get_or_insert_with(over);
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
    }

    /// Ready once the connection has ended, with until when the channel may go on; else its task is woken then, and not for what comes in.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<Instant> {
        let mut state = self.0.lock();
        if let Some(deadline) = state.deadline() {
            return Poll::Ready(deadline);
        }
        let old = state.wait(true, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// When the channel ended by itself, if it has.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        match self.0.lock().over.as_deref()? {
            Over::Channel { at } => Some(*at),
            Over::Connection { .. } => None,
        }
    }

    /// How much of what its client sent the channel keeps, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let state = self.0.lock();
        state.in_hand + state.lines.request_bytes()
    }

    /// Takes nothing more in, and gives out what the client asked for.
    pub(crate) fn take_requests(&self) -> impl Iterator<Item = Request> + use<> {
        self.0.empty().into_requests()
    }

    /// From now on the channel has ended for its client.
    pub(crate) fn told(&self) {
        self.0.lock().is_told = true;
    }

    /// Runs it unless the channel has ended for its client, which does not happen meanwhile. It must not touch the inbox.
    pub(crate) fn unless_told<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let state = self.0.lock();
        (!state.is_told).then(run)
    }
}

impl fmt::Debug for InboxSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxSender")
            .field("waiting", &self.0.lock().lines.len())
            .finish()
    }
}

fn log_loss(line: &LogLimit, topic: &str, what: &str) {
    if let Some(left_out) = line.pass_now() {
        tracing::warn!(
            topic = excerpt(topic),
            limit = "SocketsConfig::inbox_messages or inbox_bytes",
            left_out,
            "{what}: its inbox is full"
        );
    }
}

fn delivery(added: Result<(), SendError>) -> Delivery {
    match added {
        Ok(()) => Delivery::Delivered,
        Err(SendError::Full) => Delivery::Dropped,
        Err(SendError::Ended) => Delivery::Closed,
    }
}
