//! As much of a WebSocket as a member of a crowd needs: it never waits, and keeps of a frame as much as it is asked to.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::failure::{Explain, Outcome, fail};
use crate::integration::client::COMES_WITHIN;

/// The longest answer to a handshake.
const MAX_HEAD_BYTES: usize = 8 * 1024;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Lengths beyond the short form say so by these.
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

/// One connection to a node.
pub(super) struct Socket {
    stream: TcpStream,
    keeps: usize,
    header: Vec<u8>,
    frame: Option<Frame>,
    pub(super) bytes_read: u64,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    Kept,
    /// Closed by the node, with this code.
    Closed(u16),
}

/// A frame that is under way.
struct Frame {
    opcode: u8,
    left: usize,
    kept: Vec<u8>,
}

impl Socket {
    /// Of each frame, the first `keeps` bytes will be given.
    pub(super) fn connect(node: SocketAddr, user: &str, keeps: usize) -> Outcome<Self> {
        let trying = format!("connecting {user} to {node}");
        let mut stream = TcpStream::connect_timeout(&node, COMES_WITHIN).explain(&trying)?;
        stream.set_nodelay(true).explain(&trying)?;
        stream
            .set_read_timeout(Some(COMES_WITHIN))
            .explain(&trying)?;
        let request = format!(
            "GET /socket/websocket?user={user}&vsn=2.0.0 HTTP/1.1\r\nHost: {node}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWVtYmVyIG9mIGNyb3dkIQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).explain(&trying)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).explain(&trying)?;
            head.extend(byte);
            if head.len() > MAX_HEAD_BYTES {
                fail!("{trying}: the answer does not end");
            }
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            fail!("{trying}: {}", String::from_utf8_lossy(&head));
        }
        stream.set_nonblocking(true).explain(&trying)?;
        Ok(Socket {
            stream,
            keeps,
            header: Vec::new(),
            frame: None,
            bytes_read: 0,
        })
    }

    pub(super) fn send(&mut self, text: &str) -> Outcome {
        let mut frame = vec![FIN | TEXT];
        match u16::try_from(text.len()).explain("a short frame")? {
            length @ 0..=125 => frame.push(MASKED | length as u8),
            length => {
                frame.push(MASKED | TWO_BYTES);
                frame.extend(length.to_be_bytes());
            }
        }
        // A mask of zeros leaves the text as it is.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).explain("sending a frame")
    }

    /// Takes what has come, and gives each text frame that ends in it: as much as is kept.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        mut accept: impl FnMut(&[u8]) -> Outcome,
    ) -> Outcome<Contact> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => fail!("disconnected"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Contact::Kept);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).explain("reading"),
            };
            self.bytes_read += count as u64;
            let contact = self.take(&scratch[..count], &mut accept)?;
            if contact != Contact::Kept || count < scratch.len() {
                return Ok(contact);
            }
        }
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        accept: &mut impl FnMut(&[u8]) -> Outcome,
    ) -> Outcome<Contact> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some((first, rest)) = bytes.split_first() else {
                    return Ok(Contact::Kept);
                };
                self.header.push(*first);
                bytes = rest;
                self.frame = self.begin()?;
                continue;
            };
            let (now, later) = bytes.split_at(frame.left.min(bytes.len()));
            let room = self.keeps.saturating_sub(frame.kept.len());
            frame.kept.extend(&now[..now.len().min(room)]);
            frame.left -= now.len();
            bytes = later;
            if frame.left > 0 {
                return Ok(Contact::Kept);
            }
            match (frame.opcode, frame.kept.as_slice()) {
                (TEXT, text) => accept(text)?,
                (CLOSE, [high, low, ..]) => {
                    let code = [*high, *low];
                    self.answer_close(code);
                    return Ok(Contact::Closed(u16::from_be_bytes(code)));
                }
                (CLOSE, _) => fail!("closed by the node without a code"),
                _ => {}
            }
            self.frame = None;
        }
    }

    /// As a browser does. Nothing depends on whether the node still reads it.
    fn answer_close(&mut self, [high, low]: [u8; 2]) {
        let frame = [FIN | CLOSE, MASKED | 2, 0, 0, 0, 0, high, low];
        let _ = self.stream.write_all(&frame);
    }

    /// The frame, once its header is whole.
    fn begin(&mut self) -> Outcome<Option<Frame>> {
        let header = &self.header;
        let (Some(first), Some(short)) = (header.first(), header.get(1)) else {
            return Ok(None);
        };
        let length = match (*short, &header[2..]) {
            (TWO_BYTES, [a, b]) => usize::from(u16::from_be_bytes([*a, *b])),
            (EIGHT_BYTES, [a, b, c, d, e, f, g, h]) => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                usize::try_from(length).explain("a frame that fits")?
            }
            (TWO_BYTES | EIGHT_BYTES, _) => return Ok(None),
            (short, _) => usize::from(short),
        };
        if first & FIN == 0 {
            fail!("a frame in pieces, which this client does not read");
        }
        let frame = Frame {
            opcode: first & 0x0f,
            left: length,
            kept: Vec::with_capacity(length.min(self.keeps)),
        };
        self.header.clear();
        Ok(Some(frame))
    }
}
