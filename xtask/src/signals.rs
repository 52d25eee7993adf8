//! Requests to stop (Ctrl-C, SIGTERM, SIGHUP) as values that a command waits for.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failure::Outcome;

/// How many requests are kept; more than two say nothing new.
const KEPT: usize = 4;

/// The stop requests that reach this process, from the moment `listen` returns. Each reader sees all of them.
pub(crate) struct StopRequests {
    board: Arc<Board>,
    seen: Cell<usize>,
}

#[derive(Default)]
struct Board {
    requests: Mutex<Vec<&'static str>>,
    news: Condvar,
}

impl StopRequests {
    pub(crate) fn listen() -> Outcome<Self> {
        let board = Arc::new(Board::default());
        forward_signals(board.clone())?;
        Ok(StopRequests {
            board,
            seen: Cell::new(0),
        })
    }

    /// A reader for another thread, which has seen no request yet.
    pub(crate) fn reader(&self) -> Self {
        StopRequests {
            board: self.board.clone(),
            seen: Cell::new(0),
        }
    }

    /// Waits at most this long for a request and names it.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<&'static str> {
        let seen = self.seen.get();
        let waited = self
            .board
            .news
            .wait_timeout_while(self.board.requests(), at_most, |all| all.len() <= seen);
        let (requests, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let request = requests.get(seen).copied();
        self.seen.set(seen + usize::from(request.is_some()));
        request
    }
}

impl Board {
    #[cfg(any(unix, test))]
    fn add(&self, request: &'static str) {
        let mut requests = self.requests();
        if requests.len() < KEPT {
            requests.push(request);
        }
        self.news.notify_all();
    }

    fn requests(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
fn forward_signals(board: Arc<Board>) -> Outcome {
    use std::thread;

    use crate::failure::Explain;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).explain("listening for signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            board.add(match signal {
                SIGINT => "Ctrl-C",
                SIGHUP => "SIGHUP",
                _ => "SIGTERM",
            });
        }
    });
    Ok(())
}

/// Elsewhere Ctrl-C ends this process at once; its children notice by their standard input.
#[cfg(not(unix))]
fn forward_signals(_board: Arc<Board>) -> Outcome {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_sees_every_request_once() {
        let board = Arc::new(Board::default());
        let one = StopRequests {
            board: board.clone(),
            seen: Cell::new(0),
        };
        let other = one.reader();
        board.add("first");
        board.add("second");
        for reader in [&one, &other] {
            assert_eq!(reader.wait(Duration::ZERO), Some("first"));
            assert_eq!(reader.wait(Duration::ZERO), Some("second"));
            assert_eq!(reader.wait(Duration::ZERO), None);
        }
    }

    #[test]
    fn requests_beyond_a_few_are_dropped() {
        let board = Board::default();
        (0..100).for_each(|_| board.add("again"));
        assert_eq!(board.requests().len(), KEPT);
    }
}
