//! Clients over pairs of Unix sockets, which take no memory of their own: for tests whose allocator counts.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
};

use matryoshka_channel::transport::{
    ConnectInfo, Connections, Handler, Limits, Params, Transport, WebSocket, WebSocketConfig,
};
use tokio::{sync::mpsc, task::yield_now};

type Wire = WebSocket<tokio::net::UnixStream>;

struct Given(mpsc::Receiver<(ConnectInfo, Wire)>);

impl Transport for Given {
    type Connection = Wire;

    async fn accept(&mut self) -> std::io::Result<Option<(ConnectInfo, Wire)>> {
        Ok(self.0.recv().await)
    }
}

/// Where clients connect.
pub struct Server(mpsc::Sender<(ConnectInfo, Wire)>);

impl Server {
    /// Serves with the default limits.
    pub fn start<H: Handler>(handler: H, connections: &Connections) -> Self {
        let (give, given) = mpsc::channel(1);
        tokio::spawn(Given(given).serve_with(handler, Limits::default(), connections.clone()));
        Self(give)
    }

    /// A client that has joined the topic.
    pub async fn joined(&self, topic: &str) -> Client {
        let (client, server) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        server.set_nonblocking(true).unwrap();
        let server = tokio::net::UnixStream::from_std(server).unwrap();
        let server = WebSocket::accept(server, &WebSocketConfig::default());
        let params = Params::parse("vsn=2.0.0&user=anna").unwrap();
        let info = ConnectInfo::new("unix", params).unwrap();
        assert!(self.0.send((info, server)).await.is_ok());
        let mut client = Client(client);
        client.say(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#));
        client.hear_ok().await;
        client
    }
}

/// The client's end of one connection.
pub struct Client(UnixStream);

impl Client {
    pub fn say(&mut self, text: &str) {
        let mut frame = [0; 100];
        frame[0] = 0x81;
        frame[1] = 0x80 | u8::try_from(text.len()).unwrap();
        frame[6..6 + text.len()].copy_from_slice(text.as_bytes());
        self.0.write_all(&frame[..6 + text.len()]).unwrap();
    }

    /// Says a text of any length, and waits for as many bytes of answers.
    #[allow(dead_code, reason = "only one of the tests says so much")]
    pub async fn say_large(&mut self, text: &str, answer: usize) {
        let mut frame = vec![0x81, 0xff];
        frame.extend((text.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        let (mut sent, mut heard) = (0, 0);
        let mut scratch = vec![0; 64 * 1024];
        while sent < frame.len() || heard < answer {
            let written = match sent < frame.len() {
                true => self.0.write(&frame[sent..]),
                false => Ok(0),
            };
            for (moved, count) in [
                (written, &mut sent),
                (self.0.read(&mut scratch), &mut heard),
            ] {
                match moved {
                    Ok(bytes) => *count += bytes,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Waits for an answer, which has to be a good one.
    pub async fn hear_ok(&mut self) {
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
