//! How much of what one client sent is kept for its channels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// In the inboxes of all of one connection's channels, at work in them, and in joins that are not answered.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    /// The connection's task, while it waits for room.
    session: AtomicWaker,
}

impl Backlog {
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many are given back, where at most `limit` are not too much.
    pub(crate) fn release(&self, bytes: usize, limit: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > limit && before - bytes <= limit {
            self.wake();
        }
    }

    /// Ready unless it is too much; else the task is woken when it no longer is. One message is never too much by itself.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        if !self.is_too_much(limit) {
            return Poll::Ready(());
        }
        self.wait(cx);
        match self.is_too_much(limit) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    pub(crate) fn is_too_much(&self, limit: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) > limit
    }

    /// The connection's task waits for room, here or in one inbox.
    pub(crate) fn wait(&self, cx: &mut Context<'_>) {
        self.session.register(cx.waker());
    }

    pub(crate) fn wake(&self) {
        self.session.wake();
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
