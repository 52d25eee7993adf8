//! Messages that a channel sends to itself, later.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::inbox::Info;
use crate::{Flow, Refused, Reply};

/// How many timers one channel may have at a time: 1,024.
pub const MAX_TIMERS: usize = 1024;

/// The shortest time between two messages of [`Socket::send_every`](crate::Socket::send_every): 1 millisecond.
pub const MIN_PERIOD: Duration = Duration::from_millis(1);

/// One timer of one channel; see [`Socket::cancel`](crate::Socket::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(u64);

/// A timer was not set: the channel has [`MAX_TIMERS`] already. The message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the channel has {MAX_TIMERS} timers already: cancel those that are not needed, or let one serve several"
)]
pub struct TooManyTimers;

/// It ends the channel.
impl From<TooManyTimers> for Flow {
    fn from(error: TooManyTimers) -> Self {
        Self::Fail(error.to_string())
    }
}

/// It is set: `ok` `{}`.
impl From<Timer> for Reply {
    fn from(_: Timer) -> Self {
        Self::ok_empty()
    }
}

/// `error` `{"reason": "too many timers"}`.
impl From<TooManyTimers> for Reply {
    fn from(error: TooManyTimers) -> Self {
        Refused::from(error).into()
    }
}

/// `{"reason": "too many timers"}`. So `?` works in `join`.
impl From<TooManyTimers> for Refused {
    fn from(error: TooManyTimers) -> Self {
        Self::because("too many timers").logged("a timer was not set", &error)
    }
}

/// What one of them does when it is due.
pub(crate) enum Alarm {
    Once(Info),
    Every(Duration, Box<dyn Fn() -> Info + Send>),
}

/// The timers of one channel.
#[derive(Default)]
pub(crate) struct Timers {
    /// The next one on top.
    due: BinaryHeap<Due>,
    next: u64,
    /// For the one on top; kept for the others.
    sleep: Option<Pin<Box<Sleep>>>,
}

struct Due {
    at: Instant,
    id: u64,
    alarm: Alarm,
}

impl Timers {
    /// Whether none was ever set, so that no handle to one is out.
    pub(crate) fn are_unused(&self) -> bool {
        self.next == 0
    }

    pub(crate) fn set(&mut self, after: Duration, alarm: Alarm) -> Result<Timer, TooManyTimers> {
        if self.due.len() >= MAX_TIMERS {
            return Err(TooManyTimers);
        }
        let (at, id) = (later(Instant::now(), after), self.next);
        self.next += 1;
        self.due.push(Due { at, id, alarm });
        Ok(Timer(id))
    }

    pub(crate) fn cancel(&mut self, Timer(id): Timer) -> bool {
        let before = self.due.len();
        self.due.retain(|due| due.id != id);
        self.due.len() < before
    }

    /// The message of a timer that is due. Pending without any timer, too.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Info> {
        let Some(next) = self.due.peek() else {
            self.sleep = None;
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(next.at)));
        if sleep.deadline() != next.at {
            sleep.as_mut().reset(next.at);
        }
        std::task::ready!(sleep.as_mut().poll(cx));
        let Due { at, id, alarm } = self.due.pop().expect("it was there above");
        Poll::Ready(match alarm {
            Alarm::Once(info) => info,
            Alarm::Every(period, make) => {
                let info = make();
                // What a channel was too busy for is left out.
                let at = later(at, period).max(Instant::now());
                let alarm = Alarm::Every(period, make);
                self.due.push(Due { at, id, alarm });
                info
            }
        })
    }
}

/// What lies beyond the clock's end is about thirty years away.
pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    at + by.min(FAR)
}

/// The earliest is the greatest, and of equals the oldest.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.id).cmp(&(self.at, self.id))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("count", &self.due.len())
            .finish()
    }
}
