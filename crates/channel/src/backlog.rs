//! How much of what one client sent is kept for its channels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use crate::transport::Unhandled;

/// What it gives back in so many bytes may be room where others wait for it, or where the connection itself does for what all together hold.
const STEP_BYTES: usize = 64 * 1024;

/// In the inboxes of all of one connection's channels, at work in them, in joins that are not answered, and before an inbox that is full.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    /// The connection's task, while it waits for room.
    session: AtomicWaker,
    /// The same of all connections.
    all: Unhandled,
}

impl Backlog {
    /// One that counts with those of all connections.
    pub(crate) fn among(all: Unhandled) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            session: AtomicWaker::new(),
            all,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.change(before, before + bytes);
    }

    /// So many are given back, where at most `limit` are not too much.
    pub(crate) fn release(&self, bytes: usize, limit: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let left = before - bytes;
        self.all.change(before, left);
        let is_step = before / STEP_BYTES > left / STEP_BYTES;
        if is_step || before > limit && left <= limit {
            self.wake();
        }
    }

    /// Ready unless it is too much, here or with what others have; else the task is woken when it no longer is. One message is never too much
    /// by itself here.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        if self.has_room(cx, limit) {
            return Poll::Ready(());
        }
        self.wait(cx);
        match self.has_room(cx, limit) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn has_room(&self, cx: &mut Context<'_>, limit: usize) -> bool {
        !self.is_too_much(limit) && self.all.poll_room(self.bytes(), cx).is_ready()
    }

    pub(crate) fn is_too_much(&self, limit: usize) -> bool {
        self.bytes() > limit
    }

    /// Whether the connection is not read because of what all together hold.
    pub(crate) fn is_held_back(&self) -> bool {
        self.all.is_waiting()
    }

    /// The connection's task waits for room, here or in one inbox.
    pub(crate) fn wait(&self, cx: &mut Context<'_>) {
        self.session.register(cx.waker());
    }

    pub(crate) fn wake(&self) {
        self.session.wake();
    }
}

/// What is left then, such as a message that found no room, is kept no longer.
impl Drop for Backlog {
    fn drop(&mut self) {
        self.all.change(*self.bytes.get_mut(), 0);
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    #[test]
    fn it_is_too_much_beyond_the_limit_until_enough_is_released() {
        const LIMIT: usize = 100;
        let backlog = Backlog::default();
        let mut cx = Context::from_waker(noop_waker_ref());
        for bytes in [60, 40] {
            backlog.add(bytes);
            assert!(backlog.poll_room(&mut cx, LIMIT).is_ready());
        }
        backlog.add(1);
        assert!(backlog.poll_room(&mut cx, LIMIT).is_pending());
        backlog.release(0, LIMIT);
        assert!(backlog.poll_room(&mut cx, LIMIT).is_pending());
        backlog.release(1, LIMIT);
        assert!(backlog.poll_room(&mut cx, LIMIT).is_ready());
    }
}
