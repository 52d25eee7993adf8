//! What waits for the client to read it, where it is much.

use std::{mem, task::Context};

use crate::{
    connections::{Entered, UnreadShare},
    frame::Frame,
    outbox::{Held, Inbox, Large, STEP_BYTES},
    session::Output,
    transport::Connection,
};

/// What a connection holds that its client has not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Of the last large frame, and of what was given before.
    unwritten: usize,
    /// In all.
    unread: usize,
}

impl Left {
    pub(super) fn of(connection: &impl Connection) -> Self {
        Self {
            unwritten: connection.unwritten_bytes(),
            unread: connection.unread_bytes(),
        }
    }

    pub(super) fn is_much(self) -> bool {
        self.unwritten > 0 || self.unread >= STEP_BYTES
    }
}

/// Where it is, and how it counts.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// The last large frame that the connection was given to write.
    sent: Option<Large>,
    /// What the connection held a turn ago.
    left: Left,
    /// Whether it has taken something since, so that its client has read.
    has_taken: bool,
    /// What waits in the outbox.
    queued: Held,
    /// As of when.
    known: Option<u32>,
    counted: Option<UnreadShare>,
}

impl Unread {
    /// The connection takes this one to write, so its client has read.
    pub(super) fn send(&mut self, frame: &Frame) {
        if let Some(large) = Large::of(frame) {
            self.sent = Some(large);
        }
        self.has_taken = true;
    }

    /// Counts what waits at the end of a turn, and what the connection has left. Tells whether it is much.
    pub(super) fn follow<M>(
        &mut self,
        left: Left,
        output: &Output,
        inbox: &Inbox<M>,
        entered: &Entered,
        cx: &Context<'_>,
    ) -> bool {
        let queued = inbox.held(&mut self.known);
        let is_as_before =
            queued.is_none() && left == self.left && !self.has_taken && !output.has_large();
        if is_as_before && self.counted.is_some() {
            return true;
        }
        self.queued = queued.unwrap_or_else(|| mem::take(&mut self.queued));
        if left.unwritten == 0 {
            self.sent = None;
        }
        let is_less = left.unread < mem::replace(&mut self.left, left).unread;
        let has_read = mem::take(&mut self.has_taken) || is_less;
        let all = self.all(output);
        let is_much = !all.is_nothing();
        if is_much {
            let begin = || entered.begin_unread(cx.waker());
            let counted = self.counted.get_or_insert_with(begin);
            counted.hold(all, has_read);
        }
        is_much
    }

    fn all(&self, output: &Output) -> Held {
        let sent = self.sent.as_ref().map_or(0, Large::len);
        let mut all = self.queued.clone();
        all.large
            .extend(self.sent.clone().into_iter().chain(output.large()));
        all.own += self.left.unread.saturating_sub(sent);
        all
    }

    /// Whether its connection has to give way to others.
    pub(super) fn gives_way(&self) -> bool {
        self.counted.as_ref().is_some_and(UnreadShare::gives_way)
    }
}
