//! A client that costs little: a WebSocket that sends text and counts what comes. It checks nothing but what it waits for.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

/// One connection.
pub(super) struct Client {
    pub(super) speaker: Speaker,
    pub(super) listener: Listener,
}

/// The half that sends.
pub(super) struct Speaker(OwnedWriteHalf);

/// The half that hears.
pub(super) struct Listener {
    stream: OwnedReadHalf,
    unread: Vec<u8>,
}

impl Client {
    /// Connects to a lab as that user.
    ///
    /// # Errors
    /// If it is refused, or the network fails.
    pub(super) async fn connect(http: SocketAddr, user: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(http).await?;
        Self::upgrade(stream, user).await
    }

    /// The same, with room for so many unread bytes on this side.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(super) async fn connect_with_room(
        http: SocketAddr,
        user: &str,
        bytes: u32,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        Self::upgrade(socket.connect(http).await?, user).await
    }

    async fn upgrade(stream: TcpStream, user: &str) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let request = format!(
            "GET /socket/websocket?user={user}&vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let (stream, mut writer) = stream.into_split();
        writer.write_all(request.as_bytes()).await?;
        let mut listener = Listener {
            stream,
            unread: Vec::new(),
        };
        loop {
            let end = listener
                .unread
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                if !listener.unread.starts_with(b"HTTP/1.1 101") {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                listener.unread.drain(..end + 4);
                return Ok(Self {
                    speaker: Speaker(writer),
                    listener,
                });
            }
            listener.read().await?;
        }
    }

    /// This side's port.
    ///
    /// # Errors
    /// If the connection is gone.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.speaker.0.local_addr()?.port())
    }

    /// Joins, and expects ok.
    ///
    /// # Errors
    /// If it is refused, or the connection is gone.
    pub(super) async fn join(&mut self, topic: &str) -> io::Result<()> {
        self.speaker
            .send(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#))
            .await?;
        loop {
            let answer = self.listener.next().await?;
            match answer.contains(r#""phx_reply""#) {
                true if answer.contains(r#""status":"ok""#) => return Ok(()),
                true => return Err(io::ErrorKind::PermissionDenied.into()),
                false => {}
            }
        }
    }
}

impl Speaker {
    /// Sends one text.
    ///
    /// # Errors
    /// If the connection is gone.
    pub(super) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(&masked(text)).await
    }

    /// Sends several texts in one go.
    ///
    /// # Errors
    /// If the connection is gone.
    pub(super) async fn send_all(&mut self, text: &str, times: usize) -> io::Result<()> {
        self.0.write_all(&masked(text).repeat(times)).await
    }
}

impl Listener {
    /// The next text.
    ///
    /// # Errors
    /// If the connection is gone, or closed by the server.
    pub(super) async fn next(&mut self) -> io::Result<String> {
        loop {
            if let Some((head, whole)) = self.frame() {
                let text = String::from_utf8_lossy(&self.unread[head..whole]).into_owned();
                self.unread.drain(..whole);
                return Ok(text);
            }
            self.check()?;
            self.read().await?;
        }
    }

    /// Waits for some frames, and gives how many there were.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(super) async fn some(&mut self) -> io::Result<usize> {
        loop {
            let (mut count, mut from) = (0, 0);
            while let Some((_, whole)) = frame_in(&self.unread[from..]) {
                count += 1;
                from += whole;
            }
            self.unread.drain(..from);
            if count > 0 {
                return Ok(count);
            }
            self.check()?;
            self.read().await?;
        }
    }

    fn frame(&self) -> Option<(usize, usize)> {
        frame_in(&self.unread)
    }

    /// A close of the server's stands first among what is unread.
    fn check(&self) -> io::Result<()> {
        match self.unread.first() {
            Some(0x88) => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.unread.reserve(1024);
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Gives memory back that a burst took.
    pub(super) fn rest(&mut self) {
        self.unread.shrink_to_fit();
    }
}

/// Where the payload of the first whole frame of data begins, and where the frame ends.
fn frame_in(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&first, &short) = (bytes.first()?, bytes.get(1)?);
    if first == 0x88 {
        return None;
    }
    let (head, len) = match short {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => {
            let len = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(len).ok()?)
        }
        len => (2, usize::from(len)),
    };
    (bytes.len() >= head + len).then_some((head, head + len))
}

/// A client's text frame, masked with zeros.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(text.len()) {
        Ok(len @ 0..126) => frame.push(0x80 | len as u8),
        Ok(len) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}
