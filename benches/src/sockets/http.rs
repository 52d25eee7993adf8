//! One connection over HTTP that is kept, and asks one request at a time.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than any head of an answer has.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// More than any body of a measurement has.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The connection.
pub(super) struct Http {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Http {
    /// # Errors
    /// If the network fails.
    pub(super) async fn connect(http: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(http).await?;
        stream.set_nodelay(true)?;
        let unread = Vec::new();
        Ok(Self { stream, unread })
    }

    /// The body of the answer, whatever its status: clients of long polling look at nothing else.
    ///
    /// # Errors
    /// If the network fails, or what comes is no answer with a length.
    pub(super) async fn get(&mut self, target: &str) -> io::Result<Vec<u8>> {
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
        self.request(&head).await
    }

    /// The same, of a request that brings lines.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(super) async fn post(&mut self, target: &str, lines: &str) -> io::Result<Vec<u8>> {
        let length = lines.len();
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n{lines}"
        );
        self.request(&request).await
    }

    async fn request(&mut self, request: &str) -> io::Result<Vec<u8>> {
        self.stream.write_all(request.as_bytes()).await?;
        let body = loop {
            let end = self
                .unread
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            self.read(MAX_HEAD_BYTES).await?;
        };
        let whole = body + body_bytes(&self.unread[..body])?;
        while self.unread.len() < whole {
            self.read(whole).await?;
        }
        let rest = self.unread.split_off(whole);
        let mut answer = std::mem::replace(&mut self.unread, rest);
        Ok(answer.split_off(body))
    }

    async fn read(&mut self, most: usize) -> io::Result<()> {
        if self.unread.len() >= most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// How long a head says that its body is.
fn body_bytes(head: &[u8]) -> io::Result<usize> {
    let head = std::str::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData)?;
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse().ok())
        .filter(|length| *length <= MAX_BODY_BYTES)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
