//! What is large and waits for the client to read it.

use std::{mem, task::Context};

use crate::{
    connections::{Entered, LargeFrames},
    frame::Frame,
    outbox::{Inbox, Large},
    session::Output,
};

/// Where it is, and how it counts.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// The last large frame that the connection was given to write.
    sent: Option<Large>,
    /// How much of it, and of what was given before, had not been written a turn ago.
    left: usize,
    /// What waits in the outbox.
    queued: Vec<Large>,
    /// As of when.
    known: Option<u32>,
    counted: Option<LargeFrames>,
}

impl Unread {
    /// The connection takes this one to write, so its client has read.
    pub(super) fn send(&mut self, frame: &Frame) {
        self.sent = Large::of(frame);
        self.left = usize::MAX;
    }

    /// Counts what waits at the end of a turn, of which the connection still has so many bytes to write. Tells whether anything does.
    pub(super) fn follow<M>(
        &mut self,
        left: usize,
        output: &Output,
        inbox: &Inbox<M>,
        entered: &Entered,
        cx: &Context<'_>,
    ) -> bool {
        let queued = inbox.large(&mut self.known);
        let is_as_before = queued.is_none() && left == self.left && !output.has_large();
        if is_as_before && self.counted.is_some() {
            return true;
        }
        self.queued = queued.unwrap_or_else(|| mem::take(&mut self.queued));
        if left == 0 {
            self.sent = None;
        }
        let has_read = left < mem::replace(&mut self.left, left);
        let all = self.all(output);
        let is_any = !all.is_empty();
        if is_any {
            let begin = || entered.begin_unread(cx.waker());
            let counted = self.counted.get_or_insert_with(begin);
            counted.hold(all, has_read);
        }
        is_any
    }

    fn all(&self, output: &Output) -> Vec<Large> {
        let sent = self.sent.as_ref().map_or(0, Large::len);
        let before = self.left.saturating_sub(sent);
        let before = (before > 0).then_some(Large::Mail(before));
        let waiting = self.queued.iter().chain(&self.sent).cloned();
        waiting.chain(before).chain(output.large()).collect()
    }

    /// Whether its connection has to give way to others.
    pub(super) fn gives_way(&self) -> bool {
        self.counted.as_ref().is_some_and(LargeFrames::gives_way)
    }
}
