//! What waits for a channel, and what its session tells it past that.

mod lines;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::link::Link;
use crate::multiplexer::Request;
use crate::pubsub::Delivery;
use crate::timers::later;
use crate::transport::{LogLimit, WhenSlow};
use crate::{Broadcast, Flow, SendError, Socket, Terminated};
use lines::Lines;
pub(crate) use lines::{Takes, bytes_of};
use matryoshka_transport::excerpt;

/// How much waits for one channel: of its client's, and as much again from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What an inbox entry costs besides what the client or the broadcast brought, in bytes.
pub(crate) const ITEM_BYTES: usize = 64;

/// One entry of a channel's inbox.
pub(crate) enum Item {
    /// From the client.
    Request(Request),
    /// A broadcast on the channel's topic that it intercepts.
    Out(Broadcast),
    /// For `handle_info`.
    Info(Info),
    /// So many messages of topics that the channel has subscribed are missing here.
    Lost(u64),
}

/// A message for `handle_info`, together with the call: the inbox does not know its type. Also what a join has put off.
pub(crate) type Info =
    Box<dyn for<'a> FnOnce(&'a mut (dyn Any + Send), &'a mut Socket) -> BoxFuture<'a, Flow> + Send>;

/// What the two ends share.
struct Shared {
    link: Arc<Link>,
    orders: Orders,
    state: Mutex<State>,
}

struct State {
    lines: Lines,
    /// Bytes of the client's that the channel is not done with though they wait no longer: its join's parameters and the answer to
    /// it, and then the request that it handles.
    in_hand: usize,
    /// The channel's task.
    receiver: Option<Waker>,
    /// It waits for its connection to end, and not for what comes in.
    only_the_end_matters: bool,
    /// The session waits for room.
    is_awaited: bool,
    is_closed: bool,
    /// Boxed, since it comes once.
    over: Option<Box<Over>>,
    /// The session has been told of the channel's end.
    is_told: bool,
}

enum Over {
    /// The connection has ended for the channel.
    Connection {
        reason: Terminated,
        /// From then on nothing of what the channel does is waited for any longer, but its last words.
        deadline: Instant,
    },
    /// The channel itself has, at that moment.
    Channel { at: Instant },
}

/// What is said to a channel past its inbox.
#[derive(Debug, Default)]
struct Orders {
    superseded: AtomicBool,
    leaving: AtomicBool,
    hastened: AtomicBool,
    kicked: AtomicBool,
    /// A broadcast found no room that its client is not to miss without knowing.
    overrun: AtomicBool,
}

/// An inbox for a channel of this connection, whose join brought so many bytes.
pub(crate) fn inbox(link: &Arc<Link>, join_bytes: usize) -> (InboxSender, InboxReceiver) {
    link.waiting.add(join_bytes);
    let shared = Arc::new(Shared {
        link: Arc::clone(link),
        orders: Orders::default(),
        state: Mutex::new(State {
            lines: Lines::default(),
            in_hand: join_bytes,
            receiver: None,
            is_awaited: false,
            is_closed: false,
            only_the_end_matters: false,
            over: None,
            is_told: false,
        }),
    });
    let sender = InboxSender(Arc::clone(&shared));
    (sender, InboxReceiver(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing inside calls foreign code, so a poisoned lock guards sound data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes of the client's are kept no longer.
    fn release(&self, bytes: usize) {
        let limit = self.link.config.waiting_bytes;
        self.link.waiting.release(bytes, limit);
    }

    fn bound(&self) -> Bound {
        self.link.config.inbox()
    }

    /// Has the channel's task woken for what is said past the inbox, and not for what comes in.
    fn wait_for_the_end(&self, cx: &Context<'_>) {
        let old = self.lock().wait(true, cx);
        drop(old);
    }

    fn wake_channel(&self) {
        let receiver = self.lock().receiver.take();
        wake(receiver);
    }

    /// Takes nothing more in, and gives away what is inside.
    fn empty(&self) -> Lines {
        let mut state = self.lock();
        state.is_closed = true;
        let lines = std::mem::take(&mut state.lines);
        let is_awaited = std::mem::take(&mut state.is_awaited);
        let receiver = state.receiver.take();
        drop(state);
        self.release(lines.request_bytes());
        self.link.counters.inbox_out.add(lines.len() as u64);
        if is_awaited {
            self.link.waiting.wake();
        }
        wake(receiver);
        lines
    }
}

fn log_loss(line: &LogLimit, topic: &str, what: &str) {
    if let Some(left_out) = line.pass_now() {
        tracing::warn!(
            topic = excerpt(topic),
            limit = "SocketsConfig::inbox_messages or inbox_bytes",
            left_out,
            "{what}: its inbox is full"
        );
    }
}

fn delivery(added: Result<(), SendError>) -> Delivery {
    match added {
        Ok(()) => Delivery::Delivered,
        Err(SendError::Full) => Delivery::Dropped,
        Err(SendError::Ended) => Delivery::Closed,
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// The way into a channel's inbox. What goes in, and what finds no room, is counted.
#[derive(Clone)]
pub(crate) struct InboxSender(Arc<Shared>);

impl InboxSender {
    /// Puts a request in, or gives it back if there is no room now. A channel that has ended takes it and does nothing.
    pub(crate) fn offer(&self, request: Request) -> Option<Request> {
        let link = &self.0.link;
        let mut state = self.0.lock();
        if state.is_closed {
            return None;
        }
        if state.lines.is_full_of_requests(self.0.bound()) {
            return Some(request);
        }
        link.waiting.add(bytes_of(&request));
        state.lines.add_request(request);
        self.came_in(state);
        None
    }

    /// Ready when there is room for a request, or the inbox is closed; else the session is woken when that may be so.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.is_closed || !state.lines.is_full_of_requests(self.0.bound()) {
            return Poll::Ready(());
        }
        state.is_awaited = true;
        self.0.link.waiting.wait(cx);
        Poll::Pending
    }

    /// Puts a message for `handle_info` in, of which so many bytes count against the bound, or drops it.
    pub(crate) fn send(&self, info: Info, bytes: usize) -> Result<(), SendError> {
        self.add(Item::Info(info), bytes, |_| {})
    }

    /// The same for a message of a subscribed topic. If there is no room, the channel is told so in its place.
    pub(crate) fn heard(&self, item: Item, bytes: usize, topic: &str) -> Delivery {
        let added = self.add(item, bytes, |state| state.lines.lose());
        if added == Err(SendError::Full) {
            let line = &self.0.link.counters.lines.missed;
            log_loss(line, topic, "a channel misses messages of a topic");
        }
        delivery(added)
    }

    /// The same for a broadcast on the channel's own topic. If there is no room for one that may not give way, the channel ends.
    pub(crate) fn intercepted(
        &self,
        broadcast: Broadcast,
        when_slow: impl FnOnce(&Broadcast) -> WhenSlow,
    ) -> Delivery {
        let bytes = ITEM_BYTES + broadcast.event().len() + broadcast.payload().len();
        let added = self.add(Item::Out(broadcast.clone()), bytes, |_| {});
        if added == Err(SendError::Full) {
            let is_to_arrive = when_slow(&broadcast) == WhenSlow::Close;
            let lines = &self.0.link.counters.lines;
            let (line, what) = match is_to_arrive {
                true => (
                    &lines.overrun,
                    "a channel ends, as it cannot see a broadcast that it intercepts",
                ),
                false => (
                    &lines.given_way,
                    "a channel does not see broadcasts that it intercepts",
                ),
            };
            log_loss(line, broadcast.topic(), what);
            if is_to_arrive {
                self.0.orders.overrun.store(true, Ordering::Release);
                self.0.wake_channel();
            }
        }
        delivery(added)
    }

    fn add(
        &self,
        item: Item,
        bytes: usize,
        lose: impl FnOnce(&mut State),
    ) -> Result<(), SendError> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(SendError::Ended);
        }
        if state.lines.is_full_of_others(self.0.bound()) {
            lose(&mut state);
            drop(state);
            self.0.link.counters.inbox_dropped.add_one();
            return Err(SendError::Full);
        }
        state.lines.add_other(item, bytes);
        self.came_in(state);
        Ok(())
    }

    fn came_in(&self, mut state: MutexGuard<'_, State>) {
        let receiver = match state.only_the_end_matters {
            true => None,
            false => state.receiver.take(),
        };
        drop(state);
        self.0.link.counters.inbox_in.add_one();
        wake(receiver);
    }

    /// A newer join took the topic: the channel ends when its own join is answered.
    pub(crate) fn supersede(&self) {
        self.0.orders.superseded.store(true, Ordering::Release);
    }

    /// The client has left: that waits in the inbox.
    pub(crate) fn leave(&self) {
        self.0.orders.leaving.store(true, Ordering::Release);
        self.0.wake_channel();
    }

    /// The channel's join is to wait only a short while longer for the one that it replaces.
    pub(crate) fn hasten(&self) {
        self.0.orders.hastened.store(true, Ordering::Release);
        self.0.wake_channel();
    }

    /// Ready once the channel is [hastened](Self::hasten); else its task is woken then.
    pub(crate) fn poll_hastened(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.wait_for_the_end(cx);
        match self.0.orders.hastened.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Ready once the channel is [kicked](Self::kick); else its task is woken then.
    pub(crate) fn poll_kicked(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.wait_for_the_end(cx);
        match self.is_kicked() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub(crate) fn is_kicked(&self) -> bool {
        self.0.orders.kicked.load(Ordering::Acquire)
    }

    /// The channel ends before whatever waits in its inbox.
    pub(crate) fn kick(&self) {
        self.0.orders.kicked.store(true, Ordering::Release);
        self.0.wake_channel();
    }

    /// The connection has ended. What is inside can still be read, for a while.
    pub(crate) fn close(&self, reason: Terminated) {
        let deadline = later(Instant::now(), self.0.link.config.terminate_timeout);
        self.close_by(reason, deadline);
    }

    /// If its client has left, nobody waits any longer for the channel to work that off: it ends where it stands. Tells whether that is so.
    pub(crate) fn dismiss(&self) -> bool {
        let is_leaving = self.0.orders.leaving.load(Ordering::Acquire);
        if is_leaving {
            self.close_by(Terminated::Left, Instant::now());
        }
        is_leaving
    }

    fn close_by(&self, reason: Terminated, deadline: Instant) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let over = || Box::new(Over::Connection { reason, deadline });
        state.over.get_or_insert_with(over);
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
    }

    /// Ready once the connection has ended, with until when the channel may go on; else its task is woken then, and not for what comes in.
    pub(crate) fn poll_gone(&self, cx: &Context<'_>) -> Poll<Instant> {
        let mut state = self.0.lock();
        if let Some(deadline) = state.deadline() {
            return Poll::Ready(deadline);
        }
        let old = state.wait(true, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// When the channel ended by itself, if it has.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        match self.0.lock().over.as_deref()? {
            Over::Channel { at } => Some(*at),
            Over::Connection { .. } => None,
        }
    }

    /// How much of what its client sent the channel keeps, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let state = self.0.lock();
        state.in_hand + state.lines.request_bytes()
    }

    /// Takes nothing more in, and gives out what the client asked for.
    pub(crate) fn take_requests(&self) -> impl Iterator<Item = Request> + use<> {
        self.0.empty().into_requests()
    }

    /// From now on the channel has ended for its client.
    pub(crate) fn told(&self) {
        self.0.lock().is_told = true;
    }

    /// Runs it unless the channel has ended for its client, which does not happen meanwhile. It must not touch the inbox.
    pub(crate) fn unless_told<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let state = self.0.lock();
        (!state.is_told).then(run)
    }
}

impl fmt::Debug for InboxSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxSender")
            .field("waiting", &self.0.lock().lines.len())
            .finish()
    }
}

/// The channel's end of its inbox. What is left in it when it is dropped is counted out.
pub(crate) struct InboxReceiver(Arc<Shared>);

impl InboxReceiver {
    /// The next item; `None` once the inbox is closed and empty, or the connection ended too long ago. Whatever was taken out before is
    /// done with.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>, takes: Takes) -> Poll<Option<Item>> {
        let shared = &*self.0;
        let mut state = shared.lock();
        let done = std::mem::take(&mut state.in_hand);
        // Once the connection has ended nobody is asked to read first.
        let takes = if state.is_closed { Takes::All } else { takes };
        let item = match state.is_late() {
            true => None,
            false => state.lines.next(takes),
        };
        let (mut made_room, mut old) = (false, None);
        match &item {
            Some(Item::Request(request)) => {
                state.in_hand = bytes_of(request);
                made_room = state.is_awaited && !state.lines.is_full_of_requests(shared.bound());
                state.is_awaited &= !made_room;
            }
            None if !state.is_closed => old = state.wait(false, cx),
            _ => {}
        }
        let is_open = !state.is_closed;
        drop(state);
        drop(old);
        shared.release(done);
        if made_room {
            shared.link.waiting.wake();
        }
        match item {
            None if is_open => Poll::Pending,
            None => Poll::Ready(None),
            Some(item) => {
                if !matches!(item, Item::Lost(_)) {
                    shared.link.counters.inbox_out.add_one();
                }
                Poll::Ready(Some(item))
            }
        }
    }

    /// Puts the request back that was taken out last: it is not its time yet. A closed inbox gives it back: it would come out again at once.
    pub(crate) fn put_back(&mut self, request: Request) -> Option<Request> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Some(request);
        }
        state.in_hand = 0;
        state.lines.put_back(request);
        drop(state);
        self.0.link.counters.inbox_in.add_one();
        None
    }

    /// The channel's answer to its join waits to be sent, and counts with what its client wrote for the join.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.0.link.waiting.add(bytes);
        self.0.lock().in_hand += bytes;
    }

    /// The channel is done with what it had in hand.
    pub(crate) fn done(&mut self) {
        let in_hand = std::mem::take(&mut self.0.lock().in_hand);
        self.0.release(in_hand);
    }

    /// Ready once nothing more comes in; else the channel's task is woken when that may be so.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Poll::Ready(());
        }
        let old = state.wait(true, cx);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Ready once the client has left, the connection has ended or the channel is to end at once; else the channel's task is woken then.
    pub(crate) fn poll_not_wanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.wait_for_the_end(cx);
        match self.is_given_up() || self.is_kicked() || self.is_overrun() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Whether nobody is left to see what the join puts off.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_leaving() || self.is_closed()
    }

    /// Takes nothing more in, and gives out what the client asked for.
    pub(crate) fn into_requests(self) -> impl Iterator<Item = Request> {
        self.0.empty().into_requests()
    }

    /// The channel ends: as [`shut`](Self::shut). Gives the moment.
    pub(crate) fn end(&mut self) -> Instant {
        let at = Instant::now();
        self.0.lock().over = Some(Box::new(Over::Channel { at }));
        self.shut();
        at
    }

    /// Takes nothing more in, and drops what is inside.
    pub(crate) fn shut(&mut self) {
        drop(self.0.empty());
        self.done();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.0.orders.superseded.load(Ordering::Acquire)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.0.orders.leaving.load(Ordering::Acquire)
    }

    /// It could not take in what its client is to see.
    pub(crate) fn is_overrun(&self) -> bool {
        self.0.orders.overrun.load(Ordering::Acquire)
    }

    pub(crate) fn is_kicked(&self) -> bool {
        self.0.orders.kicked.load(Ordering::Acquire)
    }

    /// Why the connection has ended.
    pub(crate) fn closed(&self) -> Terminated {
        match self.0.lock().over.as_deref() {
            Some(Over::Connection { reason, .. }) => reason.clone(),
            _ => Terminated::Closed,
        }
    }
}

impl State {
    /// Notes whom to wake, and for what. Gives back who was noted before.
    fn wait(&mut self, only_the_end_matters: bool, cx: &Context<'_>) -> Option<Waker> {
        self.only_the_end_matters = only_the_end_matters;
        match &self.receiver {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => self.receiver.replace(cx.waker().clone()),
        }
    }

    /// Whether the channel may take nothing out any more.
    fn is_late(&self) -> bool {
        let deadline = self.deadline();
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn deadline(&self) -> Option<Instant> {
        match self.over.as_deref()? {
            Over::Connection { deadline, .. } => Some(*deadline),
            Over::Channel { .. } => None,
        }
    }
}

impl Drop for InboxReceiver {
    fn drop(&mut self) {
        self.shut();
    }
}

impl fmt::Debug for InboxReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxReceiver")
            .field("waiting", &self.0.lock().lines.len())
            .finish()
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request(_) => "Request(..)",
            Self::Out(_) => "Out(..)",
            Self::Info(_) => "Info(..)",
            Self::Lost(_) => "Lost(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;

    use super::*;
    use crate::pubsub::PubSub;
    use crate::testing::TestSockets;
    use crate::transport::{Field, Payload};
    use crate::{Channel, RawEvent, Refused, Reply, Sockets};

    /// Shows its connection.
    struct Show;

    impl Channel<mpsc::Sender<Arc<Link>>> for Show {
        type Params = ();
        type Event = RawEvent;

        async fn join(
            links: &mpsc::Sender<Arc<Link>>,
            socket: &mut Socket,
            (): (),
        ) -> Result<Self, Refused> {
            let links = links.clone();
            socket.after_join(move |socket| {
                links.send(socket.pusher().link).expect("the test waits");
                Box::pin(async { Flow::Stop })
            });
            Ok(Self)
        }

        async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply {
            Reply::none()
        }
    }

    async fn link() -> Arc<Link> {
        let (sender, links) = mpsc::channel();
        let sockets = Sockets::new(&PubSub::local(), sender).channel::<Show>("*");
        let socket = TestSockets::new(sockets)
            .connect(serde_json::json!({}))
            .await
            .unwrap();
        socket.join("t", ()).await.unwrap();
        crate::testing::settle().await;
        links.recv().unwrap()
    }

    /// It would come out again at once: a channel that waits for its client to read would take it and put it back for ever.
    #[tokio::test(start_paused = true)]
    async fn a_closed_inbox_takes_nothing_back() {
        let event = Request::Event {
            event: "say".into(),
            reference: None,
            payload: Payload::object(),
        };
        let (sender, mut receiver) = inbox(&link().await, 0);
        let next = async |receiver: &mut InboxReceiver| match poll_fn(|cx| {
            receiver.poll_recv(cx, Takes::All)
        })
        .await
        {
            Some(Item::Request(request)) => Some(request),
            _ => None,
        };
        assert_eq!(sender.offer(event.clone()), None);
        let taken = next(&mut receiver).await.unwrap();
        assert_eq!(receiver.put_back(taken), None);
        let taken = next(&mut receiver).await.unwrap();
        sender.close(Terminated::Closed);
        assert_eq!(receiver.put_back(taken), Some(event));
        assert_eq!(next(&mut receiver).await, None);
    }

    #[test]
    fn all_that_a_client_wrote_counts_against_the_bound() {
        let long = Some(Field::from("r".repeat(100)));
        let event = Request::Event {
            event: "e".repeat(1_000).into(),
            reference: long.clone(),
            payload: Payload::object(),
        };
        assert_eq!(bytes_of(&event), ITEM_BYTES + 1_000 + 100 + 2);
        let leave = Request::Leave {
            join_ref: long.clone(),
            reference: long,
        };
        assert_eq!(bytes_of(&leave), ITEM_BYTES + 200);
    }
}
