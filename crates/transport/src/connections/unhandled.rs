//! What sessions keep of messages that they are not done with, of all connections together. Where that is more than it may, nobody is
//! closed for it: a connection that keeps much itself, of an address that has more than half of an equal share, is not read until its
//! session has done with some of it, or others have.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::shares::Holder;
use crate::{log_limit::LogLimit, stats::Counters};

/// What is kept counts by whole steps of 64 KiB: a connection that keeps less counts for nothing, is always read, and touches nothing that
/// is others' as well.
const STEP_BYTES: usize = 64 * 1024;

/// All that sessions keep.
#[derive(Debug)]
pub(super) struct All {
    most: Option<usize>,
    counters: Arc<Counters>,
    line: LogLimit,
    /// As in the state, for those who only look.
    bytes: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: Steps,
    /// Those of each.
    holders: HashMap<Holder, Steps>,
    /// The number of the next that waits, from 1 on.
    next: u64,
    /// Connections that are not read, those first that have waited for longest.
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    holder: Holder,
    connection: Waker,
}

/// How many steps are kept. Of two that come at a time the later may be told first, so for a moment there may be less than none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Steps(isize);

impl Steps {
    fn of(bytes: usize) -> Self {
        Self((bytes / STEP_BYTES).cast_signed())
    }

    fn add(&mut self, more: isize) {
        self.0 += more;
    }

    fn bytes(self) -> usize {
        let steps = usize::try_from(self.0).unwrap_or(0);
        steps.saturating_mul(STEP_BYTES)
    }
}

impl All {
    pub(super) fn new(most: Option<usize>, counters: &Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            most,
            counters: Arc::clone(counters),
            line: LogLimit::of("slowed unhandled"),
            bytes: AtomicUsize::new(0),
            state: Mutex::default(),
        })
    }

    /// What the session of one connection keeps: nothing yet.
    pub(super) fn begin(self: &Arc<Self>, holder: Holder) -> Unhandled {
        let all = Arc::clone(self);
        Unhandled(Some(One::new(all, holder)))
    }

    fn is_too_much(&self) -> bool {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.most.is_some_and(|most| bytes > most)
    }

    /// So many steps more are kept, or fewer. Gives back who may be read now.
    fn change(&self, holder: Holder, more: isize) -> Vec<Waiting> {
        let most = self.most.unwrap_or(usize::MAX);
        let mut state = self.state();
        let was_over = state.is_over(holder, most);
        state.change(holder, more);
        self.bytes.store(state.steps.bytes(), Ordering::Relaxed);
        match more < 0 && !state.waiting.is_empty() {
            true => state.next_to_be_read(holder, was_over, most),
            false => Vec::new(),
        }
    }

    /// Says it in the log, and counts it.
    fn tell(&self) {
        self.counters.paused_unhandled.add_one();
        if let Some(left_out) = self.line.pass_now() {
            tracing::warn!(
                limit = "ConnectionLimits::max_unhandled_bytes",
                left_out,
                "a connection is not read for a while: what sessions have not worked off is over the limit, and of that those of its \
                 client's address have more than half of an equal share; find what makes their channels slow, or raise \
                 ConnectionLimits::max_unhandled_bytes"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, holder: Holder, more: isize) {
        self.steps.add(more);
        let held = self.holders.entry(holder).or_default();
        held.add(more);
        if *held == Steps::default() {
            self.holders.remove(&holder);
        }
    }

    /// Whether a connection of that holder is to wait, where all may keep so much.
    fn is_over(&self, holder: Holder, most: usize) -> bool {
        let safe = most / self.holders.len().max(1) / 2;
        let held = self.holders.get(&holder);
        self.steps.bytes() > most && held.is_some_and(|held| held.bytes() > safe)
    }

    /// Who may be read now that less is kept for that holder. While there is not too much, those who have waited for longest: as many as there
    /// are steps free, so that what all of them bring at a time is not too much again, and all where half is free.
    fn next_to_be_read(&mut self, holder: Holder, was_over: bool, most: usize) -> Vec<Waiting> {
        let Some(free) = most.checked_sub(self.steps.bytes()) else {
            let is_over = self.is_over(holder, most);
            return match was_over && !is_over {
                true => self.all_of(holder),
                false => Vec::new(),
            };
        };
        let count = match free >= most / 2 {
            true => usize::MAX,
            false => 1 + free / STEP_BYTES,
        };
        let next = std::iter::from_fn(|| self.waiting.pop_first());
        next.take(count).map(|(_, next)| next).collect()
    }

    fn all_of(&mut self, holder: Holder) -> Vec<Waiting> {
        let waiting = self.waiting.iter();
        let its = waiting.filter(|(_, waiting)| waiting.holder == holder);
        let tickets: Vec<u64> = its.map(|(ticket, _)| *ticket).collect();
        let its = tickets
            .iter()
            .filter_map(|ticket| self.waiting.remove(ticket));
        its.collect()
    }
}

/// Where the session of one connection says how much it keeps of what its client sent: messages that wait or are at work. What that is
/// counts with that of all connections, for [`max_unhandled_bytes`](crate::ConnectionLimits::max_unhandled_bytes).
///
/// One that belongs to no connection, as that of a [`ConnectInfo`](crate::ConnectInfo) which nobody was let in by, counts nothing.
#[derive(Clone, Default)]
pub struct Unhandled(Option<One>);

struct One {
    all: Arc<All>,
    holder: Holder,
    /// Its number among those that wait; 0 if it does not.
    ticket: AtomicU64,
}

impl Unhandled {
    /// The session kept so many bytes, and keeps so many now. Of several such changes at a time each has to begin where another ends, as those of an
    /// atomic do. Costs nothing while both are below 64 KiB.
    pub fn change(&self, before: usize, now: usize) {
        let Some(one) = &self.0 else { return };
        let more = Steps::of(now).0 - Steps::of(before).0;
        if more != 0 {
            let next = one.all.change(one.holder, more);
            next.into_iter().for_each(|next| next.connection.wake());
        }
    }

    /// Whether a session that keeps so many bytes can be given more; else the task is woken when that may be so because of what others did. Not for
    /// what it did itself: whoever calls this sees to that.
    pub fn poll_room(&self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let Some(one) = &self.0 else {
            return Poll::Ready(());
        };
        if bytes < STEP_BYTES || !one.all.is_too_much() {
            one.leave();
            return Poll::Ready(());
        }
        one.poll_room(cx)
    }

    /// Whether it waits for room.
    pub fn is_waiting(&self) -> bool {
        let one = self.0.as_ref();
        one.is_some_and(|one| one.ticket.load(Ordering::Relaxed) != 0)
    }
}

impl One {
    fn new(all: Arc<All>, holder: Holder) -> Self {
        Self {
            all,
            holder,
            ticket: AtomicU64::new(0),
        }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let most = self.all.most.unwrap_or(usize::MAX);
        let mut state = self.all.state();
        if !state.is_over(self.holder, most) {
            drop(state);
            self.leave();
            return Poll::Ready(());
        }
        let ticket = self.ticket.load(Ordering::Relaxed);
        let is_new = ticket == 0;
        let ticket = match is_new {
            true => {
                state.next += 1;
                state.next
            }
            false => ticket,
        };
        let waiting = Waiting {
            holder: self.holder,
            connection: cx.waker().clone(),
        };
        let old = state.waiting.insert(ticket, waiting);
        drop(state);
        drop(old);
        self.ticket.store(ticket, Ordering::Relaxed);
        if is_new {
            self.all.tell();
        }
        Poll::Pending
    }

    /// It waits no longer.
    fn leave(&self) {
        if self.ticket.load(Ordering::Relaxed) == 0 {
            return;
        }
        let ticket = self.ticket.swap(0, Ordering::Relaxed);
        let waiting = self.all.state().waiting.remove(&ticket);
        drop(waiting);
    }
}

/// It waits by itself.
impl Clone for One {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.all), self.holder)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unhandled")
            .field("is_waiting", &self.is_waiting())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::connections::census::Address;

    const MOST: usize = 100 * STEP_BYTES;

    fn address(n: u8) -> Holder {
        let peer = ([192, 0, 2, n], 80).into();
        Holder::Address(Address::of(peer).expect("no loopback"))
    }

    fn all() -> Arc<All> {
        All::new(Some(MOST), &Arc::default())
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One connection, and what it keeps.
    struct Kept {
        unhandled: Unhandled,
        bytes: usize,
        woken: Arc<Woken>,
    }

    impl Kept {
        fn new(all: &Arc<All>, holder: Holder, steps: usize) -> Self {
            let mut kept = Self {
                unhandled: all.begin(holder),
                bytes: 0,
                woken: Arc::default(),
            };
            kept.keep(steps);
            kept
        }

        fn keep(&mut self, steps: usize) {
            let before = std::mem::replace(&mut self.bytes, steps * STEP_BYTES);
            self.unhandled.change(before, self.bytes);
        }

        fn is_read(&self) -> bool {
            let waker = Arc::clone(&self.woken).into();
            let mut cx = Context::from_waker(&waker);
            self.unhandled.poll_room(self.bytes, &mut cx).is_ready()
        }

        fn woken(&self) -> usize {
            self.woken.0.swap(0, Ordering::Relaxed)
        }
    }

    #[test]
    fn an_address_that_has_much_waits_and_others_do_not() {
        let all = all();
        let mut flood = [90, 12].map(|steps| Kept::new(&all, address(1), steps));
        let small = Kept::new(&all, address(1), 0);
        let other = Kept::new(&all, address(2), 10);
        assert_eq!(flood.each_ref().map(Kept::is_read), [false; 2]);
        assert!(small.is_read() && other.is_read());
        flood[0].keep(78);
        assert_eq!(
            flood.each_ref().map(Kept::woken),
            [1, 0],
            "one step is free, and this"
        );
        assert!(flood[0].is_read() && flood[1].is_read());
        assert_eq!(all.counters.paused_unhandled.get(), 2);
    }

    #[test]
    fn where_addresses_say_nothing_each_connection_counts_for_itself() {
        let all = all();
        let flood = Kept::new(&all, Holder::Connection(1), 95);
        let other = Kept::new(&all, Holder::Connection(2), 10);
        assert!(!flood.is_read() && other.is_read());
    }

    #[test]
    fn who_waits_is_woken_as_there_is_room_the_longest_first() {
        let all = all();
        let mut first = Kept::new(&all, address(0), 60);
        let waiting: Vec<_> = (0..60).map(|_| Kept::new(&all, address(0), 1)).collect();
        assert!(!first.is_read() && !waiting.iter().any(Kept::is_read));
        let woken = |waiting: &[Kept]| waiting.iter().map(Kept::woken).collect::<Vec<_>>();
        first.keep(37);
        let now = woken(&waiting);
        assert_eq!((now[..3].iter().sum::<usize>(), now.iter().sum()), (3, 3));
        assert_eq!(first.woken(), 1);
        first.keep(0);
        assert_eq!(
            woken(&waiting).iter().sum::<usize>(),
            41,
            "as many as are free"
        );
        drop(waiting);
        assert_eq!(all.state().waiting.len(), 0);
        let mut rest = Kept::new(&all, address(0), 101);
        rest.keep(0);
        assert_eq!(
            all.state().holders,
            HashMap::from([(address(0), Steps(60))])
        );
    }

    #[test]
    fn a_holder_that_has_not_much_any_more_is_read_though_others_have() {
        let all = all();
        let _others = Kept::new(&all, address(1), 101);
        let mut much = Kept::new(&all, address(2), 40);
        let beside = Kept::new(&all, address(2), 2);
        assert!(!beside.is_read());
        much.keep(20);
        assert_eq!(beside.woken(), 1);
        assert!(beside.is_read());
    }

    #[test]
    fn changes_that_cross_are_told_in_any_order() {
        let all = all();
        let kept = all.begin(address(1));
        kept.change(STEP_BYTES, 0);
        assert_eq!(all.state().steps.bytes(), 0);
        kept.change(0, STEP_BYTES);
        let state = all.state();
        assert_eq!((state.steps, state.holders.len()), (Steps(0), 0));
    }

    #[test]
    fn without_a_bound_or_a_connection_all_are_read() {
        let all = All::new(None, &Arc::default());
        assert!(Kept::new(&all, address(1), 1_000_000).is_read());
        let unhandled = Unhandled::default();
        unhandled.change(0, usize::MAX);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(unhandled.poll_room(usize::MAX, &mut cx).is_ready());
    }
}
