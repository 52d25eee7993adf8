//! What waits for a long-poll client, and the polls that wait for it.
//!
//! Only the newest poll is given messages: an older one that still waits may belong to a network that is gone. Messages are
//! handed over whole and in order, each to one poll.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use bytestring::ByteString;

/// What a message counts beside its text, in bytes, so that many small ones are bounded too.
pub(super) const MESSAGE_BYTES: usize = 32;

/// Messages on their way to the client of one session.
#[derive(Debug)]
pub(super) struct Downstream {
    messages: VecDeque<ByteString>,
    bytes: usize,
    bound_bytes: usize,
    /// The poll that gets what comes, while it waits.
    newest: Option<PollId>,
    next: u64,
    /// When the last poll ended that was the newest.
    heard: Instant,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PollId(u64);

/// A poll that waits. Hand it back in the end.
#[derive(Debug)]
pub(super) struct Waiting {
    id: PollId,
    deadline: Instant,
}

/// What a poll is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// At least one message.
    Messages(Vec<ByteString>),
    /// Nothing came within the window.
    Nothing,
    /// The session has ended, and everything was handed over.
    Gone,
}

impl Downstream {
    /// Nothing waits yet. `bound_bytes` is from where on there is no room.
    pub(super) fn new(bound_bytes: usize, now: Instant) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            bound_bytes,
            newest: None,
            next: 0,
            heard: now,
            ended: false,
        }
    }

    /// Whether a further message should be put. The one that crosses the bound is taken, so any message fits into an
    /// empty queue.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.bound_bytes
    }

    pub(super) fn put(&mut self, message: ByteString) {
        self.bytes += message.len() + MESSAGE_BYTES;
        self.messages.push_back(message);
    }

    /// No further message comes. What waits can still be polled.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Nobody will hear what waits.
    pub(super) fn abandon(&mut self) {
        self.messages = VecDeque::new();
        self.bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// A poll came, to be answered within `window`. It takes the place of the one before.
    pub(super) fn begin(&mut self, now: Instant, window: Duration) -> Waiting {
        let id = PollId(self.next);
        self.next += 1;
        self.newest = Some(id);
        Waiting {
            id,
            deadline: now + window,
        }
    }

    /// The answer to a poll, if it is time for one. Whoever got an answer asks no more.
    pub(super) fn poll(&mut self, waiting: &Waiting, now: Instant) -> Option<Polled> {
        if self.newest == Some(waiting.id) && !self.messages.is_empty() {
            self.bytes = 0;
            return Some(Polled::Messages(mem::take(&mut self.messages).into()));
        }
        if self.ended && self.messages.is_empty() {
            return Some(Polled::Gone);
        }
        (now >= waiting.deadline).then_some(Polled::Nothing)
    }

    /// A poll was answered, or its client went away.
    pub(super) fn finish(&mut self, waiting: &Waiting, now: Instant) {
        if self.newest == Some(waiting.id) {
            self.newest = None;
            self.heard = now;
        }
    }

    /// When the client last was there: now, while it polls.
    pub(super) fn heard(&self, now: Instant) -> Instant {
        match self.newest {
            Some(_) => now,
            None => self.heard,
        }
    }
}

impl Waiting {
    /// When it is answered at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

#[cfg(test)]
mod tests;
