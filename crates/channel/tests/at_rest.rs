//! What a joined socket takes while nothing happens. An allocator counts it, so it is a process of its own, with one test.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    alloc::System,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
};

use matryoshka_channel::pubsub::PubSub;
use matryoshka_channel::transport::{
    ConnectInfo, Limits, Params, Transport, WebSocket, WebSocketConfig,
};
use matryoshka_channel::{Channel, Connected, Refused, Reply, Socket, Sockets};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{sync::mpsc, task::yield_now};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a joined socket may keep after a heartbeat, in bytes as they are asked for: its share of every table included, and what the
/// HTTP server keeps of its connection not.
const BYTES: usize = 4_400;
/// In how many pieces, of which the system's allocator adds some bytes to each.
const PIECES: usize = 30;

const SOCKETS: usize = 500;

struct Quiet;

impl Channel<()> for Quiet {
    type Params = ();
    type Event = ();

    async fn join(_: &(), _: &mut Socket, (): ()) -> Result<Self, Refused> {
        Ok(Self)
    }

    async fn handle_in(&mut self, _: &mut Socket, (): ()) -> Reply {
        Reply::none()
    }
}

/// What an application hands to its channels.
struct User(#[allow(dead_code, reason = "only its bytes count")] String);

type Wire = WebSocket<tokio::net::UnixStream>;

struct Given(mpsc::Receiver<(ConnectInfo, Wire)>);

impl Transport for Given {
    type Connection = Wire;

    async fn accept(&mut self) -> std::io::Result<Option<(ConnectInfo, Wire)>> {
        Ok(self.0.recv().await)
    }
}

/// The client's end of one connection, which takes no memory of its own.
struct Client(UnixStream);

impl Client {
    fn say(&mut self, text: &str) {
        let mut frame = [0; 100];
        frame[0] = 0x81;
        frame[1] = 0x80 | u8::try_from(text.len()).unwrap();
        frame[6..6 + text.len()].copy_from_slice(text.as_bytes());
        self.0.write_all(&frame[..6 + text.len()]).unwrap();
    }

    /// Waits for an answer, which has to be a good one.
    async fn hear_ok(&mut self) {
        let mut answer = [0; 200];
        let count = loop {
            match self.0.read(&mut answer) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let ok = br#""status":"ok""#;
        let is_ok = answer[..count].windows(ok.len()).any(|part| part == ok);
        assert!(is_ok, "{}", String::from_utf8_lossy(&answer[..count]));
    }
}

/// Lets in so many clients, a hundred on a topic, each with a heartbeat after its join.
async fn gather(give: &mpsc::Sender<(ConnectInfo, Wire)>, clients: &mut Vec<Client>) {
    let first = clients.len();
    for n in first..first + SOCKETS {
        let (client, server) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        server.set_nonblocking(true).unwrap();
        let server = tokio::net::UnixStream::from_std(server).unwrap();
        let server = WebSocket::accept(server, &WebSocketConfig::default()).await;
        let params = Params::parse("vsn=2.0.0&user=anna").unwrap();
        let info = ConnectInfo::new("unix", params).unwrap();
        assert!(give.send((info, server)).await.is_ok());
        let mut client = Client(client);
        client.say(&format!(
            r#"["1","1","lab:idle-{}","phx_join",{{}}]"#,
            n / 100
        ));
        client.hear_ok().await;
        clients.push(client);
    }
    for client in &mut clients[first..] {
        client.say(r#"[null,"2","phoenix","heartbeat",{}]"#);
        client.hear_ok().await;
    }
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_joined_socket_that_does_nothing_takes_little() {
    let pubsub = PubSub::local();
    let sockets = Sockets::new(&pubsub, ())
        .on_connect(async |_, info| {
            let user = info.params.get("user").unwrap_or_default();
            let id = format!("user_socket:{user}");
            Ok(Connected::new().id(id).assign(User(user.to_owned())))
        })
        .channel::<Quiet>("lab:*");
    let (give, given) = mpsc::channel(1);
    let connections = sockets.connections().clone();
    tokio::spawn(Given(given).serve_with(sockets.clone(), Limits::default(), connections));
    let mut clients = Vec::with_capacity(2 * SOCKETS);
    // The first ones fill what is there once.
    gather(&give, &mut clients).await;
    let region = Region::new(ALLOCATOR);
    gather(&give, &mut clients).await;
    let change = region.change();
    let bytes = (change.bytes_allocated - change.bytes_deallocated) / SOCKETS;
    let pieces = (change.allocations - change.deallocations) / SOCKETS;
    println!("{bytes} bytes in {pieces} pieces");
    assert!(bytes <= BYTES, "{bytes} bytes");
    assert!(pieces <= PIECES, "{pieces} pieces");
}
