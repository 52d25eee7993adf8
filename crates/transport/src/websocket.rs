//! A WebSocket as a [`Connection`]: the codec, its limits, and the closing handshake.

mod boundary;
mod codec;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use bytestring::ByteString;
use futures::{Sink, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tungstenite::{
    Message,
    protocol::{
        CloseFrame, WebSocketConfig as CodecConfig,
        frame::{
            Frame as RawFrame, Utf8Bytes,
            coding::{Data, OpCode},
        },
    },
};

use crate::{
    close::{Close, CloseCode},
    frame::Frame,
    limits::MAX_MESSAGE_BYTES,
    outbox::LARGE_FRAME_BYTES,
    transport::{Connection, Outgoing, ReadError, WriteError},
};
use codec::{Codec, Mark};

/// Name of the WebSocket carrier in [`ConnectInfo`](crate::ConnectInfo), and its path below the mount.
pub const WEBSOCKET: &str = "websocket";

/// The largest frame the server can write: 64 MiB. A larger one closes its connection with 1011.
pub const MAX_OUTGOING_BYTES: usize = 64 * 1024 * 1024;

/// Messages up to this size are copied out of the buffer that they were read into, so that one that is kept for long does not keep
/// the buffer. So are those that are smaller than half of what the buffer may be.
const COPY_UP_TO_BYTES: usize = 1024;

/// Limits and buffers of one WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct WebSocketConfig {
    /// The largest message from a client, whether in one frame or in fragments; default 8,000,000 bytes. A larger
    /// one closes the connection with 1009.
    pub max_message_bytes: usize,
    /// What every open connection keeps for reading; default 128 bytes, since an idle client pays for it. A
    /// larger message gets a buffer of its size, which the connection keeps if it is no larger than 64 KiB and else gives back
    /// when nothing is in it. (From the network more is read at a time, whatever this is.)
    pub read_buffer_bytes: usize,
    /// How much is collected before it is written, if no flush comes first; default 4 KiB.
    pub write_buffer_bytes: usize,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: MAX_MESSAGE_BYTES,
            read_buffer_bytes: 128,
            write_buffer_bytes: 4 * 1024,
        }
    }
}

impl WebSocketConfig {
    /// Sets [`max_message_bytes`](Self::max_message_bytes).
    pub fn with_max_message_bytes(mut self, max_message_bytes: usize) -> Self {
        self.max_message_bytes = max_message_bytes;
        self
    }

    /// Sets [`read_buffer_bytes`](Self::read_buffer_bytes).
    pub fn with_read_buffer_bytes(mut self, read_buffer_bytes: usize) -> Self {
        self.read_buffer_bytes = read_buffer_bytes;
        self
    }

    /// Sets [`write_buffer_bytes`](Self::write_buffer_bytes).
    pub fn with_write_buffer_bytes(mut self, write_buffer_bytes: usize) -> Self {
        self.write_buffer_bytes = write_buffer_bytes;
        self
    }
}

/// A frame has eight bytes for the length of what is large.
const _: () = assert!(LARGE_FRAME_BYTES > u16::MAX as usize);

/// The server's end of a WebSocket over any byte stream whose upgrade is done. One task reads and writes it: of two, one might not
/// be woken.
#[derive(Debug)]
pub struct WebSocket<T> {
    codec: Codec<T>,
    state: State,
    /// Nothing is read until the last ping's answer has left, or a client that pings and never reads would fill the
    /// codec's write buffer.
    answering_ping: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The codec has read something it cannot go on from, or much of a message that is not whole. The client may still be sending.
    Broken,
    /// Our side of the stream is shut; what the client still sends is thrown away.
    Draining,
}

impl<T: AsyncRead + AsyncWrite + Unpin> WebSocket<T> {
    /// Takes over a stream right after the response to the upgrade request.
    pub fn accept(stream: T, config: &WebSocketConfig) -> Self {
        let codec_config = CodecConfig::default()
            .read_buffer_size(config.read_buffer_bytes)
            .write_buffer_size(config.write_buffer_bytes)
            .max_write_buffer_size(config.write_buffer_bytes.saturating_add(MAX_OUTGOING_BYTES))
            .max_message_size(Some(config.max_message_bytes))
            .max_frame_size(Some(config.max_message_bytes));
        Self {
            codec: Codec::new(stream, codec_config),
            state: State::Open,
            answering_ping: false,
        }
    }

    /// Whether a message of so many bytes is copied.
    fn is_copied(&self, len: usize) -> bool {
        // A small message behind a large one may lie in the same buffer, and would keep all of it.
        len <= COPY_UP_TO_BYTES || len < self.codec.largest() / 2
    }

    fn text(&self, text: Utf8Bytes) -> Result<Frame, ReadError> {
        if self.is_copied(text.len()) {
            return Ok(Frame::Text(ByteString::from(text.as_str())));
        }
        ByteString::try_from(Bytes::from(text))
            .map(Frame::Text)
            .map_err(|_| ReadError::NotUtf8)
    }

    fn binary(&self, bytes: Bytes) -> Frame {
        match self.is_copied(bytes.len()) {
            true => Frame::Binary(Bytes::copy_from_slice(&bytes)),
            false => Frame::Binary(bytes),
        }
    }

    /// What was read, if it is more than a sign of life.
    fn item(
        &mut self,
        read: Result<Message, tungstenite::Error>,
    ) -> Option<Result<Frame, ReadError>> {
        Some(match read {
            Ok(Message::Text(text)) => self.text(text),
            Ok(Message::Binary(bytes)) => Ok(self.binary(bytes)),
            // The codec has queued the answer, as it does for a ping.
            Ok(Message::Close(frame)) => Err(ReadError::Closed(
                frame.map(|frame| CloseCode(frame.code.into())),
            )),
            Ok(Message::Ping(_)) => {
                self.answering_ping = true;
                return None;
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => return None,
            Err(error) => {
                self.state = State::Broken;
                Err(read_error(error))
            }
        })
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        mark: Mark,
    ) -> Poll<Option<Result<Frame, ReadError>>> {
        loop {
            if self.answering_ping {
                // An error here shows again as the end of the stream.
                let _ = ready!(self.codec.poll_flush(cx));
                self.answering_ping = false;
            }
            let Some(read) = ready!(self.codec.poll_next(cx, mark)) else {
                return Poll::Ready(None);
            };
            if let Some(item) = self.item(read) {
                return Poll::Ready(Some(item));
            }
        }
    }

    /// Reads on until the client's part of the closing handshake, or until the codec gives up. Nothing large is collected before it.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mark = self.codec.mark();
        loop {
            match self.codec.poll_next(cx, mark) {
                Poll::Ready(Some(Ok(_ignored))) => {}
                Poll::Pending if !self.codec.is_laden() => return Poll::Pending,
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Throws away what still comes: a stream closed with unread bytes is reset, and the reset may overtake the
    /// close frame.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(self.codec.stream_mut()).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<T> {
    type Item = Result<Frame, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mark = self.codec.mark();
        self.poll_frame(cx, mark)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Sink<Outgoing> for WebSocket<T> {
    type Error = WriteError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.codec.poll_ready(cx).map_err(write_error)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing) -> Result<(), WriteError> {
        let sent = match item {
            Outgoing::Frame(frame) if frame.len() > MAX_OUTGOING_BYTES => {
                return Err(WriteError::TooBig);
            }
            Outgoing::Frame(frame) if frame.len() > LARGE_FRAME_BYTES => {
                let (opcode, payload) = parts(frame);
                self.codec.start_large(opcode, payload)
            }
            Outgoing::Frame(frame) => self.codec.start_send(message(frame)),
            Outgoing::Close(close) => {
                let message = Message::Close(Some(close_frame(&close)));
                self.codec.start_send(message)
            }
        };
        sent.map_err(write_error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.codec.poll_flush(cx).map_err(write_error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        if self.state == State::Open && self.codec.is_laden() {
            self.state = State::Broken;
        }
        if self.state == State::Open {
            // Also sends our half if nobody did.
            ready!(self.codec.poll_close(cx)).map_err(write_error)?;
            ready!(self.poll_answer(cx));
        } else if self.state == State::Broken {
            ready!(self.codec.poll_close(cx)).map_err(write_error)?;
        }
        if self.state != State::Draining {
            ready!(Pin::new(self.codec.stream_mut()).poll_shutdown(cx))?;
            self.state = State::Draining;
            self.codec.let_go();
        }
        ready!(self.poll_drain(cx));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for WebSocket<T> {
    fn last_byte(&self) -> Option<Instant> {
        Some(self.codec.stream().last_byte())
    }

    fn unfinished_bytes(&self) -> usize {
        self.codec.unfinished()
    }

    fn next_read(&mut self) -> Option<Result<Frame, ReadError>> {
        // The codec would forget the answer to a ping.
        while !self.answering_ping {
            let read = self.codec.next_read()?;
            let item = self.item(read);
            if item.is_some() {
                return item;
            }
        }
        None
    }

    fn poll_small(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ReadError>>> {
        let mark = self.codec.mark().only_small();
        self.poll_frame(cx, mark)
    }

    fn unwritten_bytes(&self) -> usize {
        self.codec.unwritten()
    }

    fn largest_frame(&self) -> usize {
        MAX_OUTGOING_BYTES
    }

    fn take_small_frames(&mut self) -> u32 {
        self.codec.take_small_frames()
    }
}

fn message(frame: Frame) -> Message {
    // A raw frame spares the codec from checking text that is known to be UTF-8.
    let (opcode, bytes) = parts(frame);
    Message::Frame(RawFrame::message(bytes, opcode, true))
}

fn parts(frame: Frame) -> (OpCode, Bytes) {
    match frame {
        Frame::Text(text) => (OpCode::Data(Data::Text), text.into_bytes()),
        Frame::Binary(bytes) => (OpCode::Data(Data::Binary), bytes),
    }
}

fn close_frame(close: &Close) -> CloseFrame {
    let close = close.clone().with_reason(close.reason.clone());
    CloseFrame {
        code: close.code.0.into(),
        reason: Utf8Bytes::from(&*close.reason),
    }
}

fn read_error(error: tungstenite::Error) -> ReadError {
    use tungstenite::{Error, error::ProtocolError};
    match error {
        Error::Io(error) => ReadError::Lost(error),
        Error::Capacity(_) => ReadError::TooBig,
        Error::Utf8(_) => ReadError::NotUtf8,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            ReadError::Lost(io::ErrorKind::ConnectionReset.into())
        }
        error => ReadError::Protocol(error.to_string()),
    }
}

fn write_error(error: tungstenite::Error) -> WriteError {
    match error {
        tungstenite::Error::Io(error) => WriteError::Lost(error),
        tungstenite::Error::WriteBufferFull(_) => WriteError::TooBig,
        error => WriteError::Lost(io::Error::new(io::ErrorKind::BrokenPipe, error)),
    }
}
