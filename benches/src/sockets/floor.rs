//! The floor: what the system itself asks for a frame in and a frame out. One thread, one call to read and one to write, no codec and no
//! runtime. It answers the clients of these measurements and no others: their masks are zeros and their frames short.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// The argument by which this program is the floor.
pub(crate) const FLOOR: &str = "floor";

/// Events that are taken at a time.
const EVENTS: usize = 256;

/// What one read takes. More than any client here sends in one go.
const READ_BYTES: usize = 64 * 1024;

/// The listener's number among the sources of events; sockets are numbered from 0 on.
const LISTENER: u64 = u64::MAX;

const UPGRADED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A join's answer, in the form that clients wait for.
const JOINED: &[u8] = br#"["1","1","","phx_reply",{"status":"ok","response":{}}]"#;

/// A client's frame begins with two bytes and its mask.
const MASKED_HEAD: usize = 6;

/// A server's frame has no mask.
const HEAD: usize = 2;

/// Serves until the process is killed. A frame that holds `shout` goes to all sockets, a join is answered, any other goes back.
pub(crate) fn serve() {
    serve_on(TcpListener::bind("127.0.0.1:0").expect("a free port")).expect("the system helps");
}

fn serve_on(listener: TcpListener) -> io::Result<()> {
    println!("ready http={}", listener.local_addr()?);
    io::stdout().flush()?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let listener_id = EventData::new_u64(LISTENER);
    epoll::add(&poll, &listener, listener_id, EventFlags::IN)?;
    let mut floor = Floor::default();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => {
                    let (stream, _) = listener.accept()?;
                    stream.set_nodelay(true)?;
                    let id = EventData::new_u64(floor.sockets.len() as u64);
                    epoll::add(&poll, &stream, id, EventFlags::IN)?;
                    floor.sockets.push(stream);
                }
                socket => floor.read(&poll, socket as usize)?,
            }
        }
    }
}

struct Floor {
    sockets: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            sockets: Vec::new(),
            buffer: vec![0; READ_BYTES],
        }
    }
}

impl Floor {
    fn read(&mut self, poll: impl rustix::fd::AsFd, socket: usize) -> io::Result<()> {
        let mut stream = &self.sockets[socket];
        let read = match stream.read(&mut self.buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        match &mut self.buffer[..read] {
            [] => Ok(epoll::delete(poll, stream)?),
            request if request.starts_with(b"GET ") => stream.write_all(UPGRADED),
            frames => {
                let mut rest = frames;
                while !rest.is_empty() {
                    let len = usize::from(rest[1] & 0x7f);
                    let (frame, later) = rest.split_at_mut(MASKED_HEAD + len);
                    answer(&self.sockets, stream, frame)?;
                    rest = later;
                }
                Ok(())
            }
        }
    }
}

fn answer(sockets: &[TcpStream], mut stream: &TcpStream, frame: &mut [u8]) -> io::Result<()> {
    let text = &frame[MASKED_HEAD..];
    let holds = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    let is_shout = holds(b"shout");
    if !is_shout && holds(b"phx_join") {
        return stream.write_all(&[&[0x81, JOINED.len() as u8], JOINED].concat());
    }
    // The mask gives its place to the head of the frame that goes back.
    let out = &mut frame[MASKED_HEAD - HEAD..];
    out[0] = 0x81;
    out[1] = (out.len() - HEAD) as u8;
    match is_shout {
        true => sockets
            .iter()
            .try_for_each(|mut socket| socket.write_all(out)),
        false => stream.write_all(out),
    }
}
