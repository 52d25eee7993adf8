//! Sessions without a network: a client end and a connection in one process, with a bounded channel each way.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytestring::ByteString;
use futures::{Sink, SinkExt, Stream, StreamExt, channel::mpsc};

use crate::{
    admission::admit,
    close::CloseCode,
    connect::{ConnectInfo, Rejection},
    connections::Connections,
    frame::Frame,
    limits::Limits,
    session::Handler,
    transport::{Connection, Outgoing, ReadError, WriteError},
};

/// How many frames wait between the two ends, each way, before the writer has to wait: 16.
pub const DEFAULT_CAPACITY_FRAMES: usize = 16;

/// Name of this carrier in [`ConnectInfo`].
pub const NAME: &str = "memory";

/// Serves clients of this process by a handler: the in-memory counterpart of [`HttpService`](crate::HttpService).
///
/// Connections are driven by the same loop as those over the network, with the same limits.
#[derive(Clone, Debug)]
#[must_use]
pub struct MemoryService<H> {
    handler: H,
    limits: Limits,
    capacity: usize,
    connections: Connections,
}

impl<H: Handler> MemoryService<H> {
    /// Serves by this handler, with default limits.
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            limits: Limits::default(),
            capacity: DEFAULT_CAPACITY_FRAMES,
            connections: Connections::new(),
        }
    }

    /// Sets the limits of each connection.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the set that its connections are counted in.
    pub fn with_connections(mut self, connections: &Connections) -> Self {
        self.connections = connections.clone();
        self
    }

    /// Sets how many frames wait between the two ends each way; default [`DEFAULT_CAPACITY_FRAMES`].
    pub fn with_capacity(mut self, frames: usize) -> Self {
        self.capacity = frames;
        self
    }

    /// Every open connection of this service.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Connects a client and drives its session in a task of the current tokio runtime.
    ///
    /// # Errors
    /// [`Rejection`] as the client of an HTTP carrier would see it.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, no client is connected, though the handler may have been asked.
    pub async fn connect(&self, info: ConnectInfo) -> Result<Client, Rejection> {
        let client = info.peer_addr;
        let admitted = admit(
            &self.handler,
            info,
            client,
            &self.limits,
            usize::MAX,
            &self.connections,
        )
        .await?;
        let (connection, client) = pair(self.capacity);
        tokio::spawn(admitted.drive(connection));
        Ok(client)
    }
}

/// A connected pair: what a [`Transport`](crate::Transport) hands out, and the client's end.
pub fn pair(capacity_frames: usize) -> (MemoryConnection, Client) {
    let (to_server, from_client) = mpsc::channel(capacity_frames);
    let (to_client, from_server) = mpsc::channel(capacity_frames);
    let connection = MemoryConnection {
        incoming: from_client,
        outgoing: to_client,
    };
    (
        connection,
        Client {
            outgoing: to_server,
            incoming: from_server,
        },
    )
}

/// The client's end. Dropping it is a network that drops.
#[derive(Debug)]
pub struct Client {
    outgoing: mpsc::Sender<FromClient>,
    incoming: mpsc::Receiver<Outgoing>,
}

impl Client {
    /// Sends a frame, waiting while the server does not read.
    ///
    /// # Errors
    /// `BrokenPipe` if the connection has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the frame is not sent.
    pub async fn send(&mut self, frame: Frame) -> io::Result<()> {
        self.outgoing
            .feed(FromClient::Frame(frame))
            .await
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends a text frame; see [`send`](Self::send).
    ///
    /// # Errors
    /// `BrokenPipe` if the connection has ended.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_text(&mut self, text: impl Into<ByteString>) -> io::Result<()> {
        self.send(Frame::text(text)).await
    }

    /// The next thing the server wrote; none when the connection has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Outgoing> {
        self.incoming.next().await
    }

    /// The next frame the server wrote; none when it closed.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn recv_frame(&mut self) -> Option<Frame> {
        match self.recv().await {
            Some(Outgoing::Frame(frame)) => Some(frame),
            Some(Outgoing::Close(_)) | None => None,
        }
    }

    /// Closes with a code, as a client does that says goodbye, once there is room for it. What the server has written can still be read.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the connection is not closed, and may be used on.
    pub async fn close(&mut self, code: Option<CloseCode>) {
        // Failing means that the other end is gone already.
        let _ = self.outgoing.feed(FromClient::Close(code)).await;
        self.outgoing.close_channel();
    }
}

#[derive(Debug)]
enum FromClient {
    Frame(Frame),
    Close(Option<CloseCode>),
}

/// The server's end, a [`Connection`].
#[derive(Debug)]
pub struct MemoryConnection {
    incoming: mpsc::Receiver<FromClient>,
    outgoing: mpsc::Sender<Outgoing>,
}

impl Connection for MemoryConnection {}

impl Stream for MemoryConnection {
    type Item = Result<Frame, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(
            ready!(self.incoming.poll_next_unpin(cx)).map(|item| match item {
                FromClient::Frame(frame) => Ok(frame),
                FromClient::Close(code) => Err(ReadError::Closed(code)),
            }),
        )
    }
}

impl Sink<Outgoing> for MemoryConnection {
    type Error = WriteError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.outgoing.poll_ready(cx).map_err(write_error)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing) -> Result<(), WriteError> {
        self.outgoing.start_send(item).map_err(write_error)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.incoming.close();
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}

fn write_error(_: mpsc::SendError) -> WriteError {
    WriteError::Lost(io::ErrorKind::BrokenPipe.into())
}
