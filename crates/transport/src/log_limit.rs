//! How many lines of one kind go into the log: what one client does, a thousand do at the same time.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::sleep_until};

/// The time in which a line of one kind is written at most once.
const EVERY: Duration = Duration::from_secs(1);

/// How long those that are left out wait for a further line that tells how many they are.
const UNTOLD: Duration = Duration::from_secs(5);

/// The limit of one kind of lines in the log: one a second, whatever the number of clients who give cause for more. The next line tells how many were
/// left out. Where none comes for five seconds, a line by itself tells how many, and of which kind.
///
/// ```
/// use matryoshka_transport::LogLimit;
///
/// let limit = LogLimit::of("refused names");
/// for _client in 0..1000 {
///     if let Some(left_out) = limit.pass_now() {
///         println!("a name was refused; {left_out} lines like this were left out before");
///     }
/// }
/// ```
#[derive(Debug)]
pub struct LogLimit {
    kind: &'static str,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
    /// Whether a task sees to those left out.
    is_followed: bool,
}

impl LogLimit {
    /// The limit of the lines of that kind, which the log may name.
    pub fn of(kind: &'static str) -> Self {
        let state = Arc::default();
        Self { kind, state }
    }

    /// Whether a line may be written now, and then how many were left out since the last one. Outside of a tokio runtime those wait for the next one,
    /// however long.
    pub fn pass_now(&self) -> Option<u64> {
        // By the runtime's clock, which a test may have paused.
        let passed = lock(&self.state).pass(tokio::time::Instant::now().into_std());
        if passed.is_none() {
            self.follow();
        }
        passed
    }

    /// Sees to it that those left out are told of, if no further line does: by one task, however many they are.
    fn follow(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !mem::replace(&mut lock(&self.state).is_followed, true) {
            runtime.spawn(tell_untold(self.kind, Arc::clone(&self.state)));
        }
    }
}

async fn tell_untold(kind: &'static str, state: Arc<Mutex<State>>) {
    loop {
        let now = tokio::time::Instant::now().into_std();
        let untold = lock(&state).untold(now);
        match untold {
            Untold::Until(then) => sleep_until(then.into()).await,
            Untold::Now(0) => return,
            Untold::Now(left_out) => {
                tracing::warn!(
                    kind,
                    left_out,
                    "so many more lines of this kind were left out of the log"
                );
                return;
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each step leaves the state whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those left out that no line has told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Untold {
    /// A further line may do so until then.
    Until(Instant),
    /// They are to be told now, and nobody follows them any more.
    Now(u64),
}

impl State {
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + EVERY) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(mem::take(&mut self.left_out))
    }

    fn untold(&mut self, now: Instant) -> Untold {
        let then = self.last.map_or(now, |last| last + UNTOLD);
        if self.left_out > 0 && now < then {
            return Untold::Until(then);
        }
        self.is_followed = false;
        Untold::Now(mem::take(&mut self.left_out))
    }
}

/// Limits by their kinds, which are named by their group and as their fields.
macro_rules! log_limits {
    ($group:literal: $(#[$doc:meta])* struct $lines:ident { $($kind:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $lines {
            $(pub(crate) $kind: LogLimit,)*
        }

        impl Default for $lines {
            fn default() -> Self {
                Self { $($kind: LogLimit::of(concat!($group, " ", stringify!($kind))),)* }
            }
        }
    };
}

log_limits! {
    "closed":
    /// The limits of the lines that say why a connection is closed.
    struct BreachLines {
        unwritable,
        slow,
        inbound,
        too_big,
        late,
        gave_way,
        unread,
        not_utf8,
        protocol,
        not_ready,
        crashed,
    }
}

log_limits! {
    "refused":
    /// The limits of the lines on who is refused before there is a session.
    struct RefusalLines {
        path,
        upgrade,
        query,
        no_peer,
        origin,
        vsn,
        auth_token,
        subprotocol,
        no_subprotocol,
        by_handler,
        crashed,
        timed_out,
        full,
        full_address,
        full_user,
    }
}

log_limits! {
    "long polling":
    /// The limits of the lines on what is refused to clients of long polling.
    struct LongPollLines {
        no_seat,
        no_seat_for_address,
        not_read,
        bad_line,
        not_passed_on,
        no_room,
        no_room_for_answer,
        binary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_next_counts_those_left_out() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut passed = Vec::new();
        for tenth in 0..25 {
            passed.extend(state.pass(start + tenth * Duration::from_millis(100)));
        }
        assert_eq!(passed, [0, 9, 9]);
        let last = start + Duration::from_secs(2);
        let then = last + UNTOLD;
        assert_eq!(state.untold(last), Untold::Until(then));
        assert_eq!(state.untold(then), Untold::Now(4));
        assert_eq!(state.untold(then), Untold::Now(0));
        assert_eq!(state.pass(then), Some(0), "its details are not left out");
    }
}
