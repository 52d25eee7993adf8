//! How many lines of one kind go into the log: what one client does, a thousand do at the same time.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The time in which a line of one kind is written at most once.
const EVERY: Duration = Duration::from_secs(1);

/// The limit of one kind of lines in the log: one a second, whatever the number of clients who give cause for more.
///
/// ```
/// use matryoshka_transport::LogLimit;
///
/// let limit = LogLimit::default();
/// for _client in 0..1000 {
///     if let Some(left_out) = limit.pass_now() {
///         println!("a name was refused; {left_out} lines like this were left out before");
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Whether a line may be written now, and then how many were left out since the last one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        // Each step leaves the state whole.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now < last + EVERY) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }

    /// As [`pass`](Self::pass), now by the runtime's clock, which a test may have paused.
    pub fn pass_now(&self) -> Option<u64> {
        self.pass(tokio::time::Instant::now().into_std())
    }
}

/// The limits of the lines that say why a connection is closed.
#[derive(Debug, Default)]
pub(crate) struct BreachLines {
    pub(crate) unwritable: LogLimit,
    pub(crate) slow: LogLimit,
    pub(crate) inbound: LogLimit,
    pub(crate) too_big: LogLimit,
    pub(crate) late: LogLimit,
    pub(crate) gave_way: LogLimit,
    pub(crate) unread: LogLimit,
    pub(crate) not_utf8: LogLimit,
    pub(crate) protocol: LogLimit,
    pub(crate) not_ready: LogLimit,
    pub(crate) crashed: LogLimit,
}

/// The limits of the lines on who is refused before there is a session.
#[derive(Debug, Default)]
pub(crate) struct RefusalLines {
    pub(crate) path: LogLimit,
    pub(crate) origin: LogLimit,
    pub(crate) vsn: LogLimit,
    pub(crate) auth_token: LogLimit,
    pub(crate) subprotocol: LogLimit,
    pub(crate) no_subprotocol: LogLimit,
    pub(crate) by_handler: LogLimit,
    pub(crate) crashed: LogLimit,
    pub(crate) timed_out: LogLimit,
    pub(crate) full: LogLimit,
    pub(crate) full_address: LogLimit,
    pub(crate) full_user: LogLimit,
}

/// The limits of the lines on what is refused to clients of long polling.
#[derive(Debug, Default)]
pub(crate) struct LongPollLines {
    pub(crate) no_seat: LogLimit,
    pub(crate) no_seat_for_address: LogLimit,
    pub(crate) not_read: LogLimit,
    pub(crate) bad_line: LogLimit,
    pub(crate) not_passed_on: LogLimit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_next_counts_those_left_out() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let mut passed = Vec::new();
        for tenth in 0..25 {
            passed.extend(limit.pass(start + tenth * Duration::from_millis(100)));
        }
        assert_eq!(passed, [0, 9, 9]);
    }
}
