//! What a scenario plays on: nodes under one secret, clients of them, and one look at all their lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use matryoshka_relay::{Dice, Place, Relay};

use crate::cluster;
use crate::failure::{Explain, Failure, Outcome, fail};
use crate::http;
use crate::integration::client::Client;

use crate::integration::people::{Places, places};
use crate::node::{Node, NodeFlags, STOP_WITHIN};
use crate::progress::say;
use crate::signals::StopRequests;

/// Between two looks at all lists.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the lists of some nodes, and of their clients, are to show: by the index of the node.
pub(crate) type Views = BTreeMap<usize, Places>;

/// Nodes and the clients of each.
pub(crate) struct Stage<'a> {
    /// The scenario's name.
    name: String,
    pub(crate) program: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) secret: String,
    pub(crate) stop: &'a StopRequests,
    pub(crate) dice: Dice,
    pub(crate) nodes: Vec<Node>,
    /// What every node is started with, beside what it needs here.
    pub(crate) more_flags: Vec<String>,
    /// Clients by the index of their node.
    pub(crate) clients: Vec<Vec<Client>>,
    /// What all links go through, and the place of each node there; see `relayed`.
    pub(crate) relay: Option<Relay>,
    pub(crate) places: Vec<Place>,
    /// Nodes that were replaced and are still on their way out.
    pub(crate) leaving: Vec<Node>,
    started: usize,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        name: &str,
        program: PathBuf,
        logs: PathBuf,
        stop: &'a StopRequests,
        dice: Dice,
    ) -> Outcome<Self> {
        let secret = cluster::fresh_secret(&program)?;
        Ok(Stage {
            name: name.to_owned(),
            program,
            logs,
            secret,
            stop,
            dice,
            nodes: Vec::new(),
            more_flags: Vec::new(),
            clients: Vec::new(),
            relay: None,
            places: Vec::new(),
            leaving: Vec::new(),
            started: 0,
        })
    }

    /// Tells the person at the terminal how it goes; other scenarios may be on at the same time.
    pub(crate) fn tell(&self, line: impl Display) {
        say(format_args!("  {}: {line}", self.name));
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
            more: self.more_flags.clone(),
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
        let flags = if self.relay.is_some() {
            self.relayed_flags(index, self.nodes[index].quic)?
        } else {
            let others = self.others(index).into_iter();
            NodeFlags {
                quic: self.nodes[index].quic,
                join: others.filter_map(|other| self.nodes[other].quic).collect(),
                ..self.flags(&self.nodes[index].name)
            }
        };
        self.nodes[index] = self.start(&flags)?;
        Ok(())
    }

    /// The indices of all nodes but this one.
    pub(crate) fn others(&self, index: usize) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|other| *other != index)
            .collect()
    }

    /// What these nodes are called.
    pub(crate) fn names(&self, indices: &[usize]) -> String {
        let names = indices.iter().map(|index| self.nodes[*index].name.as_str());
        names.collect::<Vec<_>>().join(" and ")
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

    /// Waits until all lists of a room are exactly this: of these nodes over HTTP, and of their clients.
    /// Gives the time since `began` at which the last one was.
    pub(crate) fn lists_become(
        &mut self,
        room: &str,
        wanted: &Places,
        at: &[usize],
        began: Instant,
        within: Duration,
    ) -> Outcome<Duration> {
        let views = at.iter().map(|index| (*index, wanted.clone())).collect();
        self.views_become(room, &views, began, within)
    }

    /// The same where not all nodes see the same.
    pub(crate) fn views_become(
        &mut self,
        room: &str,
        views: &Views,
        began: Instant,
        within: Duration,
    ) -> Outcome<Duration> {
        self.until(&format!("lists of {room}"), began, within, |stage| {
            stage.wrong_lists(room, views)
        })
    }

    /// Waits until each of these nodes has a link to exactly the others of its group.
    pub(crate) fn links_become(
        &mut self,
        groups: &[&[usize]],
        began: Instant,
        within: Duration,
    ) -> Outcome<Duration> {
        let mut wanted: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for group in groups {
            for index in *group {
                let others = group.iter().filter(|other| *other != index);
                let names = others.map(|other| self.nodes[*other].name.clone());
                wanted.entry(*index).or_default().extend(names);
            }
        }
        self.until("links", began, within, |stage| stage.wrong_links(&wanted))
    }

    /// Waits until `wrong` names nothing any more; gives the time since `began` at which that was.
    pub(crate) fn until(
        &mut self,
        what: &str,
        began: Instant,
        within: Duration,
        mut wrong: impl FnMut(&mut Self) -> Outcome<String>,
    ) -> Outcome<Duration> {
        loop {
            let wrong = wrong(self)?;
            let took = began.elapsed();
            if wrong.is_empty() && took <= within {
                return Ok(took);
            }
            if took > within {
                fail!("waited {took:.1?} of {within:?} for {what}:{wrong}");
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
        for mut node in self.leaving.drain(..) {
            let status = node.wait(STOP_WITHIN)?;
            if !status.success() {
                return Err(node.died(status));
            }
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
    fn wrong_lists(&mut self, room: &str, views: &Views) -> Outcome<String> {
        let mut wrong = String::new();
        for (index, wanted) in views {
            let node = &self.nodes[*index];
            let list = http::get_json(node.http, &format!("/api/presence/{room}"))
                .explain(format!("asking {} for {room}", node.name))?;
            note(&mut wrong, &node.name, Some(places(&list)), wanted);
            for client in &mut self.clients[*index] {
                client.catch_up()?;
                let held = client.people(room).and_then(|people| people.places());
                note(&mut wrong, &client.user, held, wanted);
            }
        }
        Ok(wrong)
    }

    /// Names the nodes whose links are not as wanted.
    fn wrong_links(&self, wanted: &BTreeMap<usize, BTreeSet<String>>) -> Outcome<String> {
        let mut wrong = String::new();
        for (index, names) in wanted {
            let node = &self.nodes[*index];
            let up =
                cluster::peers_up(node).explain(format!("asking {} for its links", node.name))?;
            let up: BTreeSet<String> = up.into_iter().collect();
            if up != *names {
                let _ = write!(
                    wrong,
                    " {} has links to {up:?}, not to {names:?};",
                    node.name
                );
            }
        }
        Ok(wrong)
    }
}

fn note(wrong: &mut String, whose: &str, list: Option<Places>, wanted: &Places) {
    if list.as_ref() != Some(wanted) {
        let _ = write!(wrong, " {whose} has {list:?}, not {wanted:?};");
    }
}

pub(crate) fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
