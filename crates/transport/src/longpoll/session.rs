//! One long-poll session between the requests of its client and the task that drives it.
//!
//! The task sees a [`Connection`] like any other; the requests see [`Shared`].

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant as StdInstant},
};

use bytestring::ByteString;
use futures::{Sink, Stream, task::AtomicWaker};
use matryoshka_pubsub::NodeName;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    LongPollConfig,
    body::{BadLine, Messages, Part},
    budget::{Charge, Holder},
    downstream::{Downstream, Polled, Waiting, weight},
    sessions::Seat,
    upstream::{NotTaken, PostId, Posted, Step, Upstream},
};
use crate::{
    frame::Frame,
    later::later,
    transport::{Connection, Outgoing, ReadError, WriteError},
};

/// A session, as its requests see it.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Whose it is.
    holder: Holder,
    /// Where the session's task runs.
    runtime: Handle,
    /// The session's task, when it waits for a frame.
    reader: AtomicWaker,
    /// The session's task, when it waits for the client to take messages.
    writer: AtomicWaker,
}

struct State {
    downstream: Downstream<Waker>,
    /// Who was last answered messages, of other nodes.
    passed_to: Option<Asker>,
    upstream: Upstream<OpenPost>,
    /// Messages were lost on their way to the client, so it must not go on.
    lost: bool,
}

/// Who waits for an answer at another node: that, and its number of the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asker {
    pub(super) node: NodeName,
    pub(super) request: u64,
}

/// Who waits for the end of a post, and what that takes meanwhile.
struct OpenPost {
    answer: oneshot::Sender<Posted>,
    _charge: Charge,
}

impl OpenPost {
    fn tell(self, posted: Posted) {
        // Whoever posted may have gone, and then nobody has to know.
        let _ = self.answer.send(posted);
    }
}

/// Until when a post waits for its session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) end: StdInstant,
    /// The same while the client is slowed, which is no fault of its session.
    latest: StdInstant,
}

impl Window {
    /// One that opens now.
    pub(super) fn open(window: Duration) -> Self {
        let end = later(Instant::now().into_std(), window);
        let latest = later(end, window);
        Self { end, latest }
    }
}

/// What a post is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostAnswer {
    /// The session has every message.
    Taken,
    /// It has those before this line, which is no message.
    BadLine(BadLine),
    /// Not all of it was taken in time, or the session ended on it.
    Late,
    /// There is no session.
    Gone,
}

impl From<Posted> for PostAnswer {
    fn from(posted: Posted) -> Self {
        match posted {
            Posted::Taken => Self::Taken,
            Posted::BadLine(bad) => Self::BadLine(bad),
            Posted::Lost => Self::Late,
        }
    }
}

impl From<NotTaken> for PostAnswer {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Gone => Self::Gone,
            NotTaken::Full => Self::Late,
        }
    }
}

impl Shared {
    /// A session whose task will run in the current tokio runtime.
    pub(super) fn new(config: &LongPollConfig, holder: Holder) -> Self {
        let now = Instant::now().into_std();
        Self {
            state: Mutex::new(State {
                downstream: Downstream::new(config.buffer_bytes, now),
                passed_to: None,
                upstream: Upstream::new(config.max_body_bytes),
                lost: false,
            }),
            holder,
            runtime: Handle::current(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }
    }

    /// Waits for messages, for the end, for the window to close, or for two newer polls. Messages count as unread until the other thing
    /// that is returned is dropped.
    ///
    /// # Cancel safety
    /// Messages are taken only when they are returned.
    pub(super) async fn poll(self: &Arc<Self>, window: Duration) -> (Polled, Unread) {
        let polled = OpenPoll::begin(self, window, None).answer().await;
        let weight = match &polled {
            Polled::Messages(messages) => messages.iter().map(weight).sum(),
            Polled::Nothing | Polled::Gone => 0,
        };
        let session = Arc::clone(self);
        (polled, Unread { session, weight })
    }

    /// A poll for the client of another node.
    pub(super) fn relayed_poll(&self, window: Duration, asker: Asker) -> OpenPoll<'_> {
        OpenPoll::begin(self, window, Some(asker))
    }

    /// Whether that was the last to be answered messages, of other nodes.
    pub(super) fn was_passed_to(&self, asker: &Asker) -> bool {
        self.lock().passed_to.as_ref() == Some(asker)
    }

    /// A post begins to come.
    pub(super) fn enter(&self) -> Result<Coming<'_>, NotTaken> {
        self.lock().upstream.enter()?;
        Ok(Coming {
            session: self,
            bytes: 0,
            is_whole: false,
        })
    }

    /// Nothing is read from the client any more; what waits for it can still be polled.
    fn end(&self) {
        end(self.lock());
    }

    /// What a poll took out did not reach the client: the session ends, and nothing more of it does.
    pub(super) fn lose(&self) {
        let mut state = self.lock();
        state.lost = true;
        state.downstream.abandon();
        end(state);
        self.reader.wake();
        self.writer.wake();
    }

    /// What became of a post; none if it is not done in time.
    async fn posted(
        &self,
        id: PostId,
        mut answered: oneshot::Receiver<Posted>,
        window: Window,
    ) -> Option<Posted> {
        let Window { mut end, latest } = window;
        let mut counted = Duration::ZERO;
        loop {
            if let Ok(posted) = timeout_at(end.into(), &mut answered).await {
                return posted.ok();
            }
            let slowed = self.lock().upstream.slowed(id).unwrap_or(counted);
            let longer = later(end, slowed - counted).min(latest);
            if longer <= end {
                break;
            }
            (end, counted) = (longer, slowed);
        }
        match self.give_up(id) {
            true => None,
            // It was done just now.
            false => answered.await.ok(),
        }
    }

    /// Tells whether the post was not done before.
    fn give_up(&self, id: PostId) -> bool {
        let given_up = self.lock().upstream.give_up(id);
        given_up.is_some()
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs inside, so a poisoned lock guards sound data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(mut state: MutexGuard<'_, State>) {
    let polls = state.downstream.end();
    let posts = state.upstream.end();
    drop(state);
    polls.for_each(Waker::wake);
    for post in posts {
        post.tell(Posted::Lost);
    }
}

/// Messages that were given to the client and are not read yet; dropped, they are, or never will be.
pub(super) struct Unread {
    session: Arc<Shared>,
    weight: usize,
}

impl Drop for Unread {
    fn drop(&mut self) {
        if self.weight > 0 {
            let news = self.session.lock().downstream.read(self.weight);
            news.into_iter().for_each(Waker::wake);
            // What its client has read does not count any more.
            self.session.writer.wake();
        }
    }
}

/// A post that is not whole yet; dropped, it does not come.
pub(super) struct Coming<'a> {
    session: &'a Shared,
    bytes: usize,
    is_whole: bool,
}

impl Coming<'_> {
    /// So many bytes more of it have come, or are going to.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), NotTaken> {
        self.session.lock().upstream.grow(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Hands it to the session, and waits until that has dealt with it or the window closes. The charge is given back when the session has dealt with it.
    ///
    /// # Cancel safety
    /// What was handed over stays so.
    pub(super) async fn post(
        mut self,
        messages: Messages,
        charge: Charge,
        window: Window,
    ) -> PostAnswer {
        let (answer, answered) = oneshot::channel();
        let post = OpenPost {
            answer,
            _charge: charge,
        };
        self.is_whole = true;
        let (session, now) = (self.session, Instant::now().into_std());
        let put = session.lock().upstream.put(messages, self.bytes, post, now);
        let Ok(id) = put else {
            return PostAnswer::Gone;
        };
        session.reader.wake();
        // Whoever lets go of a post tells what became of it.
        let posted = session.posted(id, answered, window).await;
        posted.map_or(PostAnswer::Late, PostAnswer::from)
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.session.lock().upstream.leave(self.bytes);
        }
    }
}

/// A poll that waits; dropped, it waits no longer.
pub(super) struct OpenPoll<'a> {
    session: &'a Shared,
    waiting: Waiting,
    /// Whose it is at another node: its messages go there, and come back where they cannot.
    asker: Option<Asker>,
}

impl<'a> OpenPoll<'a> {
    fn begin(session: &'a Shared, window: Duration, asker: Option<Asker>) -> Self {
        let now = Instant::now().into_std();
        let (waiting, over) = session.lock().downstream.begin(now, window);
        over.into_iter().for_each(Waker::wake);
        Self {
            session,
            waiting,
            asker,
        }
    }

    /// When it is answered at the latest.
    pub(super) fn deadline(&self) -> Instant {
        Instant::from_std(self.waiting.deadline())
    }

    /// Waits for messages, for the end, for the deadline, or for two newer polls. Where it is [relayed](Shared::relayed_poll), no other poll
    /// gets messages until these are said to have [gone](Self::passed).
    ///
    /// # Cancel safety
    /// Messages are taken only when they are returned.
    pub(super) async fn answer(&self) -> Polled {
        let mut timer = pin!(sleep_until(self.deadline()));
        poll_fn(|cx| {
            let is_over = timer.as_mut().poll(cx).is_ready();
            match self.try_answer(cx) {
                Some(polled) => Poll::Ready(polled),
                None if is_over => Poll::Ready(Polled::Nothing),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Its messages have left this node, but for these: the newest poll gets them.
    pub(super) fn passed(&self, back: Vec<ByteString>) {
        let mut state = self.session.lock();
        if back.is_empty() {
            state.passed_to.clone_from(&self.asker);
        }
        let polls = state.downstream.passed(back);
        drop(state);
        polls.for_each(Waker::wake);
        self.session.writer.wake();
    }

    /// The answer, or its task is woken when there may be one.
    fn try_answer(&self, cx: &Context<'_>) -> Option<Polled> {
        let now = Instant::now().into_std();
        let mut state = self.session.lock();
        let polled = state.downstream.poll(&self.waiting, now);
        if let Some(Polled::Messages(messages)) = &polled
            && self.asker.is_some()
        {
            state.downstream.pass_on(messages);
        }
        let old = match polled {
            Some(_) => None,
            None => state.downstream.wait(&self.waiting, cx.waker().clone()),
        };
        drop(state);
        drop(old);
        if matches!(polled, Some(Polled::Messages(_))) {
            self.session.writer.wake();
        }
        polled
    }
}

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        let now = Instant::now().into_std();
        let waker = self.session.lock().downstream.finish(&self.waiting, now);
        drop(waker);
    }
}

/// A session, as the task that drives it sees it. Dropped, the session has ended.
pub(super) struct LongPollConnection {
    session: Arc<Shared>,
    /// Frees the session's place with it.
    seat: Seat,
}

impl LongPollConnection {
    pub(super) fn new(session: Arc<Shared>, seat: Seat) -> Self {
        Self { session, seat }
    }
}

impl Stream for LongPollConnection {
    type Item = Result<Frame, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let session = &self.session;
        // Registered first, so that a post between the look and the registration is not missed.
        session.reader.register(cx.waker());
        loop {
            let mut state = session.lock();
            if state.lost {
                let lost = io::ErrorKind::BrokenPipe.into();
                return Poll::Ready(Some(Err(ReadError::Lost(lost))));
            }
            let step = state.upstream.step();
            drop(state);
            match step {
                Step::Part(Part::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Step::Part(Part::NotUtf8) => return Poll::Ready(Some(Err(ReadError::NotUtf8))),
                Step::Done(post, posted) => post.tell(posted),
                Step::Nothing => return Poll::Pending,
            }
        }
    }
}

impl Sink<Outgoing> for LongPollConnection {
    type Error = WriteError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.session.writer.register(cx.waker());
        match self.session.lock().downstream.has_room() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing) -> Result<(), WriteError> {
        match item {
            // Clients would take it for text, and break.
            Outgoing::Frame(Frame::Binary(_)) => self.seat.drop_binary(),
            Outgoing::Frame(Frame::Text(text)) => {
                if text.len() > self.seat.config().max_frame_bytes {
                    return Err(WriteError::TooBig);
                }
                self.session.lock().downstream.put(text);
            }
            Outgoing::Close(_) => self.session.end(),
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let news = self.session.lock().downstream.news();
        news.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    /// Waits for the client to take what is left, which the next poll would find nowhere else.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.session.writer.register(cx.waker());
        match self.session.lock().downstream.is_empty() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl Connection for LongPollConnection {
    fn last_byte(&self) -> Option<Instant> {
        let now = Instant::now().into_std();
        Some(Instant::from_std(self.session.lock().downstream.heard(now)))
    }

    fn unwritten_bytes(&self) -> usize {
        self.session.lock().downstream.over()
    }

    fn unread_bytes(&self) -> usize {
        self.session.lock().downstream.held()
    }

    fn is_heard_apart(&self) -> bool {
        true
    }

    fn slow_until(&mut self, until: Instant) {
        let now = Instant::now().into_std();
        let mut state = self.session.lock();
        state.upstream.slow_until(until.into_std(), now);
    }
}

impl Drop for LongPollConnection {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.downstream.abandon();
        end(state);
    }
}
