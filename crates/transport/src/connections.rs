//! Every open connection of a service: how many there are and may be, and how to close them.

pub(crate) mod census;
mod shares;
mod unfinished;
mod unhandled;
mod unread;

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    net::SocketAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use matryoshka_pubsub::registry::OwnerId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    close::Close,
    limits::ConnectionLimits,
    log_limit::{BreachLines, RefusalLines},
    outbox::{Outbox, Waiting},
    pace::Pace,
    stats::{Counters, Stats},
};
use census::{Address, Census};
use shares::Holder;
pub(crate) use unfinished::LargeMessage;
use unfinished::Unfinished;
pub use unhandled::Unhandled;
use unread::Unread;
pub(crate) use unread::UnreadShare;

/// The connections of one service, or of all that were given clones of it. Clones share the same set.
///
/// A connection counts from before its session is asked for until its task has ended, closing handshake included.
#[derive(Clone)]
pub struct Connections {
    shared: Arc<Shared>,
}

struct Shared {
    limits: ConnectionLimits,
    counters: Arc<Counters>,
    breach_lines: BreachLines,
    unfinished: Arc<Unfinished>,
    unread: Arc<Unread>,
    unhandled: Arc<unhandled::All>,
    refusal_lines: RefusalLines,
    state: Mutex<State>,
    gone: Notify,
    /// None is still to be told to close.
    drained: Notify,
}

#[derive(Default)]
struct State {
    count: usize,
    /// Requests that are waited for as connections are.
    requests: usize,
    addresses: Census<Address>,
    users: Census<Arc<str>>,
    next: u64,
    /// How to reach those that have not been told to close.
    open: HashMap<u64, Box<dyn Closer>>,
    /// Those of them whose turn in a drain is still to come, the oldest first.
    leaving: VecDeque<Box<dyn Closer>>,
    /// Set for ever: new ones are refused.
    closing: bool,
    /// What all were told at last, also those whose turn in a drain it was just then.
    closed: Option<Close>,
}

impl Default for Connections {
    fn default() -> Self {
        Self::with_limits(ConnectionLimits::default())
    }
}

impl Connections {
    /// An empty set, with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set with these limits.
    pub fn with_limits(limits: ConnectionLimits) -> Self {
        let counters = Arc::<Counters>::default();
        let shared = Shared {
            unfinished: Unfinished::new(limits.max_unfinished_bytes),
            unread: Unread::new(limits.max_unread_bytes, &counters.broadcast_bytes),
            unhandled: unhandled::All::new(limits.max_unhandled_bytes, &counters),
            limits,
            counters,
            breach_lines: BreachLines::default(),
            refusal_lines: RefusalLines::default(),
            state: Mutex::default(),
            gone: Notify::default(),
            drained: Notify::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// How many there may be.
    pub fn limits(&self) -> &ConnectionLimits {
        &self.shared.limits
    }

    /// What they have done so far.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot(self.count())
    }

    /// What waits in the outboxes of all connections that have not been told to close: how many things, and their bytes. It asks each of them
    /// in turn, some tens of nanoseconds each, and nobody can connect meanwhile: for a look now and then, not for each message.
    pub fn waiting(&self) -> Waiting {
        let state = self.state();
        let all = state.open.values().chain(&state.leaving);
        let all = all.map(|open| open.waiting());
        all.fold(Waiting::default(), |sum, one| Waiting {
            items: sum.items + one.items,
            bytes: sum.bytes + one.bytes,
        })
    }

    /// How many connections there are now.
    pub fn count(&self) -> usize {
        self.state().count
    }

    /// Refuses new connections from now on, with 503. Those that are open stay.
    pub fn refuse(&self) {
        let mut state = self.state();
        state.begin_to_close();
        self.check_drained(state);
    }

    /// Whether new connections are refused: after [`refuse`](Self::refuse), [`drain`](Self::drain) or
    /// [`close_all`](Self::close_all).
    pub fn is_closing(&self) -> bool {
        self.state().closing
    }

    /// Tells every connection to close, and refuses new ones from now on. What waits in a connection's outbox is
    /// written first. Does not wait; see [`closed`](Self::closed). Later calls change nothing. Those for which a drain waits just then
    /// ([`drain_after`](Self::drain_after)) are told when that is over or given up.
    pub fn close_all(&self, close: Close) {
        let open = {
            let mut state = self.state();
            state.begin_to_close();
            state.closed.get_or_insert_with(|| close.clone());
            let open = mem::take(&mut state.leaving);
            self.check_drained(state);
            open
        };
        // Outside the lock: an outbox that overflows drops what waits in it, and that is user code.
        for closer in &open {
            closer.close(close.clone());
        }
    }

    /// Refuses new connections from now on, and tells those that are open to close, so many a second, the oldest first:
    /// so their clients come back spread out. Returns when each was told; see [`closed`](Self::closed) for their ends.
    /// Several at a time share the work.
    ///
    /// # Cancel safety
    /// Dropped, those that were not told stay open until [`close_all`](Self::close_all) or another drain.
    pub async fn drain(&self, close: Close, per_second: NonZeroU32) {
        self.drain_after(close, per_second, async |_| {}).await;
    }

    /// As [`drain`](Self::drain), and before connections are told to close, `before` is given the owners that end with them
    /// ([`Outbox::add_owner`]), and waited for. Those whose turn comes meanwhile are the next ones, together, so that the rate is kept.
    ///
    /// # Cancel safety
    /// As [`drain`](Self::drain): those are still open for which `before` was waited.
    pub async fn drain_after(
        &self,
        close: Close,
        per_second: NonZeroU32,
        mut before: impl AsyncFnMut(Vec<OwnerId>),
    ) {
        self.state().begin_to_close();
        let mut pace = Pace::new(per_second, Instant::now().into_std());
        loop {
            let due = pace.take(Instant::now().into_std());
            let turn = self.next_to_leave(due);
            if turn.leaving.is_empty() {
                return;
            }
            before(turn.owners()).await;
            turn.close(&close);
            sleep_until(Instant::from_std(pace.next())).await;
        }
    }

    /// So many connections of a drain that have not gone by themselves; fewer, if there are no more.
    fn next_to_leave(&self, count: u128) -> Turn<'_> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut state = self.state();
        let leaving = std::iter::from_fn(|| state.next_to_leave());
        let leaving = leaving.take(count).collect();
        self.check_drained(state);
        Turn {
            connections: self,
            leaving,
        }
    }

    /// Waits until no connection is left. Unless they are refused, new ones may come at any time. Posts of long polling are waited for as well
    /// that are under way to a session of another node, unless they came when all connections had been told to close.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn closed(&self) {
        loop {
            let gone = self.shared.gone.notified();
            if self.state().is_empty() {
                return;
            }
            gone.await;
        }
    }

    /// A request is under way that ends by itself, in its own time: until what is returned is dropped, [`closed`](Self::closed) waits. There is no
    /// waiting for what comes once all have been told to close, or a service that is asked on and on would never end.
    pub(crate) fn begin_request(&self) -> Option<UnderWay> {
        let mut state = self.state();
        if state.is_drained() {
            return None;
        }
        state.requests += 1;
        Some(UnderWay(Arc::clone(&self.shared)))
    }

    /// Waits until new ones are refused and none is left whose turn in a drain is still to come: what runs the service will soon end it.
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.shared.drained.notified();
            if self.state().is_drained() {
                return;
            }
            drained.await;
        }
    }

    fn check_drained(&self, state: MutexGuard<'_, State>) {
        let is_drained = state.is_drained();
        drop(state);
        if is_drained {
            self.shared.drained.notify_waiters();
        }
    }

    /// Counts a connection in, reachable through its outbox.
    pub(crate) fn enter<M: Send + 'static>(
        &self,
        outbox: &Outbox<M>,
        peer: Option<SocketAddr>,
    ) -> Result<Entered, NoRoom> {
        let limits = &self.shared.limits;
        let address = peer.and_then(Address::of);
        let mut state = self.state();
        if state.closing {
            return Err(NoRoom::Closing);
        }
        if limits
            .max_connections
            .is_some_and(|most| state.count >= most)
        {
            return Err(NoRoom::Full);
        }
        if let Some(address) = address
            && !state.addresses.enter(address, limits.max_per_address)
        {
            return Err(NoRoom::Address);
        }
        let id = state.next;
        state.next += 1;
        state.count += 1;
        state.open.insert(id, Box::new(outbox.clone()));
        drop(state);
        Ok(Entered {
            shared: Arc::clone(&self.shared),
            id,
            address,
            user: None,
        })
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Limits what is said of clients who get no session.
    pub(crate) fn refusal_lines(&self) -> &RefusalLines {
        &self.shared.refusal_lines
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

/// The connections whose turn has come in a drain. If that is given up before they were told, their turn is still to come.
struct Turn<'a> {
    connections: &'a Connections,
    leaving: VecDeque<Box<dyn Closer>>,
}

impl Turn<'_> {
    fn owners(&self) -> Vec<OwnerId> {
        let mut owners = Vec::new();
        for closer in &self.leaving {
            closer.name_owners(&mut owners);
        }
        owners
    }

    fn close(mut self, close: &Close) {
        let told = self.connections.state().closed.clone();
        self.tell(told.as_ref().unwrap_or(close));
    }

    fn tell(&mut self, close: &Close) {
        while let Some(closer) = self.leaving.pop_front() {
            closer.close(close.clone());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        let mut state = self.connections.state();
        if let Some(close) = state.closed.clone() {
            drop(state);
            return self.tell(&close);
        }
        while let Some(closer) = self.leaving.pop_back() {
            state.leaving.push_front(closer);
        }
    }
}

impl State {
    fn begin_to_close(&mut self) {
        self.closing = true;
        let mut open: Vec<_> = mem::take(&mut self.open).into_iter().collect();
        open.sort_unstable_by_key(|&(id, _)| id);
        self.leaving
            .extend(open.into_iter().map(|(_, closer)| closer));
    }

    /// Whether nothing is left to wait for.
    fn is_empty(&self) -> bool {
        self.count == 0 && self.requests == 0
    }

    /// Whether new ones are refused, and all others have been told to close or have gone.
    fn is_drained(&self) -> bool {
        self.closing && self.leaving.is_empty()
    }

    /// The next connection of a drain that has not gone by itself.
    fn next_to_leave(&mut self) -> Option<Box<dyn Closer>> {
        loop {
            let next = self.leaving.pop_front()?;
            if !next.is_closed() {
                return Some(next);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("count", &self.count())
            .finish()
    }
}

/// A request that is waited for; dropped, it is over.
#[must_use]
pub(crate) struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests -= 1;
        let is_empty = state.is_empty();
        drop(state);
        if is_empty {
            self.0.gone.notify_waiters();
        }
    }
}

/// One counted connection; dropping it counts it out.
#[must_use]
pub(crate) struct Entered {
    shared: Arc<Shared>,
    id: u64,
    address: Option<Address>,
    user: Option<Arc<str>>,
}

impl Entered {
    /// Says whose connection it is.
    pub(crate) fn belong_to(&mut self, user: &str) -> Result<(), NoRoom> {
        let most = self.shared.limits.max_per_user;
        let user: Arc<str> = user.into();
        if !self.shared.lock().users.enter(Arc::clone(&user), most) {
            return Err(NoRoom::User);
        }
        self.user = Some(user);
        Ok(())
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// A message of it has just become large, and is not whole.
    pub(crate) fn begin_large(&self, connection: &Waker) -> LargeMessage {
        self.shared.unfinished.begin(self.holder(), connection)
    }

    /// Much waits for its client from now on.
    pub(crate) fn begin_unread(&self, connection: &Waker) -> UnreadShare {
        self.shared.unread.begin(self.holder(), connection)
    }

    /// Where its session says what it keeps.
    pub(crate) fn unhandled(&self) -> Unhandled {
        self.shared.unhandled.begin(self.holder())
    }

    fn holder(&self) -> Holder {
        match self.address {
            Some(address) => Holder::Address(address),
            None => Holder::Connection(self.id),
        }
    }

    /// Limits what is said of this and the other connections.
    pub(crate) fn breach_lines(&self) -> &BreachLines {
        &self.shared.breach_lines
    }

    /// Whose connection it is, if its session said so.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Where its client is, as far as it is counted by that.
    pub(crate) fn address(&self) -> Option<Address> {
        self.address
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let (is_empty, closer) = {
            let mut state = self.shared.lock();
            state.count -= 1;
            if let Some(address) = &self.address {
                state.addresses.leave(address);
            }
            if let Some(user) = &self.user {
                state.users.leave(user);
            }
            (state.is_empty(), state.open.remove(&self.id))
        };
        drop(closer);
        if is_empty {
            self.shared.gone.notify_waiters();
        }
    }
}

/// Why a connection is not counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The service takes no new connections.
    Closing,
    /// There are as many as there may be.
    Full,
    /// There are as many from this address.
    Address,
    /// There are as many of this user.
    User,
}

/// A connection of whatever session, as far as closing it goes.
trait Closer: Send {
    fn close(&self, close: Close);

    fn is_closed(&self) -> bool;

    fn waiting(&self) -> Waiting;

    fn name_owners(&self, to: &mut Vec<OwnerId>);
}

impl<M: Send + 'static> Closer for Outbox<M> {
    fn close(&self, close: Close) {
        Outbox::close(self, close);
    }

    fn is_closed(&self) -> bool {
        Outbox::is_closed(self)
    }

    fn waiting(&self) -> Waiting {
        Outbox::waiting(self)
    }

    fn name_owners(&self, to: &mut Vec<OwnerId>) {
        Outbox::name_owners(self, to);
    }
}
