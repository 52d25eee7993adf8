//! When a connection has taken too long: its client was silent, or sends a large message too slowly.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::coop,
    time::{Instant, Sleep},
};

use super::{
    Drive, Hold,
    end::{Breach, End},
};
use crate::{
    connections::{Entered, LargeMessage, Unhandled},
    session::Session,
    transport::Connection,
};

/// A timer that fires so much too late tells that the whole process stood still, as a paused virtual machine does. What clients
/// said meanwhile waits to be read, and the runtime may hear of the timer before it hears of that. So nobody is judged
/// until that long after.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// A large message, and how long it takes.
pub(super) struct Large {
    pub(super) message: LargeMessage,
    /// When it became large, later by as long as it was not read for the session's sake.
    since: Instant,
    /// Since when that is so now.
    kept_waiting: Option<Instant>,
    /// What sessions keep, where it goes once it is whole.
    unhandled: Unhandled,
}

impl Large {
    pub(super) fn begin(message: LargeMessage, unhandled: Unhandled) -> Self {
        Self {
            message,
            since: Instant::now(),
            kept_waiting: None,
            unhandled,
        }
    }

    /// Whether more may be read of it, of which so many bytes have come; else the task is woken when that may be so. What is read of it now its
    /// session would keep, and all sessions may keep too much already.
    pub(super) fn poll_room(&self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        self.unhandled.poll_room(bytes, cx)
    }

    pub(super) fn keep_waiting(&mut self, is_kept_waiting: bool) {
        if is_kept_waiting == self.kept_waiting.is_some() {
            return;
        }
        let now = Instant::now();
        match self.kept_waiting.take() {
            Some(begun) => self.since += now - begun,
            None => self.kept_waiting = Some(now),
        }
    }
}

impl<C: Connection, S: Session> Drive<C, S> {
    /// Ready when the client has been silent for too long, or sends a large message for too long. The timer is moved only when it fires, or
    /// for such a message or a client that is slowed, and told only once whom it wakes: this always runs in one and the same task.
    pub(super) fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<End> {
        if let Some(breach) = self.gives_way() {
            return Poll::Ready(End::Breach(breach));
        }
        if self.large().is_some() || self.is_slowed() {
            let deadline = self.deadline();
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
                self.is_timed = false;
            }
        }
        if self.is_timed && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.is_slowed() && self.slowed_until(now).is_none() {
                // The next turn reads on.
                (self.held, self.heard) = (None, now);
                cx.waker().wake_by_ref();
            }
            let deadline = self.deadline();
            if deadline > now {
                timer.as_mut().reset(deadline);
            } else if now - timer.deadline() >= STOOD_STILL {
                timer.as_mut().reset(now + STOOD_STILL);
            } else {
                return Poll::Ready(self.timed_out(now));
            }
        }
        // A turn that was too busy was turned away by the timer too, and comes back.
        self.is_timed = coop::has_budget_remaining();
        Poll::Pending
    }

    /// When it is over, if nothing comes, or when there is more to read from a client that is slowed.
    fn deadline(&self) -> Instant {
        let idle = self.last_heard() + self.times.idle();
        let slowed = self
            .is_slowed()
            .then(|| self.slowed_until(Instant::now()))
            .flatten();
        [self.message_deadline(), slowed]
            .into_iter()
            .flatten()
            .fold(idle, Instant::min)
    }

    /// When its large message has to be whole. While the session does not take it that is not the client's fault.
    fn message_deadline(&self) -> Option<Instant> {
        let large = self.large()?;
        let counts = large.kept_waiting.is_none();
        counts.then(|| large.since + self.times.message())
    }

    fn timed_out(&self, now: Instant) -> End {
        if self.message_deadline().is_some_and(|end| end <= now) {
            return End::Breach(Breach::Late);
        }
        End::Idle
    }

    /// A client that was not read says nothing about itself, and its connection ends for what the session does.
    pub(super) fn explain_idle(&self, entered: &Entered) {
        if self.held == Some(Hold::Session)
            && self.is_kept_waiting()
            && let Some(left_out) = entered.breach_lines().not_ready.pass_now()
        {
            tracing::warn!(
                limit = ?self.times.idle(),
                left_out,
                "a connection is closed: its session took nothing for the idle time-out, so its client was not heard"
            );
        }
    }

    fn last_heard(&self) -> Instant {
        match self.connection.last_byte() {
            None => self.heard,
            Some(byte) if self.connection.is_heard_apart() => byte,
            Some(byte) => byte.max(self.heard),
        }
    }
}
