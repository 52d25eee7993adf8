//! The codec of WebSockets over a stream that is polled.

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{
        CloseFrame, Role, WebSocketConfig, WebSocketContext,
        frame::{Utf8Bytes, coding::OpCode},
    },
};

use super::boundary::Boundary;
use crate::{
    close::CloseCode,
    read_ahead::{READ_AHEAD_BYTES, ReadAhead},
};

/// A context that has had a larger message than this is replaced when nothing is in it: its buffers never shrink, and it would keep
/// them for as long as its connection lives.
const KEPT_BYTES: usize = 64 * 1024;

/// The bit of a header's first byte that says that nothing more comes of the message.
const FINAL: u8 = 0x80;

/// In place of a length: it comes in the next eight bytes.
const LONG: u8 = 127;

/// How many frames that are no message are read in a turn, before others get theirs.
const SMALL_AT_ONCE: u16 = 64;

/// How much is read of one message before its owner looks whether it is to be read on, and others get their turn.
const READ_AT_ONCE: usize = 256 * 1024;

/// Frames in and out of a byte stream, all by one task.
///
/// `tokio_tungstenite` lets a reader and a writer be two tasks, and for that keeps two wakers on the heap which each read, each write and
/// each wake-up goes through. Here whoever polls is who is woken.
#[derive(Debug)]
pub(super) struct Codec<T> {
    stream: ReadAhead<T>,
    context: WebSocketContext,
    /// What has been handed to the context.
    read: Boundary,
    /// The largest message that the context has had a buffer for. Half a word, since every idle connection pays for it.
    largest: u32,
    /// What waits to be written behind all that was collected before. Nothing is collected behind it, but answers to the client's
    /// ping, which our owner flushes before it reads on, and to its close. Boxed, since hardly any connection has one.
    large: Option<Box<Large>>,
    /// Whether more waits than is to be collected before it is written.
    is_full: bool,
    /// Whether something waits to be written. The answer to a ping does not count: our owner flushes it before it reads on.
    is_unwritten: bool,
    /// Whether nothing more can be read.
    ended: bool,
}

/// A large frame on its way out. It is not copied into the context's buffer, so one that goes to many clients is in memory once,
/// however slowly they read.
#[derive(Debug)]
struct Large {
    header: [u8; LARGE_HEADER_BYTES],
    payload: Bytes,
    /// How much of both has been written.
    written: usize,
}

/// Two bytes, and a length that needs eight.
const LARGE_HEADER_BYTES: usize = 10;

impl Large {
    /// A whole message in one frame, without a mask as servers send it.
    fn new(opcode: OpCode, payload: Bytes) -> Self {
        let mut header = [0; LARGE_HEADER_BYTES];
        header[0] = FINAL | u8::from(opcode);
        header[1] = LONG;
        header[2..].copy_from_slice(&(payload.len() as u64).to_be_bytes());
        Self {
            header,
            payload,
            written: 0,
        }
    }

    fn has_begun(&self) -> bool {
        self.written > 0
    }

    /// How many bytes of its content are to be written.
    fn left(&self) -> usize {
        let written = self.written.saturating_sub(self.header.len());
        self.payload.len() - written
    }

    /// What is to be written next; nothing when all is.
    fn next(&self) -> &[u8] {
        match self.written.checked_sub(self.header.len()) {
            None => &self.header[self.written..],
            Some(written) => &self.payload[written..],
        }
    }
}

/// What a turn may read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// How many small frames had come when it began.
    small: u16,
    /// Whether it ends at a message that is not small.
    only_small: bool,
}

impl Mark {
    /// The same, but no message that is not small, nor what stands behind one.
    pub(super) fn only_small(self) -> Self {
        Self {
            only_small: true,
            ..self
        }
    }

    /// Whether the turn has had its share.
    fn is_over(self, read: &Boundary) -> bool {
        read.small().wrapping_sub(self.small) >= SMALL_AT_ONCE
    }

    /// Whether what comes next is not for it.
    fn is_stopped(self, read: &Boundary) -> bool {
        self.only_small && read.has_large()
    }
}

impl<T> Codec<T> {
    /// The server's end.
    pub(super) fn new(stream: T, config: WebSocketConfig) -> Self {
        Self {
            stream: ReadAhead::new(stream),
            context: WebSocketContext::new(Role::Server, Some(config)),
            read: Boundary::default(),
            largest: 0,
            large: None,
            is_full: false,
            is_unwritten: false,
            ended: false,
        }
    }

    /// The largest message that its buffers have held, in bytes. A smaller one may be part of a buffer as large.
    pub(super) fn largest(&self) -> usize {
        self.largest as usize
    }

    fn note_size(&mut self, bytes: usize) {
        self.largest = self.largest.max(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Whether nothing that has come is in the context.
    fn is_vacant(&self) -> bool {
        self.read.is_between() && !self.read.has_whole()
    }

    /// Gives large buffers back if nothing is in them.
    fn slim(&mut self) {
        let is_empty = self.is_vacant() && !self.is_unwritten;
        // What is not open holds also how far its closing handshake is.
        if self.largest() > KEPT_BYTES && is_empty && self.context.can_write() {
            self.context = WebSocketContext::new(Role::Server, Some(*self.context.get_config()));
            self.largest = 0;
        }
    }

    /// How many bytes it holds of a message that is not whole.
    pub(super) fn unfinished(&self) -> usize {
        self.read.unfinished()
    }

    /// How many bytes of a large frame are not written yet.
    pub(super) fn unwritten(&self) -> usize {
        self.large.as_ref().map_or(0, |large| large.left())
    }

    /// Where the [small frames](Boundary::small) of a turn begin.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            small: self.read.small(),
            only_small: false,
        }
    }

    /// How many of them have come since somebody last asked.
    pub(super) fn take_small_frames(&mut self) -> u32 {
        self.read.take_small().into()
    }

    /// Whether it holds so much of a message that its client's part in the closing handshake is not waited for: that would come behind
    /// the rest.
    pub(super) fn is_laden(&self) -> bool {
        self.unfinished() > KEPT_BYTES
    }

    /// Nothing more is read or written: what it holds is let go of.
    pub(super) fn let_go(&mut self) {
        self.large = None;
        if self.largest().max(self.unfinished()) > KEPT_BYTES {
            self.context = WebSocketContext::new(Role::Server, Some(*self.context.get_config()));
        }
    }

    pub(super) fn stream(&self) -> &ReadAhead<T> {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut ReadAhead<T> {
        &mut self.stream
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Codec<T> {
    /// The next message of a turn. After an error, and after the client's close frame, there is none.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        mark: Mark,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut room = [MaybeUninit::uninit(); READ_AHEAD_BYTES];
        let mut first = ReadBuf::uninit(&mut room);
        if self.is_vacant()
            && !mark.is_over(&self.read)
            && let Err(error) = ready!(self.poll_first(cx, &mut first))
        {
            self.ended = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        let mut stream = Followed {
            first: first.filled(),
            stream: Polled(&mut self.stream, cx),
            boundary: &mut self.read,
            mark,
            left: READ_AT_ONCE,
        };
        let read = self.context.read(&mut stream);
        let (is_over, unused) = (stream.is_over(), stream.first.len());
        let come = first.filled();
        self.stream.put_back(&come[come.len() - unused..]);
        let next = self.take(read);
        if next.is_pending() && is_over {
            // The stream was not asked, and so wakes nobody.
            cx.waker().wake_by_ref();
        }
        next
    }

    /// Ready when something has come, and at the end. The context learns that nothing has only with a look into all of its buffers.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        first: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let come = self.stream.poll_first(cx, first);
        if come.is_pending() {
            self.slim();
        }
        come
    }

    /// The next message of what has been read from the stream already, if it is whole.
    pub(super) fn next_read(&mut self) -> Option<Result<Message, Error>> {
        if self.ended {
            return None;
        }
        if !self.read.has_whole() {
            self.slim();
            return None;
        }
        let read = self.context.read(&mut Later);
        match self.take(read) {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        }
    }

    /// Takes what the context has read.
    fn take(&mut self, read: Result<Message, Error>) -> Poll<Option<Result<Message, Error>>> {
        match read {
            Err(error) if is_pending(&error) => {
                self.slim();
                Poll::Pending
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Ok(Message::Pong(payload)) if self.read.is_close() => {
                self.ended = true;
                Poll::Ready(Some(self.answer_close(&payload)))
            }
            read => {
                match &read {
                    Ok(message) => {
                        self.read.take_whole();
                        self.note_size(message.len());
                    }
                    Err(_) => self.ended = true,
                }
                Poll::Ready(Some(read))
            }
        }
    }

    /// Reads the client's close frame, and collects the answer to it unless we closed first.
    fn answer_close(&mut self, payload: &[u8]) -> Result<Message, Error> {
        let frame = close_frame(payload)?;
        let answer = frame.as_ref().map(|frame| CloseFrame {
            code: CloseCode(frame.code.into()).answer().0.into(),
            reason: Utf8Bytes::default(),
        });
        // Nothing may come behind the answer, and nobody waits for it.
        self.large.take_if(|large| !large.has_begun());
        self.is_unwritten = true;
        match self.context.close(&mut Later, answer) {
            Err(error) if !is_pending(&error) => Err(error),
            _ => Ok(Message::Close(frame)),
        }
    }

    /// Ready when a message can be collected: what was too much has been written.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.is_full {
            true => self.poll_flush(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// Collects a message. It is written by the next flush, or when there is too much to collect more.
    pub(super) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        self.note_size(message.len());
        self.is_unwritten = true;
        match self.context.write(&mut Later, message) {
            Err(error) if is_pending(&error) => {
                self.is_full = true;
                Ok(())
            }
            sent => sent,
        }
    }

    /// As [`start_send`](Self::start_send), for a whole message of more than 65,535 bytes. Behind it nothing can be collected until it is written.
    pub(super) fn start_large(&mut self, opcode: OpCode, payload: Bytes) -> Result<(), Error> {
        if !self.context.can_write() {
            return Err(Error::AlreadyClosed);
        }
        self.large = Some(Box::new(Large::new(opcode, payload)));
        self.is_unwritten = true;
        self.is_full = true;
        Ok(())
    }

    /// Writes the large frame, if there is one, and before it all that was collected.
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(large) = &mut self.large else {
            return Poll::Ready(Ok(()));
        };
        if !large.has_begun() {
            match self.context.flush(&mut Polled(&mut self.stream, cx)) {
                Err(error) if is_pending(&error) => return Poll::Pending,
                flushed => flushed?,
            }
        }
        while !large.next().is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, large.next()))?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            large.written += written;
        }
        self.large = None;
        Poll::Ready(Ok(()))
    }

    /// Writes all that was collected. The end of the connection is no error here.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_large(cx))?;
        let flushed = self.context.flush(&mut Polled(&mut self.stream, cx));
        self.poll_written(flushed)
    }

    /// Closes the connection, if neither side has, and writes all that was collected.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_large(cx))?;
        let closed = self.context.close(&mut Polled(&mut self.stream, cx), None);
        self.poll_written(closed)
    }

    fn poll_written(&mut self, written: Result<(), Error>) -> Poll<Result<(), Error>> {
        if written.as_ref().is_err_and(is_pending) {
            return Poll::Pending;
        }
        self.is_full = false;
        self.is_unwritten = false;
        match written {
            Ok(()) => self.slim(),
            Err(Error::ConnectionClosed) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }
}

/// A stream for as long as a task polls it. What has to wait fails with `WouldBlock`, and the task is woken.
struct Polled<'a, 'b, T>(&'a mut T, &'a mut Context<'b>);

impl<T: AsyncRead + Unpin> Read for Polled<'_, '_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        at_once(Pin::new(&mut *self.0).poll_read(self.1, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl<T: AsyncWrite + Unpin> Write for Polled<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(Pin::new(&mut *self.0).poll_write(self.1, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        at_once(Pin::new(&mut *self.0).poll_flush(self.1))
    }
}

/// As that, and what is read is followed.
struct Followed<'a, 'b, T> {
    /// What has been read of the stream already.
    first: &'a [u8],
    stream: Polled<'a, 'b, T>,
    boundary: &'a mut Boundary,
    mark: Mark,
    /// How much may be read yet.
    left: usize,
}

impl<T> Followed<'_, '_, T> {
    fn is_over(&self) -> bool {
        self.left == 0 || self.mark.is_over(self.boundary)
    }
}

impl<T: AsyncRead + Unpin> Read for Followed<'_, '_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over() || self.mark.is_stopped(self.boundary) {
            return at_once(Poll::Pending);
        }
        let count = match self.first {
            [] => self.stream.read(buffer)?,
            _ => self.first.read(buffer)?,
        };
        self.left = self.left.saturating_sub(count);
        self.boundary.pass(&mut buffer[..count]);
        Ok(count)
    }
}

impl<T: AsyncWrite + Unpin> Write for Followed<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Instead of a stream where there is no task to be woken: everything has to wait.
struct Later;

impl Read for Later {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        at_once(Poll::Pending)
    }
}

impl Write for Later {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        at_once(Poll::Pending)
    }

    fn flush(&mut self) -> io::Result<()> {
        at_once(Poll::Pending)
    }
}

/// What a client says that closes: nothing, or a code and a reason.
fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame>, Error> {
    match payload.split_first_chunk() {
        Some((&code, reason)) => Ok(Some(CloseFrame {
            code: u16::from_be_bytes(code).into(),
            reason: Utf8Bytes::try_from(reason.to_vec())?,
        })),
        None if payload.is_empty() => Ok(None),
        None => Err(Error::Protocol(ProtocolError::InvalidCloseSequence)),
    }
}

fn at_once<R>(polled: Poll<io::Result<R>>) -> io::Result<R> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn is_pending(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}
