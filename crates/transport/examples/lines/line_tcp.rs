//! A carrier of one's own: one message a line, over TCP.
//!
//! A client begins with a line of parameters, such as `vsn=2.0.0&user=al`. From then on each line, either way, is one message. When the
//! server closes, its last line is `close` and the code. Texts are JSON, so an end of line in one is written as a space; frames of bytes have no
//! place on this carrier, and pass it over.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Sink, Stream};
use matryoshka_transport::{
    ConnectInfo, Connection, Frame, Outgoing, Params, ReadError, Transport, WriteError,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// The longest line from a client.
const MAX_LINE_BYTES: usize = 1_000_000;

/// From how many unsent bytes on nothing more is taken.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// How long a client may take for its line of parameters, and how many may be at it.
const HELLO_TIME: Duration = Duration::from_secs(15);
const MAX_HELLOS: usize = 1_000;

/// How long nobody is accepted after one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts clients, each of which says its parameters without holding up the others.
pub(crate) struct LineTcp {
    addr: SocketAddr,
    ready: mpsc::Receiver<(ConnectInfo, Lines)>,
    listening: JoinHandle<()>,
}

impl LineTcp {
    pub(crate) async fn bind(addr: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (give, ready) = mpsc::channel(16);
        let listening = tokio::spawn(listen(listener, give));
        Ok(Self {
            addr,
            ready,
            listening,
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for LineTcp {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Transport for LineTcp {
    type Connection = Lines;

    async fn accept(&mut self) -> io::Result<Option<(ConnectInfo, Lines)>> {
        Ok(self.ready.recv().await)
    }
}

async fn listen(listener: TcpListener, give: mpsc::Sender<(ConnectInfo, Lines)>) {
    let mut hellos = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if hellos.len() < MAX_HELLOS => {
                let Ok((stream, peer)) = accepted else {
                    // That client is gone again, or no file descriptor is left: neither is the end of the listener.
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let give = give.clone();
                hellos.spawn(async move {
                    if let Ok(Some(client)) = timeout(HELLO_TIME, hello(stream, peer)).await {
                        // Nobody takes it when the service has ended.
                        let _ = give.send(client).await;
                    }
                });
            }
            Some(_) = hellos.join_next() => {}
        }
    }
}

/// Reads the line of parameters. A client that says none is dropped.
async fn hello(stream: TcpStream, peer: SocketAddr) -> Option<(ConnectInfo, Lines)> {
    let mut lines = Lines::new(stream);
    let line = std::future::poll_fn(|cx| lines.poll_line(cx)).await?.ok()?;
    let params = Params::parse(&line).ok()?;
    let info = ConnectInfo::new("lines", params)
        .inspect_err(|error| tracing::info!(%peer, %error, "a client's hello is refused"))
        .ok()?;
    Some((info.with_peer_addr(Some(peer)), lines))
}

/// One client's connection.
pub(crate) struct Lines {
    stream: TcpStream,
    read: Vec<u8>,
    /// How far `read` has been searched for the end of a line.
    searched: usize,
    unsent: Vec<u8>,
}

impl Lines {
    fn new(stream: TcpStream) -> Self {
        let (read, unsent) = (Vec::new(), Vec::new());
        Self {
            stream,
            read,
            searched: 0,
            unsent,
        }
    }

    /// The next line without its end. `None` when the client is gone.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<String, ReadError>>> {
        loop {
            let end = self.read[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                return Poll::Ready(Some(self.take_line(self.searched + end)));
            }
            self.searched = self.read.len();
            if self.read.len() > MAX_LINE_BYTES {
                return Poll::Ready(Some(Err(ReadError::TooBig)));
            }
            let mut chunk = [0; 4096];
            let mut buffer = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => return Poll::Ready(None),
                Ok(()) => self.read.extend_from_slice(buffer.filled()),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn take_line(&mut self, end: usize) -> Result<String, ReadError> {
        let rest = self.read.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.read, rest);
        self.searched = 0;
        line.pop();
        line.pop_if(|last| *last == b'\r');
        String::from_utf8(line).map_err(|_| ReadError::NotUtf8)
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            self.unsent.drain(..sent);
        }
        self.unsent.shrink_to(4096);
        Poll::Ready(Ok(()))
    }
}

impl Connection for Lines {}

impl Stream for Lines {
    type Item = Result<Frame, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let line = ready!(self.poll_line(cx));
        Poll::Ready(line.map(|line| line.map(Frame::text)))
    }
}

impl Sink<Outgoing> for Lines {
    type Error = WriteError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        match self.unsent.len() {
            0..MAX_UNSENT_BYTES => Poll::Ready(Ok(())),
            _ => self.poll_sent(cx),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing) -> Result<(), WriteError> {
        let line = match &item {
            Outgoing::Frame(frame) => match frame.as_text() {
                // In JSON these stand only where a space may.
                Some(text) => text.replace(['\n', '\r'], " "),
                // Somebody else's bytes, which its client could not read: that is no reason to close it.
                None => return Ok(()),
            },
            Outgoing::Close(close) => format!("close {}", close.code),
        };
        self.unsent.extend_from_slice(line.as_bytes());
        self.unsent.push(b'\n');
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.poll_sent(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        ready!(self.poll_sent(cx))?;
        Pin::new(&mut self.stream)
            .poll_shutdown(cx)
            .map_err(WriteError::from)
    }
}
