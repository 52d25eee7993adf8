//! One long-poll session between the requests of its client and the task that drives it.
//!
//! The task sees a [`Connection`] like any other; the requests see [`Shared`].

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Sink, Stream, task::AtomicWaker};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    LongPollConfig,
    downstream::{Downstream, Polled, Waiting},
    sessions::Seat,
    upstream::{NotTaken, Part, PostId, Posted, Upstream},
};
use crate::{
    frame::Frame,
    transport::{Connection, Outgoing, ReadError, WriteError},
};

/// A session, as its requests see it.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Where the session's task runs.
    runtime: Handle,
    /// The session's task, when it waits for a frame.
    reader: AtomicWaker,
    /// The session's task, when it waits for the client to take messages.
    writer: AtomicWaker,
    /// Polls that wait.
    to_poll: Notify,
    /// Posts that wait.
    to_post: Notify,
}

struct State {
    downstream: Downstream,
    upstream: Upstream,
    /// Messages were lost on their way to the client, so it must not go on.
    lost: bool,
}

/// What a post is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostAnswer {
    /// The session has every message.
    Taken,
    /// Not all of it was taken in time, or the session ended on it.
    Late,
    /// There is no session.
    Gone,
}

impl Shared {
    /// A session whose task will run in the current tokio runtime.
    pub(super) fn new(config: &LongPollConfig) -> Self {
        let now = Instant::now().into_std();
        Self {
            state: Mutex::new(State {
                downstream: Downstream::new(config.buffer_bytes, now),
                upstream: Upstream::new(config.max_body_bytes),
                lost: false,
            }),
            runtime: Handle::current(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            to_poll: Notify::new(),
            to_post: Notify::new(),
        }
    }

    /// Waits for messages, for the end, or for the window to close.
    ///
    /// # Cancel safety
    /// Messages are taken only when they are returned.
    pub(super) async fn poll(&self, window: Duration) -> Polled {
        let poll = OpenPoll::begin(self, window);
        let deadline = Instant::from_std(poll.waiting.deadline());
        let polled = until(deadline, &self.to_poll, || poll.try_answer()).await;
        polled.unwrap_or(Polled::Nothing)
    }

    /// Hands messages to the session, and waits until it has dealt with them or the window closes.
    ///
    /// # Cancel safety
    /// What was handed over stays so.
    pub(super) async fn post(&self, parts: Vec<Part>, window: Duration) -> PostAnswer {
        let deadline = Instant::now() + window;
        let id = match self.lock().upstream.begin(parts) {
            Ok(id) => id,
            Err(NotTaken::Gone) => return PostAnswer::Gone,
            Err(NotTaken::Full) => return PostAnswer::Late,
        };
        self.reader.wake();
        let outcome = || self.lock().upstream.outcome(id);
        match until(deadline, &self.to_post, outcome).await {
            Some(Posted::Taken) => PostAnswer::Taken,
            Some(Posted::Lost) => PostAnswer::Late,
            None => self.give_up(id),
        }
    }

    /// Nothing is read from the client any more; what waits for it can still be polled.
    fn end(&self) {
        let mut state = self.lock();
        state.downstream.end();
        state.upstream.end();
        drop(state);
        self.to_post.notify_waiters();
    }

    /// What a poll took out did not reach the client: the session ends.
    pub(super) fn lose(&self) {
        self.lock().lost = true;
        self.reader.wake();
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn give_up(&self, id: PostId) -> PostAnswer {
        self.lock().upstream.give_up(id);
        PostAnswer::Late
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs inside, so a poisoned lock guards sound data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks whenever there may be news, until there is an answer; at the deadline once more.
async fn until<T>(
    deadline: Instant,
    news: &Notify,
    mut ask: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut timer = pin!(sleep_until(deadline));
    loop {
        let mut notified = pin!(news.notified());
        // From here on no news is missed.
        notified.as_mut().enable();
        if let Some(answer) = ask() {
            return Some(answer);
        }
        tokio::select! {
            () = &mut notified => {}
            () = &mut timer => return ask(),
        }
    }
}

/// A poll that waits; dropped, it waits no longer.
struct OpenPoll<'a> {
    session: &'a Shared,
    waiting: Waiting,
}

impl<'a> OpenPoll<'a> {
    fn begin(session: &'a Shared, window: Duration) -> Self {
        let now = Instant::now().into_std();
        let waiting = session.lock().downstream.begin(now, window);
        Self { session, waiting }
    }

    fn try_answer(&self) -> Option<Polled> {
        let now = Instant::now().into_std();
        let polled = self.session.lock().downstream.poll(&self.waiting, now);
        if matches!(polled, Some(Polled::Messages(_))) {
            self.session.writer.wake();
        }
        polled
    }
}

impl Drop for OpenPoll<'_> {
    fn drop(&mut self) {
        let now = Instant::now().into_std();
        self.session.lock().downstream.finish(&self.waiting, now);
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
        let mut state = session.lock();
        if state.lost {
            return Poll::Ready(Some(Err(ReadError::Lost(io::ErrorKind::BrokenPipe.into()))));
        }
        let part = state.upstream.next();
        drop(state);
        session.to_post.notify_waiters();
        match part {
            Some(Part::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Part::NotUtf8) => Poll::Ready(Some(Err(ReadError::NotUtf8))),
            None => Poll::Pending,
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
            Outgoing::Frame(frame) if frame.len() > self.seat.config().max_frame_bytes => {
                return Err(WriteError::TooBig);
            }
            Outgoing::Frame(Frame::Text(text)) => self.session.lock().downstream.put(text),
            // Clients would take it for text, and break.
            Outgoing::Frame(Frame::Binary(_)) => self.seat.counters().binary_dropped.add_one(),
            Outgoing::Close(_) => self.session.end(),
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.session.to_poll.notify_waiters();
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

    fn is_heard_apart(&self) -> bool {
        true
    }
}

impl Drop for LongPollConnection {
    fn drop(&mut self) {
        self.session.end();
        self.session.lock().downstream.abandon();
        self.session.to_poll.notify_waiters();
    }
}
