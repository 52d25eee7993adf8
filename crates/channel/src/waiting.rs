//! How much of what one client sent is kept for its channels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// In the inboxes of all of one connection's channels, at work in them, and in joins that are not answered.
#[derive(Debug)]
pub(crate) struct Waiting {
    bytes: AtomicUsize,
    limit: usize,
    /// The connection's task, while it is too much.
    session: AtomicWaker,
}

impl Waiting {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            limit,
            session: AtomicWaker::new(),
        }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.limit && before - bytes <= self.limit {
            self.session.wake();
        }
    }

    /// Ready unless it is too much; else the task is woken when it no longer is. One message is never too much by itself.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_too_much() {
            return Poll::Ready(());
        }
        self.session.register(cx.waker());
        match self.is_too_much() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    pub(crate) fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.limit
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    #[test]
    fn it_is_too_much_beyond_the_limit_until_enough_is_released() {
        let waiting = Waiting::new(100);
        let mut cx = Context::from_waker(noop_waker_ref());
        for bytes in [60, 40] {
            waiting.add(bytes);
            assert!(waiting.poll_room(&mut cx).is_ready());
        }
        waiting.add(1);
        assert!(waiting.poll_room(&mut cx).is_pending());
        waiting.release(0);
        assert!(waiting.poll_room(&mut cx).is_pending());
        waiting.release(1);
        assert!(waiting.poll_room(&mut cx).is_ready());
    }
}
