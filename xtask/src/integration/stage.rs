//! What a scenario plays on: nodes under one secret, clients of them, and one look at all their lists.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use matryoshka_relay::Dice;

use crate::cluster;
use crate::failure::{Explain, Failure, Outcome, fail};
use crate::http;
use crate::integration::client::Client;

use crate::integration::people::{Places, places};
use crate::node::{Node, NodeFlags};
use crate::signals::StopRequests;

/// Between two looks at all lists.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Nodes and the clients of each.
pub(crate) struct Stage<'a> {
    pub(crate) program: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) secret: String,
    pub(crate) stop: &'a StopRequests,
    pub(crate) dice: Dice,
    pub(crate) nodes: Vec<Node>,
    /// Clients by the index of their node.
    pub(crate) clients: Vec<Vec<Client>>,
    started: usize,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        program: PathBuf,
        logs: PathBuf,
        stop: &'a StopRequests,
        dice: Dice,
    ) -> Outcome<Self> {
        let secret = cluster::fresh_secret(&program)?;
        Ok(Stage {
            program,
            logs,
            secret,
            stop,
            dice,
            nodes: Vec::new(),
            clients: Vec::new(),
            started: 0,
        })
    }

    /// Starts nodes n1, n2, ... and waits until they have met.
    pub(crate) fn raise(&mut self, size: usize) -> Outcome {
        for index in 0..size {
            let mut node = self.start(&self.flags(&format!("n{}", index + 1)))?;
            if index == 0 {
                node.ready()?; // the others need its cluster address
            }
            self.nodes.push(node);
            self.clients.push(Vec::new());
        }
        cluster::ready(&mut self.nodes[1..], self.stop, |_| {})?;
        self.met()
    }

    /// Flags of a node that joins all that are here.
    pub(crate) fn flags(&self, name: &str) -> NodeFlags {
        NodeFlags {
            name: name.to_owned(),
            http: any_port(),
            quic: Some(any_port()),
            join: self
                .nodes
                .iter()
                .take(1)
                .filter_map(|node| node.quic)
                .collect(),
            more: vec![],
            secret: Some(self.secret.clone()),
        }
    }

    /// Starts a node without waiting for it; each start has a log of its own.
    pub(crate) fn start(&mut self, flags: &NodeFlags) -> Outcome<Node> {
        self.started += 1;
        let log = self
            .logs
            .join(format!("{:02}-{}.log", self.started, flags.name));
        Node::start(&self.program, flags, &log)
    }

    /// Starts a node again after its end: same name, same cluster address.
    pub(crate) fn restart(&mut self, index: usize) -> Outcome {
        let mut flags = self.flags(&self.nodes[index].name);
        flags.quic = self.nodes[index].quic;
        let others = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        flags.join = others.filter_map(|(_, node)| node.quic).collect();
        self.nodes[index] = self.start(&flags)?;
        Ok(())
    }

    pub(crate) fn met(&mut self) -> Outcome {
        cluster::met(&mut self.nodes, self.stop, |_| {})
    }

    /// Connects a user to a node and joins a room.
    pub(crate) fn enter(&mut self, index: usize, user: &str, room: &str) -> Outcome {
        let mut client = Client::connect(self.nodes[index].http, user)?;
        client.join(room)?;
        self.clients[index].push(client);
        Ok(())
    }

    /// Waits until all lists of a room are exactly this: of these nodes over HTTP, and of all clients.
    /// Gives the time since `began` at which the last one was.
    pub(crate) fn lists_become(
        &mut self,
        room: &str,
        wanted: &Places,
        at: &[usize],
        began: Instant,
        within: Duration,
    ) -> Outcome<Duration> {
        loop {
            let wrong = self.wrong_lists(room, wanted, at)?;
            let took = began.elapsed();
            if wrong.is_empty() && took <= within {
                return Ok(took);
            }
            if took > within {
                fail!("after {took:?} of {within:?} {room} is not {wanted:?} everywhere: {wrong}");
            }
            self.pause(LOOK_EVERY)?;
        }
    }

    /// Waits, unless a stop is requested.
    pub(crate) fn pause(&self, time: Duration) -> Outcome {
        match self.stop.wait(time) {
            Some(request) => Err(Failure::stopped(request)),
            None => Ok(()),
        }
    }

    /// Ends all nodes in order, and checks that they end as they should.
    pub(crate) fn end(&mut self) -> Outcome {
        for client in self.clients.drain(..).flatten() {
            client.close();
        }
        cluster::end(&mut self.nodes, self.stop)?;
        for node in &mut self.nodes {
            match node.ended()? {
                Some(status) if status.success() => {}
                status => fail!(
                    "{} ended with {status:?} when asked to; its log is {}",
                    node.name,
                    node.log.display()
                ),
            }
        }
        Ok(())
    }

    /// Names the lists that are not as wanted.
    fn wrong_lists(&mut self, room: &str, wanted: &Places, at: &[usize]) -> Outcome<String> {
        let mut wrong = String::new();
        for index in at {
            let node = &self.nodes[*index];
            let list = http::get_json(node.http, &format!("/api/presence/{room}"))
                .explain(format!("asking {} for {room}", node.name))?;
            note(&mut wrong, &node.name, Some(places(&list)), wanted);
        }
        for client in self.clients.iter_mut().flatten() {
            client.catch_up()?;
            let held = client.people(room).and_then(|people| people.places());
            note(&mut wrong, &client.user, held, wanted);
        }
        Ok(wrong)
    }
}

fn note(wrong: &mut String, whose: &str, list: Option<Places>, wanted: &Places) {
    if list.as_ref() != Some(wanted) {
        let _ = write!(wrong, " {whose} has {list:?};");
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
