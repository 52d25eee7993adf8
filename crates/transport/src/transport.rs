//! What a carrier implements: a source of connections, each a stream and a sink of frames.

use std::{
    io,
    task::{Context, Poll},
};

use futures::{Sink, SinkExt, Stream};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::{
    admission::admit,
    close::{Close, CloseCode},
    connect::{ConnectInfo, Rejection},
    connections::Connections,
    frame::Frame,
    limits::Limits,
    session::Handler,
};

/// One client's connection, whatever carries it: frames in, frames out.
///
/// The contract with the loop that drives it:
///
/// * The stream yields whole frames in order. An error or `None` ends it; `None` means that the client is gone
///   without a goodbye.
/// * The sink's `poll_ready` is pending while much is unsent. That is how the outbox of a slow reader fills up, so a
///   connection must not buffer without bound. The loop feeds a batch and then flushes once. While `poll_ready` or
///   `poll_flush` is pending, what comes for the client brings the loop back no more: the waker that it left there must.
/// * [`Outgoing::Close`] is the last item. `poll_close` then ends the connection in order, waiting for the client's
///   part if the carrier has a closing handshake; the loop sets the time limit.
pub trait Connection:
    Stream<Item = Result<Frame, ReadError>>
    + Sink<Outgoing, Error = WriteError>
    + Unpin
    + Send
    + 'static
{
    /// When the last byte came from the client, for carriers that see bytes before the frame is whole (and signs of
    /// life that are no frames). Without it each frame counts when it is read.
    fn last_byte(&self) -> Option<Instant> {
        None
    }

    /// The next frame of what it has read from the network already, if there is one. It is asked for while nothing is read on, as the client has
    /// sent more than [`inbound_bytes`](crate::Limits::inbound_bytes) allows, and then may give back what it keeps for reading. Without
    /// it such a frame waits, for carriers that read no more than one ahead.
    fn next_read(&mut self) -> Option<Result<Frame, ReadError>> {
        None
    }

    /// The next frame from the network if that is small, as a heartbeat is, or the end, as by the stream. It is asked for as
    /// [`next_read`](Self::next_read) is, after that: who has sent something large is heard all the same. What is not small, and what stands behind it,
    /// must not be handed over, and read only as far as it takes to see that. Without it all waits.
    fn poll_small(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ReadError>>> {
        let _ = cx;
        Poll::Pending
    }

    /// Nothing else is read from the network until then. It is told each time that this is put off.
    fn slow_until(&mut self, until: Instant) {
        let _ = until;
    }

    /// How many bytes it holds of a message that is not whole yet. From 64 KiB on they count against
    /// [`max_unfinished_bytes`](crate::ConnectionLimits::max_unfinished_bytes), and the message has to be whole within
    /// [`message_timeout`](crate::Limits::message_timeout). Without it nothing counts, for carriers that have a bound of their own.
    fn unfinished_bytes(&self) -> usize {
        0
    }

    /// How many bytes it holds of large frames ([`LARGE_FRAME_BYTES`](crate::LARGE_FRAME_BYTES)) that it was given to write and that have not
    /// left. While it is not 0, they count against [`max_unread_bytes`](crate::ConnectionLimits::max_unread_bytes); while it gets less, the
    /// client reads. Without it only what waits for the connection counts.
    fn unwritten_bytes(&self) -> usize {
        0
    }

    /// How many bytes it holds of all that it was given to write and that its client has not read, for carriers that keep small frames as
    /// well: they count from 64 KiB on. Without it that is what is [unwritten](Self::unwritten_bytes).
    fn unread_bytes(&self) -> usize {
        self.unwritten_bytes()
    }

    /// How many frames came, since this was last asked, that are no message and cost something all the same, such as pings and tiny
    /// pieces of messages. They take from [`inbound`](crate::Limits::inbound) as messages do. The stream must not read them without
    /// end: after some it is pending, and wakes its task.
    fn take_small_frames(&mut self) -> u32 {
        0
    }

    /// The largest frame that it can write, in bytes, asked once. A broadcast that is larger passes the connection over; any other such
    /// frame ends it ([`WriteError::TooBig`]).
    fn largest_frame(&self) -> usize {
        usize::MAX
    }

    /// Whether [`last_byte`](Self::last_byte) moves on also while the loop reads nothing, since the client is heard by
    /// another way. The idle clock then never stands still.
    fn is_heard_apart(&self) -> bool {
        false
    }
}

/// What a connection is told to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A frame.
    Frame(Frame),
    /// The end, and what to tell the client.
    Close(Close),
}

/// Why no further frame comes. Frames before it were handed on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The client closed, with the code it gave.
    #[error("closed by the client")]
    Closed(Option<CloseCode>),
    /// A message over the limit. The connection is closed with 1009.
    #[error("message over the limit")]
    TooBig,
    /// A text frame that is not UTF-8. The connection is closed with 1007.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// The client broke the carrier's protocol. The connection is closed with 1002.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The network dropped.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
}

/// Why a connection can write no more. What was fed but not flushed may or may not have arrived.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A frame larger than the carrier can ever write. The connection is closed with 1011.
    #[error("frame too large to write")]
    TooBig,
    /// The network dropped, or the connection is already closed.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
}

/// A source of connections. WebSocket over HTTP and the in-memory carrier are built in; implement this to serve
/// sessions over a carrier of your own, such as lines over TCP.
pub trait Transport: Sized + Send + 'static {
    /// What it accepts.
    type Connection: Connection;

    /// Waits for the next client; `None` ends the service. A client that fails its handshake is no error of the
    /// service: skip it.
    ///
    /// # Errors
    /// One that ends the service, such as a listener that is gone.
    ///
    /// # Cancel safety
    /// Yours to say. [`serve`](Self::serve) drops the future only when it is dropped itself, and the carrier with it.
    fn accept(
        &mut self,
    ) -> impl Future<Output = io::Result<Option<(ConnectInfo, Self::Connection)>>> + Send;

    /// Serves every client that comes, each in a task of its own, with the default [`Limits`].
    ///
    /// # Errors
    /// What [`accept`](Self::accept) answers. Clients already connected stay.
    ///
    /// # Cancel safety
    /// As [`serve_with`](Self::serve_with).
    fn serve<H: Handler>(self, handler: H) -> impl Future<Output = io::Result<()>> + Send {
        self.serve_with(handler, Limits::default(), Connections::new())
    }

    /// Serves every client that comes, each in a task of its own, counted in `connections`.
    ///
    /// A client that the handler refuses is closed with 1008.
    ///
    /// # Errors
    /// What [`accept`](Self::accept) answers. Clients already connected stay.
    ///
    /// # Cancel safety
    /// Dropped, it accepts nobody else. Clients already connected stay, and end by `connections`; one that was in the middle of its handshake
    /// is lost.
    fn serve_with<H: Handler>(
        mut self,
        handler: H,
        limits: Limits,
        connections: Connections,
    ) -> impl Future<Output = io::Result<()>> + Send {
        async move {
            while let Some((info, connection)) = self.accept().await? {
                let (handler, limits, connections) =
                    (handler.clone(), limits.clone(), connections.clone());
                tokio::spawn(serve_one(handler, info, connection, limits, connections));
            }
            Ok(())
        }
    }
}

async fn serve_one<H: Handler, C: Connection>(
    handler: H,
    info: ConnectInfo,
    mut connection: C,
    limits: Limits,
    connections: Connections,
) {
    let client = info.peer_addr;
    let largest_frame = connection.largest_frame();
    let admitted = admit(&handler, info, client, &limits, largest_frame, &connections);
    match admitted.await {
        // A task of its own, so that what was needed to get here does not stay.
        Ok(admitted) => drop(tokio::spawn(admitted.drive(connection))),
        Err(not_admitted) => {
            let refused = Rejection::from(not_admitted);
            tracing::debug!(status = refused.status.as_u16(), "connection refused");
            let farewell = async {
                connection
                    .send(Outgoing::Close(Close::new(CloseCode::POLICY)))
                    .await?;
                connection.close().await
            };
            // Whether the client hears the refusal is its own affair.
            let _ = timeout(limits.close_timeout, farewell).await;
        }
    }
}
