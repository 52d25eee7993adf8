//! What waits for a long-poll client, and the polls that wait for it.
//!
//! Only the newest poll is given messages: an older one that still waits may belong to a network that is gone. Messages are
//! handed over whole and in order, each to one poll. Two polls may wait: the newest, and the one before it, which runs out. A third
//! ends the oldest. What a client was answered, and has not read, counts as what waits: it gets no more while that reaches the bound.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use bytestring::ByteString;

use crate::later::later;

/// What a message counts beside its text, in bytes, so that many small ones are bounded too.
pub(super) const MESSAGE_BYTES: usize = 32;

/// Messages on their way to the client of one session. `W` is what wakes a poll.
#[derive(Debug)]
pub(super) struct Downstream<W> {
    messages: VecDeque<ByteString>,
    bytes: usize,
    /// What answers hold that are not read yet.
    unread: usize,
    bound_bytes: usize,
    /// The poll that gets what comes, while it waits.
    newest: Option<Slot<W>>,
    /// The one before, while it waits.
    older: Option<Slot<W>>,
    next: u64,
    /// When the last poll ended that was the newest.
    heard: Instant,
    /// Whether a poll has messages that may be put back.
    passing: bool,
    ended: bool,
    abandoned: bool,
}

#[derive(Debug)]
struct Slot<W> {
    id: PollId,
    waker: Option<W>,
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
    /// Nothing came within the window, or two newer polls did.
    Nothing,
    /// The session has ended, and everything was handed over.
    Gone,
}

impl<W> Downstream<W> {
    /// Nothing waits yet. `bound_bytes` is from where on there is no room.
    pub(super) fn new(bound_bytes: usize, now: Instant) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            unread: 0,
            bound_bytes,
            newest: None,
            older: None,
            next: 0,
            heard: now,
            passing: false,
            ended: false,
            abandoned: false,
        }
    }

    /// Whether a further message should be put. The one that crosses the bound is taken, so any message fits into an
    /// empty queue.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.bound_bytes
    }

    /// How many bytes wait beyond the bound: they are of a large message, which crossed it.
    pub(super) fn over(&self) -> usize {
        self.bytes.saturating_sub(self.bound_bytes)
    }

    /// How many bytes the client has not read: what waits, and what answers hold.
    pub(super) fn held(&self) -> usize {
        self.bytes + self.unread
    }

    /// Puts a message, unless nobody will hear it. Whoever has put all that there is wakes the poll that gets it, by [`news`](Self::news).
    pub(super) fn put(&mut self, message: ByteString) {
        if self.abandoned {
            return;
        }
        self.bytes += weight(&message);
        self.messages.push_back(message);
    }

    /// What a poll was just answered is not here any more to be read, but may have to come back: until that is [known](Self::passed) no
    /// poll gets what comes after it.
    pub(super) fn pass_on(&mut self, messages: &[ByteString]) {
        self.unread -= messages.iter().map(weight).sum::<usize>();
        self.passing = true;
    }

    /// What a poll [passes on](Self::pass_on) has gone, but for what comes back: that stands before what came since. Gives back all polls to wake.
    #[must_use = "the polls have to be woken"]
    pub(super) fn passed(&mut self, back: Vec<ByteString>) -> impl Iterator<Item = W> + use<W> {
        self.passing = false;
        if !self.abandoned {
            self.bytes += back.iter().map(weight).sum::<usize>();
            let since = mem::replace(&mut self.messages, back.into());
            self.messages.extend(since);
        }
        let polls = match self.ended {
            true => self.wakers(),
            false => [self.news(), None],
        };
        polls.into_iter().flatten()
    }

    /// The poll to wake if there are messages.
    #[must_use = "the poll has to be woken"]
    pub(super) fn news(&mut self) -> Option<W> {
        let has_news = self.has_answer();
        let newest = self.newest.as_mut().filter(|_| has_news);
        newest?.waker.take()
    }

    /// Whether there are messages, and the client reads what it is answered.
    fn has_answer(&self) -> bool {
        !self.messages.is_empty() && self.unread < self.bound_bytes && !self.passing
    }

    /// So much of what messages weigh has been read, or will never be. Gives back the poll to wake if there are more.
    #[must_use = "the poll has to be woken"]
    pub(super) fn read(&mut self, weight: usize) -> Option<W> {
        self.unread -= weight;
        self.news()
    }

    /// No further message comes. What waits can still be polled. Gives back all polls to wake.
    #[must_use = "the polls have to be woken"]
    pub(super) fn end(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.ended = true;
        self.wakers().into_iter().flatten()
    }

    fn wakers(&mut self) -> [Option<W>; 2] {
        let polls = [&mut self.newest, &mut self.older];
        polls.map(|slot| slot.as_mut().and_then(|slot| slot.waker.take()))
    }

    /// Nobody will hear what waits, nor what is put from now on.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
        self.messages = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether everything was handed over.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.passing
    }

    /// A poll came, to be answered within `window`. It takes the place of the one before. Where two wait already, the oldest is over:
    /// it is to be woken.
    #[must_use = "the oldest poll has to be woken"]
    pub(super) fn begin(&mut self, now: Instant, window: Duration) -> (Waiting, Option<W>) {
        let id = PollId(self.next);
        self.next += 1;
        let before = self.newest.replace(Slot { id, waker: None });
        let over = match before {
            Some(before) => self.older.replace(before),
            None => None,
        };
        let deadline = later(now, window);
        (Waiting { id, deadline }, over.and_then(|slot| slot.waker))
    }

    /// The answer to a poll, if it is time for one. Whoever got an answer asks no more, and says when messages were [read](Self::read).
    pub(super) fn poll(&mut self, waiting: &Waiting, now: Instant) -> Option<Polled> {
        let is_newest = self
            .newest
            .as_ref()
            .is_some_and(|slot| slot.id == waiting.id);
        if is_newest && self.has_answer() {
            self.unread += mem::take(&mut self.bytes);
            return Some(Polled::Messages(mem::take(&mut self.messages).into()));
        }
        if self.ended && self.is_empty() {
            return Some(Polled::Gone);
        }
        let is_over = now >= waiting.deadline || self.slot(waiting).is_none();
        is_over.then_some(Polled::Nothing)
    }

    /// A poll without an answer waits until it is woken, or its deadline. Gives back what would have woken it before.
    #[must_use = "a waker is not to be dropped under a lock"]
    pub(super) fn wait(&mut self, waiting: &Waiting, waker: W) -> Option<W> {
        match self.slot(waiting) {
            Some(slot) => slot.waker.replace(waker),
            None => Some(waker),
        }
    }

    /// A poll was answered, or its client went away. Gives back what would have woken it.
    #[must_use = "a waker is not to be dropped under a lock"]
    pub(super) fn finish(&mut self, waiting: &Waiting, now: Instant) -> Option<W> {
        let is_it = |slot: &mut Slot<W>| slot.id == waiting.id;
        let done = match self.newest.take_if(is_it) {
            Some(newest) => {
                self.heard = now;
                Some(newest)
            }
            None => self.older.take_if(is_it),
        };
        done?.waker
    }

    /// When the client last was there: now, while it polls.
    pub(super) fn heard(&self, now: Instant) -> Instant {
        match self.newest {
            Some(_) => now,
            None => self.heard,
        }
    }

    fn slot(&mut self, waiting: &Waiting) -> Option<&mut Slot<W>> {
        let polls = [&mut self.newest, &mut self.older];
        let mut waits = polls.into_iter().flatten();
        waits.find(|slot| slot.id == waiting.id)
    }
}

/// What a message counts while it waits, and until it is read.
pub(super) fn weight(message: &ByteString) -> usize {
    message.len() + MESSAGE_BYTES
}

impl Waiting {
    /// When it is answered at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

#[cfg(test)]
mod tests;
