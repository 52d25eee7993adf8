//! The mailbox of one connection: frames to write, mail for the session, the order to close.
//!
//! It differs from the mailboxes of the pubsub in that each frame says what becomes of it when its reader is slow, and in
//! that a few large frames do not make a reader slow.

#[path = "outbox/counted.rs"]
mod counted;
#[path = "outbox/held.rs"]
mod held;
#[path = "outbox/owners.rs"]
mod owners;
#[path = "outbox/queue.rs"]
mod queue;
#[path = "outbox/reader.rs"]
mod reader;
#[path = "outbox/run.rs"]
mod run;
#[path = "outbox/slot.rs"]
mod slot;
#[path = "outbox/urgent.rs"]
mod urgent;

use std::{
    fmt,
    future::poll_fn,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use matryoshka_pubsub::{mailbox::Pushed, registry::OwnerId};

use super::{
    close::Close,
    frame::Frame,
    limits::Limits,
    stats::Counters,
    sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering},
};
use held::Mark;
use owners::Owners;
use queue::{LetGo, Placed, Queue, is_large};
use reader::Reader;
use urgent::Urgent;

pub(crate) use held::{Held, Large, STEP_BYTES};
pub(crate) use queue::{Bound, Item};
pub use queue::{LARGE_FRAME_BYTES, Waiting, WhenSlow};
pub use run::SharedFrame;

/// The way to one connection from anywhere: cheap to clone, never blocks, keeps order.
///
/// It is bounded by [`Limits`]. A client that reads so slowly that the bound is reached loses its connection with 1008,
/// together with all that waited for it, unless what comes may be dropped ([`WhenSlow`]); nobody else notices. After the
/// connection has ended everything put here is dropped.
pub struct Outbox<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Outbox<M> {
    /// Puts a frame, which is written as it is, without waking the session. It arrives, or the connection is closed.
    pub fn frame(&self, frame: Frame) -> Pushed {
        self.frame_when_slow(frame, WhenSlow::Close)
    }

    /// Puts a frame if there is [room](Self::room) for it, else gives it back. Of many that wait for room at the same time each so looks and puts in one
    /// step, and they do not fill the outbox together.
    ///
    /// # Errors
    /// The frame, where half of the bound waits already. Nothing was put.
    pub fn frame_if_room(&self, frame: Frame) -> Result<Pushed, Frame> {
        let state = self.shared.lock();
        if state.lacks_room(&self.shared.bound) {
            return Err(frame);
        }
        let bytes = frame.len();
        Ok(self.push_to(state, Item::Frame(frame), bytes, WhenSlow::Close))
    }

    /// As [`frame_if_room`](Self::frame_if_room), for a mail that holds so many bytes.
    ///
    /// # Errors
    /// The mail, where half of the bound waits already. Nothing was put.
    pub fn mail_if_room(&self, mail: M, bytes: usize) -> Result<Pushed, M> {
        let state = self.shared.lock();
        if state.lacks_room(&self.shared.bound) {
            return Err(mail);
        }
        Ok(self.push_to(state, Item::Mail(mail), bytes, WhenSlow::Close))
    }

    /// Puts a frame that says what becomes of it when its reader is slow.
    pub fn frame_when_slow(&self, frame: Frame, when_slow: WhenSlow) -> Pushed {
        let bytes = frame.len();
        self.push(Item::Frame(frame), bytes, when_slow)
    }

    /// As [`frame_when_slow`](Self::frame_when_slow), for one frame that goes to many connections: those whose clients read nothing
    /// at the moment hold it together, which costs each little time and less memory. One that is larger than the connection's carrier can
    /// write passes it over: somebody else's message is no reason to end it.
    pub fn shared_frame(&self, shared: &mut SharedFrame, when_slow: WhenSlow) -> Pushed {
        if shared.frame().len() > self.shared.bound.largest as usize {
            self.shared.counters.frames_unwritable.add_one();
            return Pushed::Dropped;
        }
        let mut state = self.shared.lock();
        let bytes = shared.frame().len();
        if self.shared.is_closed() || !self.shared.is_blocked() || is_large(bytes) {
            let frame = shared.frame().clone();
            return self.push_to(state, Item::Frame(frame), bytes, when_slow);
        }
        // It may wait for long, and in many outboxes.
        if !shared.is_counted() {
            shared.count(&self.shared.counters.broadcast_bytes);
        }
        if let Some(is_news) = state.queue.follow(shared, when_slow, &self.shared.bound) {
            let reader = is_news.then(|| self.shared.called(&mut state)).flatten();
            drop(state);
            reader.into_iter().for_each(Waker::wake);
            return Pushed::Queued;
        }
        let before = state.queue.mark();
        let (placed, let_go) = state
            .queue
            .push_shared(shared, when_slow, &self.shared.bound);
        self.pushed(state, before, false, placed, let_go)
    }

    /// Puts a mail for [`Session::handle_mail`](crate::Session::handle_mail). It counts as one item without bytes.
    pub fn mail(&self, mail: M) -> Pushed {
        self.mail_of(mail, 0)
    }

    /// As [`mail`](Self::mail), for a mail that holds so many bytes; they count as those of frames do.
    pub fn mail_of(&self, mail: M, bytes: usize) -> Pushed {
        self.push(Item::Mail(mail), bytes, WhenSlow::Close)
    }

    /// As [`mail_of`](Self::mail_of), for a mail that waits for no frame: it overtakes all that waits here but others of its kind, and
    /// reaches the session also while the client reads nothing. So a client cannot put off what is decided about it. What the session
    /// answers to it waits with its other answers, and should be nothing: where more than
    /// [`OUTPUT_PAUSE_BYTES`](crate::OUTPUT_PAUSE_BYTES) of them wait already, an answer closes the connection as that of a slow reader.
    pub fn urgent_mail_of(&self, mail: M, bytes: usize) -> Pushed {
        let mut state = self.shared.lock();
        if state.end != End::Open {
            return Pushed::Closed;
        }
        let bound = &self.shared.bound;
        if state.queue.is_full(bound) || !state.rare().urgent.has_room(bound) {
            drop(self.overflow(state));
            return Pushed::Dropped;
        }
        state.rare().urgent.push(mail, bytes);
        let reader = state.reader.called();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Pushed::Queued
    }

    /// Orders the connection to close after everything that was put here before; what comes later is dropped. The
    /// client is sent the close's code; the session is told by [`CloseReason::Closed`](crate::CloseReason::Closed).
    ///
    /// A client that does not read cannot delay it: the session is told all the same, and what the client has not
    /// taken within [`close_timeout`](Limits::close_timeout) is lost to it.
    pub fn close(&self, close: Close) -> Pushed {
        let mut state = self.shared.lock();
        if state.end != End::Open {
            return Pushed::Closed;
        }
        // However full it is: this order makes it empty.
        state.queue.append(Item::Close(close));
        self.shared.end(&mut state, End::Closed);
        wake_all(state);
        Pushed::Queued
    }

    /// From now on this owner ends with the connection, until [`remove_owner`](Self::remove_owner): a drain names it before it closes
    /// the connection ([`Connections::drain_after`](crate::Connections::drain_after)).
    pub fn add_owner(&self, owner: OwnerId) {
        self.shared.lock().owners.add(owner);
    }

    /// That owner has ended. One that was not added changes nothing.
    pub fn remove_owner(&self, owner: OwnerId) {
        self.shared.lock().owners.remove(owner);
    }

    /// What waits here.
    pub(crate) fn waiting(&self) -> Waiting {
        self.shared.lock().queue.waiting()
    }

    /// The owners that end with the connection, added to those that are there.
    pub(crate) fn name_owners(&self, to: &mut Vec<OwnerId>) {
        to.extend(self.shared.lock().owners.as_slice());
    }

    /// Whether the connection has ended, or was ordered to. A look at an atomic.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Ready while less than half of the bound waits, or the connection has ended; else the task is woken when that may be
    /// so. For whoever can wait, so that a client which keeps reading is not closed for what it asked for.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if !state.lacks_room(&self.shared.bound) {
            return Poll::Ready(());
        }
        let waiting = &mut state.rare().waiting;
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until less than half of the bound waits, or the connection has ended.
    ///
    /// # Cancel safety
    /// Nothing is reserved, so nothing is lost.
    pub async fn room(&self) {
        poll_fn(|cx| self.poll_room(cx)).await;
    }

    fn push(&self, item: Item<M>, bytes: usize, when_slow: WhenSlow) -> Pushed {
        self.push_to(self.shared.lock(), item, bytes, when_slow)
    }

    fn push_to(
        &self,
        mut state: MutexGuard<'_, State<M>>,
        item: Item<M>,
        bytes: usize,
        when_slow: WhenSlow,
    ) -> Pushed {
        if state.end != End::Open {
            return Pushed::Closed;
        }
        let before = state.queue.mark();
        let (placed, let_go) = state.queue.push(item, bytes, when_slow, &self.shared.bound);
        self.pushed(state, before, is_large(bytes), placed, let_go)
    }

    /// Tells whoever has to know where something was placed, of which there was so much before.
    fn pushed(
        &self,
        mut state: MutexGuard<'_, State<M>>,
        before: Mark,
        is_large: bool,
        placed: Placed,
        let_go: LetGo<M>,
    ) -> Pushed {
        let is_other_large = is_large || before.large_bytes > 0 && placed != Placed::Last;
        let is_news = is_other_large || state.queue.mark() != before;
        let reader = match placed {
            Placed::TooMuch => None,
            _ if is_news => self.shared.called(&mut state),
            Placed::Last => state.reader.pushed(),
            Placed::InPlaceOfOlder | Placed::Nowhere => None,
        };
        let rest = match placed {
            Placed::Last => {
                drop(state);
                reader.into_iter().for_each(Waker::wake);
                return Pushed::Queued;
            }
            Placed::InPlaceOfOlder => {
                drop(state);
                reader.into_iter().for_each(Waker::wake);
                if let_go.older.is_some() {
                    self.shared.counters.frames_replaced.add_one();
                }
                drop(let_go);
                return Pushed::Queued;
            }
            Placed::Nowhere => {
                drop(state);
                reader.into_iter().for_each(Waker::wake);
                let dropped = 1 + u64::from(let_go.older.is_some());
                self.shared.counters.frames_dropped.add(dropped);
                drop(let_go);
                return Pushed::Dropped;
            }
            // Mails are the user's: they are not dropped under the lock.
            Placed::TooMuch => self.overflow(state),
        };
        drop((rest, let_go));
        Pushed::Dropped
    }

    /// The reader is too slow. Gives back all that waited for it.
    fn overflow(&self, mut state: MutexGuard<'_, State<M>>) -> Queue<M> {
        self.shared.end(&mut state, End::Overflowed);
        let queue = std::mem::take(&mut state.queue);
        wake_all(state);
        queue
    }
}

impl<M> Clone for Outbox<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M> fmt::Debug for Outbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

/// What a fan-out touches where the client takes nothing stands first, and in one line of the processor's memory, as in [`State`] and
/// [`Queue`]: it may come by thousands of such outboxes, none of which is in its near memory.
#[repr(C, align(64))]
struct Shared<M> {
    bound: Bound,
    /// Whether the end is another than [`End::Open`]. Set under the lock, as the other two are; read without it by those who only look.
    is_closed: AtomicBool,
    /// Whether so much waits that the connection's task counts it.
    has_much: AtomicBool,
    /// Whether the [reader](State::reader) waits for its client.
    is_blocked: AtomicBool,
    state: Mutex<State<M>>,
    counters: Arc<Counters>,
}

#[repr(C)]
struct State<M> {
    queue: Queue<M>,
    /// How often that has changed.
    changes: u32,
    end: End,
    /// The connection's task.
    reader: Reader<Waker>,
    rare: Option<Box<Rare<M>>>,
    owners: Owners,
}

/// What few outboxes ever have: hence the box.
struct Rare<M> {
    /// Tasks that wait for room, each once.
    waiting: Vec<Waker>,
    urgent: Urgent<M>,
}

impl<M> Rare<M> {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.urgent.is_empty()
    }
}

impl<M> State<M> {
    /// Whether whoever can wait should. Once it has come to its end nothing is to be waited for.
    fn lacks_room(&self, bound: &Bound) -> bool {
        self.end == End::Open && self.queue.is_half_full(bound)
    }

    fn rare(&mut self) -> &mut Rare<M> {
        self.rare.get_or_insert_with(|| {
            Box::new(Rare {
                waiting: Vec::new(),
                urgent: Urgent::default(),
            })
        })
    }

    fn take_waiting(&mut self) -> Vec<Waker> {
        let waiting = self
            .rare
            .as_mut()
            .map(|rare| std::mem::take(&mut rare.waiting));
        self.tidy_rare();
        waiting.unwrap_or_default()
    }

    fn next_urgent(&mut self) -> Option<M> {
        let mail = self.rare.as_mut()?.urgent.next()?;
        self.tidy_rare();
        Some(mail)
    }

    fn tidy_rare(&mut self) {
        if self.rare.as_deref().is_some_and(Rare::is_empty) {
            self.rare = None;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The order to close is the last thing inside.
    Closed,
    /// There was too much for a slow reader, and it was let go.
    Overflowed,
    /// Nobody reads any more.
    Gone,
}

impl<M> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // Nothing inside calls foreign code, so a poisoned lock guards sound data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`note_much`](Self::note_much); whom to wake for it. Also the task of a client that takes nothing: it counts what is much.
    #[must_use = "the task has to be woken"]
    fn called(&self, state: &mut State<M>) -> Option<Waker> {
        self.note_much(state);
        state.reader.called()
    }

    /// What the connection's task counts of what waits has changed.
    fn note_much(&self, state: &mut State<M>) {
        state.changes = state.changes.wrapping_add(1);
        let has_much = state.queue.mark().is_much();
        self.has_much.store(has_much, Ordering::Release);
    }

    /// It is open no longer, and never again.
    fn end(&self, state: &mut State<M>, end: End) {
        state.end = end;
        self.is_closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The task waits for something else than before.
    fn note_blocked(&self, state: &State<M>) {
        let is_blocked = state.reader.is_blocked();
        self.is_blocked.store(is_blocked, Ordering::Release);
    }

    fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Acquire)
    }
}

/// Tells everybody that the end has changed.
fn wake_all<M>(mut state: MutexGuard<'_, State<M>>) {
    let reader = state.reader.ended();
    let waiting = state.take_waiting();
    drop(state);
    reader.into_iter().chain(waiting).for_each(Waker::wake);
}

/// The receiving side, held by the connection's task.
pub(crate) struct Inbox<M> {
    shared: Arc<Shared<M>>,
}

/// The reader was too slow.
pub(crate) struct Overflowed;

impl<M> Inbox<M> {
    /// The next item. The last task that polled is woken when there is one.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Item<M>, Overflowed>> {
        let mut state = self.shared.lock();
        if let Some(mail) = state.next_urgent() {
            return Poll::Ready(Ok(Item::Mail(mail)));
        }
        let before = state.queue.mark();
        let next = state.queue.next();
        if state.queue.mark() != before {
            self.shared.note_much(&mut state);
        }
        let Some(item) = next else {
            if state.end == End::Overflowed {
                return Poll::Ready(Err(Overflowed));
            }
            // It mostly is the same one, and a clone would cost more than all else in here.
            if state.reader.waits_by(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            let old = state.reader.wait(cx.waker().clone());
            self.shared.note_blocked(&state);
            drop(state);
            drop(old);
            return Poll::Pending;
        };
        if state.rare.is_some() && !state.queue.is_half_full(&self.shared.bound) {
            let waiting = state.take_waiting();
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(item))
    }

    /// The next mail that waits for no frame, for while the client takes nothing. Pending, it says that the task will be woken when the
    /// client does: until it looks for the next item again, it is woken here only for such a mail, and when the outbox has come
    /// to its end, by a close or by an overflow.
    pub(crate) fn poll_urgent(&mut self, cx: &mut Context<'_>) -> Poll<Result<M, Overflowed>> {
        let mut state = self.shared.lock();
        if state.end == End::Overflowed {
            return Poll::Ready(Err(Overflowed));
        }
        if let Some(mail) = state.next_urgent() {
            return Poll::Ready(Ok(mail));
        }
        let old = state.reader.block(cx.waker().clone());
        self.shared.note_blocked(&state);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Whether so much waits that it counts where all connections count together.
    pub(crate) fn has_much(&self) -> bool {
        self.shared.has_much.load(Ordering::Acquire)
    }

    /// What waits, unless it is as much as when `known` was set here.
    pub(crate) fn held(&self, known: &mut Option<u32>) -> Option<Held> {
        let state = self.shared.lock();
        let is_new = *known != Some(state.changes);
        *known = Some(state.changes);
        is_new.then(|| state.queue.held())
    }

    /// Gives back the memory that an empty outbox has kept for what comes next.
    pub(crate) fn release(&mut self) {
        self.shared.lock().queue.release();
    }

    /// Whether the order to close is inside.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        self.shared.end(&mut state, End::Gone);
        let let_go = std::mem::take(&mut state.queue);
        let urgent = state
            .rare
            .as_mut()
            .map(|rare| std::mem::take(&mut rare.urgent));
        wake_all(state);
        drop((let_go, urgent));
    }
}

/// A new mailbox with the bound of one connection, whose carrier writes frames up to that size.
pub(crate) fn outbox<M>(
    limits: &Limits,
    largest_frame: usize,
    counters: &Arc<Counters>,
) -> (Outbox<M>, Inbox<M>) {
    let shared = Arc::new(Shared {
        bound: Bound::of(limits, largest_frame),
        is_closed: AtomicBool::new(false),
        has_much: AtomicBool::new(false),
        is_blocked: AtomicBool::new(false),
        state: Mutex::new(State {
            queue: Queue::default(),
            changes: 0,
            end: End::Open,
            reader: Reader::Awake,
            rare: None,
            owners: Owners::default(),
        }),
        counters: Arc::clone(counters),
    });
    let outbox = Outbox {
        shared: Arc::clone(&shared),
    };
    (outbox, Inbox { shared })
}

/// Every idle connection pays for it, and a fan-out for each line of it. (Under test this file is also compiled with a model's larger locks.)
#[cfg(all(target_pointer_width = "64", not(test)))]
const _: () = {
    assert!(size_of::<Shared<Box<()>>>() <= 192);
    let queue = std::mem::offset_of!(Shared<Box<()>>, state) + 8;
    assert!(queue + Queue::<Box<()>>::COLD_FROM <= 64);
};
