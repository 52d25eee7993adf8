//! A client of the scenarios: the Phoenix protocol, version 2.0.0, over a blocking WebSocket.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use crate::failure::{Explain, Outcome, fail};
use crate::integration::people::People;

/// How long a client waits for what must come. Only ever used up by a failure.
pub(crate) const COMES_WITHIN: Duration = Duration::from_secs(10);
/// A node closes a socket from which nothing came for a minute; clients say something twice as often.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(25);
/// The topic of heartbeats and their answers.
const KEEPALIVE: &str = "phoenix";
/// The shortest wait for a frame; 0 would mean no limit.
const SHORTEST_READ: Duration = Duration::from_millis(1);

/// A frame that arrived and was not yet asked for.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) reference: Value,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Value,
}

/// One user's connection to one node.
pub(crate) struct Client {
    pub(crate) user: String,
    socket: WebSocket<TcpStream>,
    joins: HashMap<String, String>,
    people: HashMap<String, People>,
    unread: VecDeque<Frame>,
    last_reference: u64,
    said: Instant,
}

impl Client {
    pub(crate) fn connect(node: SocketAddr, user: &str) -> Outcome<Self> {
        let trying = format!("connecting {user} to {node}");
        let stream = TcpStream::connect_timeout(&node, COMES_WITHIN).explain(&trying)?;
        stream.set_nodelay(true).explain(&trying)?;
        stream
            .set_read_timeout(Some(COMES_WITHIN))
            .explain(&trying)?;
        stream
            .set_write_timeout(Some(COMES_WITHIN))
            .explain(&trying)?;
        let url = format!("ws://{node}/socket/websocket?user={user}&vsn=2.0.0");
        let (socket, _) = tungstenite::client(url, stream).explain(&trying)?;
        Ok(Client {
            user: user.to_owned(),
            socket,
            joins: HashMap::new(),
            people: HashMap::new(),
            unread: VecDeque::new(),
            last_reference: 0,
            said: Instant::now(),
        })
    }

    /// Joins and waits for `ok`.
    pub(crate) fn join(&mut self, topic: &str) -> Outcome<Value> {
        let reference = (self.last_reference + 1).to_string();
        self.joins.insert(topic.to_owned(), reference);
        self.people.insert(topic.to_owned(), People::default());
        self.push(topic, "phx_join", json!({}))
    }

    /// Pushes and waits for the reply `ok`; gives its response.
    pub(crate) fn push(&mut self, topic: &str, event: &str, payload: Value) -> Outcome<Value> {
        let reference = self.send(topic, event, payload)?;
        let what = format!("reply to {event}");
        let reply = self.take(&what, |frame| {
            frame.event == "phx_reply" && frame.reference == reference.as_str()
        })?;
        if reply.payload["status"] != "ok" {
            fail!(
                "{}: {event} on {topic} was answered {}",
                self.user,
                reply.payload
            );
        }
        Ok(reply.payload["response"].clone())
    }

    /// Pushes without waiting; gives the reference.
    pub(crate) fn send(&mut self, topic: &str, event: &str, payload: Value) -> Outcome<String> {
        self.said = Instant::now();
        self.last_reference += 1;
        let reference = self.last_reference.to_string();
        let frame = json!([self.joins.get(topic), reference, topic, event, payload]);
        self.socket
            .send(Message::text(frame.to_string()))
            .explain(format!("{} pushing {event}", self.user))?;
        Ok(reference)
    }

    /// Takes the first frame that `wants` accepts, waiting for it if need be.
    pub(crate) fn take(&mut self, what: &str, wants: impl Fn(&Frame) -> bool) -> Outcome<Frame> {
        let until = Instant::now() + COMES_WITHIN;
        loop {
            let found = self.unread.iter().position(&wants);
            if let Some(frame) = found.and_then(|index| self.unread.remove(index)) {
                return Ok(frame);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                fail!(
                    "{} got no {what} within {} s; unread: {:?}",
                    self.user,
                    COMES_WITHIN.as_secs(),
                    self.unread
                );
            }
            self.read(left)?;
        }
    }

    /// The payload of the next such event of a topic.
    pub(crate) fn event(&mut self, topic: &str, event: &str) -> Outcome<Value> {
        let frame = self.take(event, |frame| frame.topic == topic && frame.event == event)?;
        Ok(frame.payload)
    }

    /// The next frame of whatever kind, if one comes in time; presence goes into the lists instead.
    pub(crate) fn next(&mut self, at_most: Duration) -> Outcome<Option<Frame>> {
        if self.unread.is_empty() {
            self.read(at_most)?;
        }
        Ok(self.unread.pop_front())
    }

    /// Says that it is still there, if it has said nothing for long. Reading does so too.
    pub(crate) fn stay(&mut self) -> Outcome {
        if self.said.elapsed() > HEARTBEAT_EVERY {
            self.send(KEEPALIVE, "heartbeat", json!({}))?;
        }
        Ok(())
    }

    /// Takes in all that has arrived already.
    pub(crate) fn catch_up(&mut self) -> Outcome {
        while self.read(SHORTEST_READ)? {}
        Ok(())
    }

    /// Throws away what arrived and was not asked for.
    pub(crate) fn forget_unread(&mut self) {
        self.unread.clear();
    }

    /// This client's list of a room that it joined.
    pub(crate) fn people(&self, topic: &str) -> Option<&People> {
        self.people.get(topic)
    }

    /// Says goodbye properly.
    pub(crate) fn close(mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }

    /// Reads one message, if one comes in time.
    fn read(&mut self, at_most: Duration) -> Outcome<bool> {
        self.stay()?;
        let wait = at_most.max(SHORTEST_READ);
        self.socket
            .get_ref()
            .set_read_timeout(Some(wait))
            .explain("setting a time limit")?;
        match self.socket.read() {
            Ok(Message::Text(text)) => self.accept(text.as_str()).map(|()| true),
            Ok(Message::Close(close)) => fail!("{} was disconnected: {close:?}", self.user),
            Ok(_) => Ok(true),
            Err(Error::Io(error))
                if matches!(
                    error.kind(),
                    // The last of them when a signal has come, whose reader decides what follows.
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error).explain(format!("{} reading", self.user)),
        }
    }

    fn accept(&mut self, text: &str) -> Outcome {
        let broken = format!("{} got a frame that is none", self.user);
        let mut fields: [Value; 5] = serde_json::from_str(text).explain(&broken)?;
        let [_, reference, topic, event, payload] = &mut fields;
        let frame = Frame {
            reference: reference.take(),
            topic: topic.as_str().unwrap_or_default().to_owned(),
            event: event.as_str().unwrap_or_default().to_owned(),
            payload: payload.take(),
        };
        match (frame.event.as_str(), self.people.get_mut(&frame.topic)) {
            ("presence_state", Some(people)) => drop(people.state(&frame.payload)),
            ("presence_diff", Some(people)) => drop(people.diff(&frame.payload)),
            _ if frame.topic == KEEPALIVE => {}
            _ => self.unread.push_back(frame),
        }
        Ok(())
    }
}
