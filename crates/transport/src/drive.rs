//! The loop that drives one session over one connection, whatever carries it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures::{SinkExt, StreamExt, future::poll_fn};
use matryoshka_pubsub::mailbox::Received;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::{
    close::{Close, CloseCode, CloseReason},
    frame::Frame,
    limits::Limits,
    outbox::{Inbox, Item},
    session::{Output, Session},
    transport::{Connection, Outgoing, ReadError, WriteError},
};

/// How many frames and mails one turn moves before other tasks get theirs.
const TURN_ITEMS: usize = 256;

/// Drives the session until the connection has ended, closing handshake included.
pub(crate) async fn drive<C: Connection, S: Session>(
    connection: C,
    session: S,
    inbox: Inbox<S::Mail>,
    limits: &Limits,
) {
    let (idle_timeout, close_timeout) = (limits.idle_timeout, limits.close_timeout);
    let mut drive = Drive {
        connection,
        session,
        inbox: Some(inbox),
        output: Output::default(),
        heard: Instant::now(),
        held: None,
        unflushed: false,
    };
    let end = {
        let mut idle = pin!(sleep(idle_timeout));
        poll_fn(|cx| match drive.poll_turn(cx) {
            Ok(Turn::More) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Turn::Waiting) => drive.poll_idle(cx, idle.as_mut(), idle_timeout),
            Err(end) => Poll::Ready(end),
        })
        .await
    };
    let (connection, last) = drive.end(end);
    // The client's part in the end is bounded; past it the connection is just dropped.
    let _ = timeout(close_timeout, last.write(connection)).await;
}

struct Drive<C, S: Session> {
    connection: C,
    session: S,
    /// Gone once no outbox is left.
    inbox: Option<Inbox<S::Mail>>,
    output: Output,
    /// When the client was last heard, or last could not make itself heard because of us.
    heard: Instant,
    /// Why nothing is read at the moment.
    held: Option<Hold>,
    unflushed: bool,
}

/// Why nothing is read from the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// The session is not ready.
    Session,
    /// The client does not read what the session answered.
    Output,
}

/// How a turn ended.
enum Turn {
    /// There is more to do at once.
    More,
    /// All wakers are set.
    Waiting,
}

/// Why the loop ended.
enum End {
    Client(Option<CloseCode>),
    Lost,
    Idle,
    Closed(Close),
    /// The session panicked.
    Crashed,
}

impl<C: Connection, S: Session> Drive<C, S> {
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Result<Turn, End> {
        let mut budget = TURN_ITEMS;
        while budget > 0 {
            let before = budget;
            self.write_out(cx, &mut budget)?;
            self.read_in(cx, &mut budget)?;
            if budget == before {
                break;
            }
        }
        // Written out in one go, however many frames the turn fed.
        if self.unflushed && self.connection.poll_flush_unpin(cx)?.is_ready() {
            self.unflushed = false;
        }
        if budget == 0 {
            return Ok(Turn::More);
        }
        self.output.release();
        Ok(Turn::Waiting)
    }

    /// Feeds what the session and the outbox want written, as far as the connection takes it.
    fn write_out(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        while *budget > 0 {
            if self.connection.poll_ready_unpin(cx)?.is_pending() {
                return self.check_overflow(cx);
            }
            let frame = match self.output.take() {
                Some(frame) => Some(frame),
                None => match self.next_item(cx)? {
                    Some(Item::Frame(frame)) => Some(frame),
                    Some(Item::Mail(mail)) => {
                        guarded(|| self.session.handle_mail(mail, &mut self.output))??;
                        None
                    }
                    Some(Item::Close(close)) => return Err(End::Closed(close)),
                    None => return Ok(()),
                },
            };
            *budget -= 1;
            if let Some(frame) = frame {
                self.connection.start_send_unpin(Outgoing::Frame(frame))?;
                self.unflushed = true;
                if self.held == Some(Hold::Output) {
                    self.heard = Instant::now();
                }
            }
        }
        Ok(())
    }

    /// The next thing from the outbox, if there is one.
    fn next_item(&mut self, cx: &mut Context<'_>) -> Result<Option<Item<S::Mail>>, End> {
        loop {
            let Some(inbox) = &mut self.inbox else {
                return Ok(None);
            };
            match inbox.poll_recv(cx) {
                Poll::Ready(Some(Received::Item(item))) => return Ok(Some(item)),
                // An outbox does not drop single items, it closes.
                Poll::Ready(Some(Received::Lagged(_))) => {}
                Poll::Ready(None) if inbox.overflowed() => return Err(End::too_slow()),
                Poll::Ready(None) => self.inbox = None,
                Poll::Pending => return Ok(None),
            }
        }
    }

    /// While the connection takes nothing, the outbox may fill up.
    fn check_overflow(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let overflowed = self
            .inbox
            .as_mut()
            .is_some_and(|inbox| inbox.poll_overflowed(cx).is_ready());
        if overflowed {
            Err(End::too_slow())
        } else {
            Ok(())
        }
    }

    /// Hands frames to the session while it takes them and its answers can leave.
    fn read_in(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        while *budget > 0 {
            let hold = self.poll_hold(cx)?;
            if hold.is_none() && self.held.is_some() {
                self.heard = Instant::now();
            }
            self.held = hold;
            if hold.is_some() {
                return Ok(());
            }
            match self.connection.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(frame))) => self.hear(frame)?,
                Poll::Ready(Some(Err(error))) => return Err(error.into()),
                Poll::Ready(None) => return Err(End::Lost),
                Poll::Pending => return Ok(()),
            }
            *budget -= 1;
        }
        Ok(())
    }

    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Result<Option<Hold>, End> {
        if self.output.is_crowded() {
            return Ok(Some(Hold::Output));
        }
        let ready = guarded(|| self.session.poll_ready(cx))?;
        Ok(ready.is_pending().then_some(Hold::Session))
    }

    fn hear(&mut self, frame: Frame) -> Result<(), End> {
        if self.connection.last_byte().is_none() {
            self.heard = Instant::now();
        }
        guarded(|| self.session.handle_in(frame, &mut self.output))??;
        Ok(())
    }

    /// Ready when the client has been silent for too long. The timer is moved only when it fires.
    fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        idle_timeout: std::time::Duration,
    ) -> Poll<End> {
        if self.held == Some(Hold::Session) {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            let heard = self
                .connection
                .last_byte()
                .map_or(self.heard, |byte| byte.max(self.heard));
            let deadline = heard + idle_timeout;
            if deadline <= Instant::now() {
                return Poll::Ready(End::Idle);
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Tells the session, lets go of it and its outbox, and keeps what the client is still to be sent.
    fn end(self, end: End) -> (C, LastWords) {
        let Self {
            connection,
            mut session,
            output,
            ..
        } = self;
        let crashed = matches!(end, End::Crashed);
        let (reason, last) = match end {
            End::Client(code) => (CloseReason::Client(code), LastWords::answer()),
            End::Lost => (CloseReason::Lost, LastWords::none()),
            End::Idle => (
                CloseReason::Idle,
                LastWords::close(output, CloseCode::GOING_AWAY.into()),
            ),
            End::Closed(close) => (
                CloseReason::Closed(close.clone()),
                LastWords::close(output, close),
            ),
            End::Crashed => {
                let close = Close::new(CloseCode::INTERNAL);
                (
                    CloseReason::Closed(close.clone()),
                    LastWords::close(output, close),
                )
            }
        };
        tracing::debug!(?reason, crashed, "connection ends");
        // A crash while the session cleans up ends it all the same.
        let _ = guarded(|| {
            if !crashed {
                session.closed(reason);
            }
            drop(session);
        });
        (connection, last)
    }
}

/// What is left to write when the session is gone.
struct LastWords {
    output: Output,
    close: Option<Close>,
    /// Whether there is anybody to end the connection with.
    anybody: bool,
}

impl LastWords {
    /// The client is gone.
    fn none() -> Self {
        Self {
            output: Output::default(),
            close: None,
            anybody: false,
        }
    }

    /// The client closed and waits for the answer.
    fn answer() -> Self {
        Self {
            anybody: true,
            ..Self::none()
        }
    }

    /// The server closes.
    fn close(output: Output, close: Close) -> Self {
        Self {
            output,
            close: Some(close),
            anybody: true,
        }
    }

    async fn write<C: Connection>(mut self, mut connection: C) -> Result<(), WriteError> {
        while let Some(frame) = self.output.take() {
            connection.feed(Outgoing::Frame(frame)).await?;
        }
        if let Some(close) = self.close.take() {
            connection.send(Outgoing::Close(close)).await?;
        }
        if self.anybody {
            connection.close().await?;
        }
        Ok(())
    }
}

/// Calls the session, whose panic is its own end and nobody else's.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, End> {
    // The session is not used again after a panic.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_panic| {
        tracing::error!("a session panicked; its connection is closed with 1011");
        End::Crashed
    })
}

impl End {
    fn too_slow() -> Self {
        Self::Closed(Close::new(CloseCode::POLICY))
    }
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Closed(close)
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Closed(code) => return Self::Client(code),
            ReadError::Lost(_) => return Self::Lost,
            ReadError::TooBig => CloseCode::TOO_BIG,
            ReadError::NotUtf8 => CloseCode::INVALID_UTF8,
            ReadError::Protocol(_) => CloseCode::PROTOCOL,
        };
        Self::Closed(Close::new(code))
    }
}

impl From<WriteError> for End {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::TooBig => Self::Closed(Close::new(CloseCode::INTERNAL)),
            WriteError::Lost(_) => Self::Lost,
        }
    }
}
