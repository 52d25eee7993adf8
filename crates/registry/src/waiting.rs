//! Waits for a future in a thread of its own accord, without a runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, MutexGuard, lock};

/// Blocks this thread until the future is ready; `None` once `limit` is over, and not before.
pub(crate) fn wait<F: Future>(
    mut future: Pin<&mut F>,
    limit: Option<Duration>,
) -> Option<F::Output> {
    // A limit beyond the end of time is none.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(Arc::clone(&parker));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if !parker.park(deadline) {
            return None;
        }
    }
}

#[derive(Default)]
struct Parker {
    woken: Mutex<bool>,
    turn: Condvar,
}

impl Parker {
    /// Sleeps until woken; false if the deadline came first.
    fn park(&self, deadline: Option<Instant>) -> bool {
        let mut woken = lock(&self.woken);
        while !*woken {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            woken = self.sleep(woken, left);
        }
        *woken = false;
        true
    }

    fn sleep<'a>(
        &self,
        woken: MutexGuard<'a, bool>,
        left: Option<Duration>,
    ) -> MutexGuard<'a, bool> {
        match left {
            Some(left) => match self.turn.wait_timeout(woken, left) {
                Ok((woken, _)) => woken,
                Err(poisoned) => poisoned.into_inner().0,
            },
            None => self
                .turn
                .wait(woken)
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *lock(&self.woken) = true;
        self.turn.notify_one();
    }
}
