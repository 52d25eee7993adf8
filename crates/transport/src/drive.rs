//! The loop that drives one session over one connection, whatever carries it.

mod clock;
mod end;
mod farewell;
mod unread;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{SinkExt, StreamExt, future::poll_fn};
use tokio::time::{Instant, sleep_until};

use crate::{
    connections::Entered,
    frame::Frame,
    limits::{Limits, Times},
    outbox::{Inbox, Item, LARGE_FRAME_BYTES},
    rate::{Bucket, Rate},
    session::{Output, Panicked, Session, call_session},
    stats::Counters,
    transport::{Connection, Outgoing, ReadError, WriteError},
};
use clock::Large;
use end::{Breach, End};
use farewell::{LastWords, tell};
use unread::{Left, Unread};

/// The longest that a client is not read for the bytes it has sent: well below the 30 s in which official clients want a heartbeat answered.
const LONGEST_SLOWED: Duration = Duration::from_secs(20);

/// How much of what is small is read from a client while it is slowed: 16 KiB. It counts too, so more would be no slowing.
const SMALL_WHILE_SLOWED_BYTES: usize = 16 * 1024;

/// A message that is not whole counts for itself from here on.
const SMALL_MESSAGE_BYTES: usize = 64 * 1024;

/// How many frames and mails one turn moves, each way, before other tasks get theirs.
const TURN_ITEMS: usize = 256;

/// Drives the session until the connection has ended, closing handshake included.
///
/// Not an `async fn`: that would keep every argument twice, and this future is what an idle client costs.
pub(crate) fn drive<C: Connection, S: Session>(
    connection: C,
    session: S,
    inbox: Inbox<S::Mail>,
    limits: Limits,
    entered: Entered,
) -> impl Future<Output = ()> + Send {
    let mut drive = Drive {
        connection,
        session,
        inbox,
        output: Output::default(),
        heard: Instant::now(),
        held: None,
        blocked: false,
        unflushed: false,
        is_timed: false,
        rare: None,
        times: Times::of(&limits),
        inbound: limits.inbound,
        bucket: Bucket::full(Instant::now().into_std()),
        inbound_bytes: limits.inbound_bytes,
        bytes: Bucket::full(Instant::now().into_std()),
    };
    async move {
        let mut timer = pin!(sleep_until(drive.heard + drive.times.idle()));
        let end = poll_fn(|cx| match drive.take_turn(cx, &entered) {
            Ok(Turn::More) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Turn::Waiting) => drive.poll_idle(cx, timer.as_mut()),
            Err(end) => Poll::Ready(end),
        })
        .await;
        end.count(entered.counters());
        if let End::Idle = end {
            drive.explain_idle(&entered);
        }
        if drive.is_stuck() {
            entered.counters().unblocked.add_one();
        }
        let last = LastWords::after(&end, drive.is_stuck());
        drop((drive.inbox, drive.rare));
        tell(drive.session, end, &entered);
        // The client's part in the end is bounded; past it the connection is just dropped. Boxed, since
        // it would double the size of a future that hardly ever is here.
        timer.as_mut().reset(Instant::now() + drive.times.close());
        {
            let (connection, output) = (&mut drive.connection, &mut drive.output);
            let mut writing = Box::pin(last.write(connection, output, entered.counters()));
            poll_fn(|cx| {
                let done =
                    writing.as_mut().poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready();
                if done { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        drop(entered);
    }
}

struct Drive<C, S: Session> {
    connection: C,
    session: S,
    inbox: Inbox<S::Mail>,
    output: Output,
    /// When the client was last heard, or last could not make itself heard because of us.
    heard: Instant,
    /// Why nothing is read at the moment.
    held: Option<Hold>,
    /// Whether the connection takes no frame, since the client reads none.
    blocked: bool,
    unflushed: bool,
    /// Whether the timer will wake the task.
    is_timed: bool,
    rare: Option<Box<Rare>>,
    times: Times,
    inbound: Option<Rate>,
    bucket: Bucket,
    inbound_bytes: Option<Rate>,
    bytes: Bucket,
}

/// What hardly any connection has: hence the box.
#[derive(Default)]
struct Rare {
    /// The large message of which a part has come.
    large: Option<Large>,
    unread: Option<Unread>,
    /// How many bytes have been read while the client is slowed.
    while_slowed: usize,
}

/// Why nothing is read from the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// The session is not ready.
    Session,
    /// The client does not read what the session answered.
    Output,
    /// The client has sent more bytes than it may.
    Bytes,
}

/// How a turn ended.
enum Turn {
    /// There is more to do at once.
    More,
    /// All wakers are set.
    Waiting,
}

/// What was given to the connection to write.
#[derive(Default)]
struct Written {
    frames: u64,
    bytes: u64,
}

impl Written {
    fn add(&mut self, frame: &Frame) {
        self.frames += 1;
        self.bytes += frame.len() as u64;
    }

    fn count(self, counters: &Counters) {
        if self.frames > 0 {
            counters.frames_written.add(self.frames);
            counters.bytes_written.add(self.bytes);
        }
    }
}

impl<C: Connection, S: Session> Drive<C, S> {
    /// One turn, counted as a whole: the counters are everybody's.
    fn take_turn(&mut self, cx: &mut Context<'_>, entered: &Entered) -> Result<Turn, End> {
        let counters = entered.counters();
        let (was_stuck, mut written) = (self.is_stuck(), Written::default());
        let was_slowed = self.is_slowed();
        let turn = self.poll_turn(cx, &mut written);
        written.count(counters);
        if self.is_slowed() && !was_slowed {
            counters.slowed_inbound.add_one();
        }
        match (was_stuck, self.is_stuck()) {
            (false, true) => counters.blocked.add_one(),
            (true, false) => counters.unblocked.add_one(),
            _ => {}
        }
        self.follow(cx, entered);
        turn
    }

    /// Whether the last turn could not write all that it had.
    fn is_stuck(&self) -> bool {
        self.blocked || self.unflushed
    }

    fn is_slowed(&self) -> bool {
        self.held == Some(Hold::Bytes)
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, written: &mut Written) -> Result<Turn, End> {
        // Each way has its own share, so that neither a full outbox nor a talkative client shuts the other out.
        let (mut outgoing, mut incoming) = (TURN_ITEMS, TURN_ITEMS);
        self.write_out(cx, &mut outgoing, written)?;
        self.read_in(cx, &mut incoming)?;
        // All wakers are set, and asking again would cost as much as what was done. Only what the session answered is still
        // to leave, and then there may be room for more of it.
        while outgoing > 0 && incoming > 0 && !self.output.is_empty() && !self.blocked {
            self.write_out(cx, &mut outgoing, written)?;
            if self.held.is_some() {
                self.read_in(cx, &mut incoming)?;
            }
        }
        let is_more = self.flush(cx)?;
        if outgoing == 0 || incoming == 0 || is_more {
            return Ok(Turn::More);
        }
        self.output.release();
        if incoming < TURN_ITEMS {
            // Not at each turn, or a client that is sent much would pay for it: even one that does nothing sends a heartbeat.
            self.inbox.release();
        }
        Ok(Turn::Waiting)
    }

    /// Writes out in one go what the turn fed, however many frames. Tells whether the connection may take frames again which took
    /// none before: the outbox believes it blocked then and wakes nobody, so the turn has to look at it once more. Or whether the
    /// session was told something meanwhile.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.unflushed {
            return Ok(false);
        }
        if self.connection.poll_flush_unpin(cx)?.is_pending() {
            return self.take_urgent(cx);
        }
        self.unflushed = false;
        Ok(self.blocked)
    }

    /// Feeds what the session and the outbox want written, as far as the connection takes it.
    fn write_out(
        &mut self,
        cx: &mut Context<'_>,
        budget: &mut usize,
        written: &mut Written,
    ) -> Result<(), End> {
        while *budget > 0 {
            if self.connection.poll_ready_unpin(cx)?.is_pending() {
                self.block();
                return self.check_outbox(cx, budget);
            }
            self.blocked = false;
            let frame = match self.output.take() {
                Some(frame) => Some(frame),
                None => match self.next_item(cx)? {
                    Some(item) => self.take(item)?,
                    None => return Ok(()),
                },
            };
            *budget -= 1;
            if let Some(frame) = frame {
                written.add(&frame);
                self.send(frame)?;
                self.unflushed = true;
                if self.held.is_some() {
                    self.heard = Instant::now();
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, frame: Frame) -> Result<(), End> {
        let bytes = frame.len();
        if bytes > LARGE_FRAME_BYTES {
            let unread = &mut self.rare.get_or_insert_default().unread;
            unread.get_or_insert_default().send(&frame);
        } else if let Some(rare) = &mut self.rare
            && let Some(unread) = &mut rare.unread
        {
            unread.send(&frame);
        }
        let sent = self.connection.start_send_unpin(Outgoing::Frame(frame));
        sent.map_err(|error| match error {
            WriteError::TooBig => End::Breach(Breach::Unwritable { bytes: Some(bytes) }),
            error => error.into(),
        })
    }

    /// From here on it is the client that holds things up, whatever else does.
    fn block(&mut self) {
        if !self.blocked && self.held.is_some() {
            self.heard = Instant::now();
        }
        self.blocked = true;
    }

    /// The next thing from the outbox, if there is one.
    fn next_item(&mut self, cx: &mut Context<'_>) -> Result<Option<Item<S::Mail>>, End> {
        match self.inbox.poll_recv(cx) {
            Poll::Ready(item) => Ok(Some(item?)),
            Poll::Pending => Ok(None),
        }
    }

    /// While the connection takes nothing, the outbox may fill up, or hold mails that wait for no frame, or the order to close. None of
    /// them must have to wait for the client. At the order what stands before it goes on to the output, as nothing can follow it.
    fn check_outbox(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        while *budget > 0 && self.take_urgent(cx)? {
            *budget -= 1;
        }
        if !self.inbox.is_closed() {
            return Ok(());
        }
        while *budget > 0 {
            let Some(item) = self.next_item(cx)? else {
                return Ok(());
            };
            if let Some(frame) = self.take(item)? {
                self.output.frame(frame);
            }
            *budget -= 1;
        }
        Ok(())
    }

    /// Tells the session what waits for no frame, if there is something. An answer to it may wait here, but only while not much does:
    /// the client takes nothing now, and may go on like that.
    fn take_urgent(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Poll::Ready(mail) = self.inbox.poll_urgent(cx) else {
            return Ok(false);
        };
        let (was_crowded, before) = (self.output.is_crowded(), self.output.count());
        self.take(Item::Mail(mail?))?;
        match was_crowded && self.output.count() > before {
            true => Err(End::Breach(Breach::Slow)),
            false => Ok(true),
        }
    }

    /// Does what an item of the outbox asks for, if that is more than to write a frame.
    fn take(&mut self, item: Item<S::Mail>) -> Result<Option<Frame>, End> {
        match item {
            Item::Frame(frame) => Ok(Some(frame)),
            Item::Mail(mail) => {
                guarded(|| self.session.handle_mail(mail, &mut self.output))??;
                Ok(None)
            }
            Item::Close(close) => Err(End::Closed(close)),
        }
    }

    /// Hands frames to the session while it takes them and its answers can leave.
    fn read_in(&mut self, cx: &mut Context<'_>, budget: &mut usize) -> Result<(), End> {
        while *budget > 0 {
            let hold = self.poll_hold(cx)?;
            if hold.is_none() != self.held.is_none() {
                // Until now the client could be heard, or from now on it can be.
                self.heard = Instant::now();
            }
            self.held = hold;
            let next = match hold {
                None => self.connection.poll_next_unpin(cx),
                Some(Hold::Bytes) if self.poll_session(cx)?.is_none() => self.poll_slowed(cx),
                Some(_) => return Ok(()),
            };
            self.hear_small()?;
            match next {
                Poll::Ready(Some(Ok(frame))) => {
                    self.end_large();
                    self.hear(frame)?;
                }
                Poll::Ready(Some(Err(error))) => return Err(error.into()),
                Poll::Ready(None) => return Err(End::Lost),
                Poll::Pending => return Ok(()),
            }
            *budget -= 1;
        }
        Ok(())
    }

    /// What came with the message that was too much, so that the connection need not keep what it was read into. Then what is small: a
    /// heartbeat waits for no upload that is over, and a close is seen.
    fn poll_slowed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ReadError>>> {
        if let Some(next) = self.connection.next_read() {
            return Poll::Ready(Some(next));
        }
        let read = self.rare.as_ref().map_or(0, |rare| rare.while_slowed);
        match read < SMALL_WHILE_SLOWED_BYTES {
            true => self.connection.poll_small(cx),
            false => Poll::Pending,
        }
    }

    /// Counts what is large, on either way, and not whole.
    fn follow(&mut self, cx: &Context<'_>, entered: &Entered) {
        self.follow_unfinished(cx, entered);
        self.follow_unread(cx, entered);
        if let Some(rare) = &self.rare
            && rare.large.is_none()
            && rare.unread.is_none()
            && !self.is_slowed()
        {
            self.rare = None;
        }
    }

    /// Counts what has come of a message that is not whole, if that is much.
    fn follow_unfinished(&mut self, cx: &Context<'_>, entered: &Entered) {
        let bytes = self.connection.unfinished_bytes();
        if bytes > SMALL_MESSAGE_BYTES {
            let begin = || Large::begin(entered.begin_large(cx.waker()), entered.unhandled());
            let large = &mut self.rare.get_or_insert_default().large;
            large.get_or_insert_with(begin).message.grow_to(bytes);
        }
        let is_kept_waiting = self.is_kept_waiting();
        if let Some(rare) = &mut self.rare
            && let Some(large) = &mut rare.large
        {
            large.keep_waiting(is_kept_waiting);
        }
    }

    /// Counts what waits for the client to read it, if that is much.
    fn follow_unread(&mut self, cx: &Context<'_>, entered: &Entered) {
        let left = Left::of(&self.connection);
        let is_much = left.is_much() || self.inbox.has_much() || self.output.has_large();
        if !is_much && self.rare.is_none() {
            return;
        }
        let unread = &mut self.rare.get_or_insert_default().unread;
        let follows = is_much && {
            let unread = unread.get_or_insert_default();
            unread.follow(left, &self.output, &self.inbox, entered, cx)
        };
        if !follows {
            *unread = None;
        }
    }

    /// A large message is whole.
    fn end_large(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.large = None;
        }
    }

    fn large(&self) -> Option<&Large> {
        self.rare.as_ref()?.large.as_ref()
    }

    /// What has to give way to others of its kind.
    fn gives_way(&self) -> Option<Breach> {
        let rare = self.rare.as_ref()?;
        if let Some(large) = &rare.large
            && large.message.gives_way()
        {
            return Some(Breach::GaveWay);
        }
        let unread = rare.unread.as_ref()?;
        unread.gives_way().then_some(Breach::Unread)
    }

    /// Whether it is us for whom nothing is read, and not a client that reads nothing itself.
    fn is_kept_waiting(&self) -> bool {
        matches!(self.held, Some(Hold::Session | Hold::Bytes)) && !self.blocked
    }

    /// Until when nothing is read from a client that has sent too many bytes.
    fn slowed_until(&self, now: Instant) -> Option<Instant> {
        let rate = self.inbound_bytes?;
        let owed = self.bytes.owed(rate, now.into_std());
        (owed > Duration::ZERO).then(|| now + owed)
    }

    /// What has come counts, and what there was too much of has to be made up for before the next is read.
    fn charge(&mut self, bytes: usize) {
        let Some(rate) = self.inbound_bytes else {
            return;
        };
        let (now, was_slowed) = (Instant::now(), self.is_slowed());
        let longest = LONGEST_SLOWED.min(self.times.idle() / 2);
        self.bytes.owe(rate, bytes, longest, now.into_std());
        if let Some(until) = self.slowed_until(now) {
            (self.held, self.heard) = (Some(Hold::Bytes), now);
            self.connection.slow_until(until);
            let read = &mut self.rare.get_or_insert_default().while_slowed;
            *read = if was_slowed { *read + bytes } else { 0 };
        }
    }

    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Result<Option<Hold>, End> {
        if self.is_slowed() && self.slowed_until(Instant::now()).is_some() {
            return Ok(Some(Hold::Bytes));
        }
        self.poll_session(cx)
    }

    /// Why the session takes nothing, if so.
    fn poll_session(&mut self, cx: &mut Context<'_>) -> Result<Option<Hold>, End> {
        if self.output.is_crowded() {
            return Ok(Some(Hold::Output));
        }
        let ready = guarded(|| self.session.poll_ready(cx))?;
        let is_ready = ready.is_ready() && self.poll_large(cx).is_ready();
        Ok((!is_ready).then_some(Hold::Session))
    }

    /// Whether more of a large message may be read.
    fn poll_large(&self, cx: &mut Context<'_>) -> Poll<()> {
        let bytes = self.connection.unfinished_bytes();
        match self.large() {
            Some(large) => large.poll_room(bytes, cx),
            None => Poll::Ready(()),
        }
    }

    /// Frames that are no message take from what messages may.
    fn hear_small(&mut self) -> Result<(), End> {
        let small = self.connection.take_small_frames();
        match self.inbound {
            Some(rate) if small > 0 => {
                let now = Instant::now().into_std();
                let fits = (0..small).all(|_| self.bucket.take(rate, now));
                fits.then_some(()).ok_or(End::Breach(Breach::Inbound))
            }
            _ => Ok(()),
        }
    }

    fn hear(&mut self, frame: Frame) -> Result<(), End> {
        if self.connection.last_byte().is_none() {
            self.heard = Instant::now();
        }
        if let Some(rate) = self.inbound
            && !self.bucket.take(rate, Instant::now().into_std())
        {
            guarded(|| self.session.refuse_in(frame, &mut self.output))?;
            return Err(End::Breach(Breach::Inbound));
        }
        self.charge(frame.len());
        guarded(|| self.session.handle_in(frame, &mut self.output))??;
        Ok(())
    }
}

/// Calls the session, whose panic is its own end and nobody else's.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, End> {
    call_session(call).map_err(|Panicked| End::Crashed)
}
