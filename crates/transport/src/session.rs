//! What the layer above implements: one session per connection, made by a handler.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use crate::{
    close::{Close, CloseReason},
    connect::{ConnectInfo, Rejection},
    frame::Frame,
    outbox::{LARGE_FRAME_BYTES, Large, Outbox},
};

/// One client's conversation, whatever carries it.
///
/// The methods are called one at a time, from the connection's own task, and must not block. A panic in one of them
/// ends this connection with 1011 and no other.
pub trait Session: Send + 'static {
    /// What reaches the session through its [`Outbox`] besides frames.
    type Mail: Send + 'static;

    /// A frame came from the client.
    ///
    /// # Errors
    /// The order to close the connection. Frames already in `out` are written first.
    fn handle_in(&mut self, frame: Frame, out: &mut Output) -> Result<(), Close>;

    /// A mail came through the outbox, after all that was put there before it, unless it is
    /// [urgent](Outbox::urgent_mail_of).
    ///
    /// # Errors
    /// The order to close the connection. Frames already in `out` are written first.
    fn handle_mail(&mut self, mail: Self::Mail, out: &mut Output) -> Result<(), Close>;

    /// A frame came over the rate that [`Limits::inbound`](crate::Limits::inbound) allows. It is not handled; what is put into
    /// `out` is written, and then the connection is closed with 1008.
    fn refuse_in(&mut self, frame: Frame, out: &mut Output) {
        let _ = (frame, out);
    }

    /// Whose connection it is, asked once, right after the session was made: as many as
    /// [`max_per_user`](crate::ConnectionLimits::max_per_user) with the same answer may be open. None is not counted. A panic refuses the
    /// client, with 500.
    fn user(&self) -> Option<&str> {
        None
    }

    /// Whether the session can take a further frame. While it cannot, nothing is read from the client, and the idle
    /// clock stands still unless the client does not read either: the client learns by a full network buffer that it
    /// is too fast. Outgoing frames still move.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The connection has ended; nothing can be written any more. Called once, the last of all calls, unless the
    /// session panicked.
    fn closed(&mut self, reason: CloseReason) {
        let _ = reason;
    }
}

/// A session panicked. It is not to be called again.
pub(crate) struct Panicked;

/// Calls a session. What it does wrong is no end of whoever calls it.
pub(crate) fn call_session<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    // The session is not used again after a panic.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_panic| Panicked)
}

/// Makes the sessions of a service: one handler, cloned for every connection.
pub trait Handler: Clone + Send + Sync + 'static {
    /// What it makes.
    type Session: Session;

    /// A client asks to connect. Called before the upgrade, also for a request that never upgrades (its session is
    /// then told [`CloseReason::Lost`]). A panic answers 500.
    ///
    /// `outbox` is the way to this session from anywhere else. What is put there before the session exists waits.
    fn connect(
        &self,
        info: ConnectInfo,
        outbox: Outbox<<Self::Session as Session>::Mail>,
    ) -> impl Future<Output = Result<Self::Session, Rejection>> + Send;
}

/// Frames that a session wants written, in order, after those of its earlier calls.
///
/// It needs no bound of its own: while more than [`OUTPUT_PAUSE_BYTES`] wait here, nothing is read from the client
/// and nothing is taken from the outbox but [urgent mail](Outbox::urgent_mail_of), which may not be answered then.
#[derive(Debug, Default)]
pub struct Output {
    frames: VecDeque<Frame>,
    bytes: usize,
}

/// Over how many waiting bytes of output a connection stops reading: 64 KiB.
pub const OUTPUT_PAUSE_BYTES: usize = 64 * 1024;

impl Output {
    /// An empty output, for tests of a session.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame.
    pub fn frame(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Takes the next frame to write.
    pub fn take(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many frames wait.
    pub(crate) fn count(&self) -> usize {
        self.frames.len()
    }

    /// Whether so much waits that the session should not be given more to do.
    pub(crate) fn is_crowded(&self) -> bool {
        self.bytes > OUTPUT_PAUSE_BYTES || self.frames.len() > OUTPUT_PAUSE_FRAMES
    }

    /// Whether something that waits may be large.
    pub(crate) fn has_large(&self) -> bool {
        self.bytes > LARGE_FRAME_BYTES
    }

    /// What waits that is large.
    pub(crate) fn large(&self) -> impl Iterator<Item = Large> {
        let frames = self.has_large().then_some(&self.frames);
        frames.into_iter().flatten().filter_map(Large::of)
    }

    /// Gives the memory of a burst back.
    pub(crate) fn release(&mut self) {
        if self.frames.is_empty() && self.frames.capacity() > 0 {
            self.frames = VecDeque::new();
        }
    }
}

/// The same pause for many small frames.
const OUTPUT_PAUSE_FRAMES: usize = 1024;
