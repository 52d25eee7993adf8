//! A connection whose client has to take what it asked for.
//!
//! Whoever sends requests and reads no answer is held up by the system's buffers, and waits for nothing that has a limit: the next
//! request's head is there already.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream that fails once its peer has taken nothing for so long, unless it was told that it may.
pub(crate) struct Taking<S> {
    stream: S,
    limit: Duration,
    may_stall: MayStall,
    /// Since the last write that found no room.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Says that the peer need not read any more. Clones say it of the same stream.
#[derive(Clone, Default)]
pub(crate) struct MayStall(Arc<AtomicBool>);

impl MayStall {
    /// From now on others watch over that.
    pub(crate) fn allow(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<S> Taking<S> {
    pub(crate) fn new(stream: S, limit: Duration, may_stall: MayStall) -> Self {
        Self {
            stream,
            limit,
            may_stall,
            stalled: None,
        }
    }

    /// What became of a write, or the end of the peer's time.
    fn written<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || self.may_stall.0.load(Ordering::Relaxed) {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client took nothing of its answer for too long",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, advance, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_for_too_long_is_let_go_and_whoever_takes_a_little_is_not() {
        let (server, mut client) = duplex(10);
        let mut taking = Taking::new(server, LIMIT, MayStall::default());
        let start = Instant::now();
        let reading = async {
            for _ in 0..4 {
                advance(LIMIT - Duration::from_secs(1)).await;
                client.read_exact(&mut [0; 10]).await.unwrap();
            }
            client
        };
        let (written, _client) = tokio::join!(taking.write_all(&[0; 100]), reading);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 4 * 29 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_need_not_read_is_waited_for() {
        let (server, _client) = duplex(10);
        let may_stall = MayStall::default();
        let mut taking = Taking::new(server, LIMIT, may_stall.clone());
        may_stall.allow();
        let written = timeout(100 * LIMIT, taking.write_all(&[0; 100])).await;
        assert!(written.is_err());
    }
}
