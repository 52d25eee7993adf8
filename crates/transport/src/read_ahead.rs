//! A stream that is read ahead, so that whoever reads from it can do so in small pieces, and that remembers when bytes came.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// How much is read at once. What the reader has no room for is kept until it has taken that, so an idle stream holds
/// nothing.
pub(crate) const READ_AHEAD_BYTES: usize = 4 * 1024;

#[derive(Debug)]
pub(crate) struct ReadAhead<T> {
    stream: T,
    last_byte: Instant,
    ahead: Option<Box<Ahead>>,
}

/// Bytes that came and are not yet taken. There is at least one.
#[derive(Debug)]
struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

impl<T> ReadAhead<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self {
            stream,
            last_byte: Instant::now(),
            ahead: None,
        }
    }

    /// When the last byte came from the other end.
    pub(crate) fn last_byte(&self) -> Instant {
        self.last_byte
    }
}

impl Ahead {
    fn of(bytes: &[u8]) -> Option<Box<Self>> {
        let (bytes, taken) = (bytes.to_vec(), 0);
        (!bytes.is_empty()).then(|| Box::new(Self { bytes, taken }))
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Hands over as much as there is room for.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.rest();
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.taken += count;
    }
}

impl<T: AsyncRead + Unpin> ReadAhead<T> {
    /// Reads on into a room of the caller's, unless something is ahead. Ready when something has come, and at the end of the stream. What of it
    /// is not used is to be [put back](Self::put_back).
    pub(crate) fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.ahead {
            None => self.poll_more(cx, room),
            Some(_) => Poll::Ready(Ok(())),
        }
    }

    /// It is read next.
    pub(crate) fn put_back(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.ahead = Ahead::of(rest);
        }
    }

    /// Nothing is kept of what has been taken.
    fn let_go(&mut self) {
        self.ahead.take_if(|ahead| ahead.rest().is_empty());
    }

    /// Reads on, and notes when something came.
    fn poll_more(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, read))?;
        if !read.filled().is_empty() {
            self.last_byte = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadAhead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(ahead) = &mut self.ahead {
            ahead.hand_over(buffer);
            self.let_go();
            return Poll::Ready(Ok(()));
        }
        let mut room = [MaybeUninit::uninit(); READ_AHEAD_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(self.poll_more(cx, &mut read))?;
        let bytes = read.filled();
        let (now, later) = bytes.split_at(bytes.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.ahead = Ahead::of(later);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadAhead<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Reads everything, each time into as much room as the next of `rooms` says.
    async fn read_all<T: AsyncRead + Unpin>(
        stream: &mut ReadAhead<T>,
        rooms: &[usize],
    ) -> (Vec<u8>, bool) {
        let (mut all, mut fits) = (Vec::new(), true);
        for room in rooms.iter().cycle() {
            let mut piece = vec![0; *room];
            let count = stream.read(&mut piece).await.expect("a pipe");
            fits &= stream.ahead.as_ref().is_none_or(|_| count == *room);
            if count == 0 {
                break;
            }
            all.extend_from_slice(&piece[..count]);
        }
        (all, fits)
    }

    proptest! {
        #[test]
        fn whatever_the_pieces_all_bytes_come_in_order_and_then_the_end(
            length in 0usize..20_000,
            pipe in 1usize..10_000,
            rooms in prop::collection::vec(1usize..6_000, 1..5),
        ) {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (all, fits) = runtime.block_on(async {
                let (mut here, there) = duplex(pipe);
                let sent = bytes.clone();
                tokio::spawn(async move { here.write_all(&sent).await });
                read_all(&mut ReadAhead::new(there), &rooms).await
            });
            prop_assert!(fits, "something was kept though there was room");
            prop_assert_eq!(all, bytes);
        }
    }

    #[tokio::test]
    async fn what_is_put_back_comes_before_what_comes_later() {
        let (mut here, there) = duplex(10_000);
        let mut stream = ReadAhead::new(there);
        here.write_all(b"one two").await.expect("room");
        for (word, rest) in [("one", &b" two"[..]), ("", b"")] {
            let mut room = [0; 10];
            let mut first = ReadBuf::new(&mut room);
            let come = poll_fn(|cx| stream.poll_first(cx, &mut first)).await;
            come.expect("a pipe");
            assert!(first.filled().starts_with(word.as_bytes()));
            stream.put_back(rest);
        }
        here.write_all(b" three").await.expect("room");
        drop(here);
        let mut all = String::new();
        stream.read_to_string(&mut all).await.expect("a pipe");
        assert_eq!(all, " two three");
        assert!(stream.ahead.is_none());
    }

    #[tokio::test]
    async fn what_is_taken_is_not_kept() {
        let (mut here, there) = duplex(10_000);
        let mut stream = ReadAhead::new(there);
        here.write_all(&[7; 100]).await.expect("room");
        let mut piece = [0; 60];
        assert_eq!(stream.read(&mut piece).await.expect("a pipe"), 60);
        assert!(stream.ahead.is_some());
        assert_eq!(stream.read(&mut piece).await.expect("a pipe"), 40);
        assert!(stream.ahead.is_none());
    }
}
