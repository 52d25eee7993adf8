//! Meshes in a pretended network, on a pretended clock. What the driver promises the mesh is kept here too; all
//! frames go through the real encoder.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use matryoshka_pubsub::cluster::{MemberEvent, MemberTable};
use matryoshka_pubsub::{Incarnation, NodeName};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::close::Close;
use super::super::codec::Codec;
use super::super::control::ControlReader;
use super::super::frame::Frame;
use super::super::liveness::TICK;
use super::super::notice::Level;
use super::super::peer::{ConnectionId, Stage};
use super::super::terms::Offer;
use super::{Effect, Ended, Mesh, MeshConfig};

/// One end of a connection: which node, which of its lives, which connection of its.
type End = (usize, u64, ConnectionId);

enum Packet {
    /// Somebody dials; `End` is the dialler's.
    Dial(End),
    /// The dialled node answers; the second end is its own.
    Answer(End, End),
    Frame(End, Bytes),
    Ended(End, Ended),
}

pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) mesh: Option<Mesh>,
    /// What was told of the members.
    pub(super) table: MemberTable,
    pub(super) notices: Vec<(Level, String)>,
    pub(super) left: Option<String>,
    pub(super) events: Vec<(Duration, MemberEvent)>,
    life: u64,
    join: Vec<String>,
    heard: BTreeSet<ConnectionId>,
    backlog: Vec<(u64, Packet)>,
    pub(super) paused: bool,
    newest: BTreeMap<NodeName, Incarnation>,
}

pub(super) struct World {
    start: Instant,
    now: Duration,
    pub(super) rng: StdRng,
    pub(super) nodes: Vec<Node>,
    packets: BinaryHeap<Reverse<(Duration, u64)>>,
    contents: BTreeMap<u64, (usize, Packet)>,
    sequence: u64,
    other_end: BTreeMap<End, End>,
    /// When the last packet of a direction arrives; later ones never overtake.
    arrival: BTreeMap<End, Duration>,
    cuts: BTreeSet<(usize, usize)>,
    held: Vec<(usize, usize, Packet)>,
    next_tick: Duration,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            nodes: Vec::new(),
            packets: BinaryHeap::new(),
            contents: BTreeMap::new(),
            sequence: 0,
            other_end: BTreeMap::new(),
            arrival: BTreeMap::new(),
            cuts: BTreeSet::new(),
            held: Vec::new(),
            next_tick: Duration::ZERO,
        }
    }

    /// A node at an address of its own. Its name may be another's as well.
    pub(super) fn add(&mut self, name: &str, join: &[usize]) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node {
            name: NodeName::new(name).unwrap(),
            mesh: None,
            table: MemberTable::new(),
            notices: Vec::new(),
            left: None,
            events: Vec::new(),
            life: 0,
            join: join.iter().map(|node| address(*node).to_string()).collect(),
            heard: BTreeSet::new(),
            backlog: Vec::new(),
            paused: false,
            newest: BTreeMap::new(),
        });
        let incarnation = 1_000_000 + self.now.as_micros() as u64;
        self.start(index, incarnation);
        index
    }

    pub(super) fn clock(&self) -> Duration {
        self.now
    }

    pub(super) fn start(&mut self, index: usize, incarnation: u64) {
        let instance = self.rng.random();
        let rng_seed = self.rng.random();
        let node = &mut self.nodes[index];
        node.life += 1;
        node.table = MemberTable::new();
        node.newest.clear();
        node.heard.clear();
        node.backlog.clear();
        node.paused = false;
        let config = MeshConfig {
            name: node.name.clone(),
            incarnation: Incarnation(incarnation),
            instance,
            cluster: "sim".into(),
            advertise: None,
            own: vec![address(index).to_string()],
            seeds: node.join.clone(),
            offer: Offer::default(),
            rng_seed,
        };
        node.mesh = Some(Mesh::new(config, self.start + self.now));
    }

    /// Starts a node anew, otherwise configured. Its certificate stays as it is.
    pub(super) fn configure(&mut self, index: usize, change: impl FnOnce(&mut MeshConfig)) {
        let mesh = self.nodes[index].mesh.take();
        let mut config = mesh.expect("a node that runs").config;
        change(&mut config);
        self.nodes[index].life += 1;
        self.nodes[index].mesh = Some(Mesh::new(config, self.start + self.now));
    }

    /// As SIGKILL: the others hear nothing.
    pub(super) fn kill(&mut self, index: usize) {
        self.nodes[index].mesh = None;
    }

    pub(super) fn restart(&mut self, index: usize) {
        let incarnation = 1_000_000 + self.now.as_micros() as u64;
        self.start(index, incarnation);
    }

    pub(super) fn resume(&mut self, index: usize) {
        self.nodes[index].paused = false;
        for (life, packet) in std::mem::take(&mut self.nodes[index].backlog) {
            if life == self.nodes[index].life {
                self.arrive(index, packet);
            }
        }
    }

    pub(super) fn cut(&mut self, one: usize, other: usize) {
        self.cuts.insert((one.min(other), one.max(other)));
    }

    /// Mends everything. What streams had under way arrives late.
    pub(super) fn heal_all(&mut self) {
        self.cuts.clear();
        for (from, to, packet) in std::mem::take(&mut self.held) {
            self.post(from, to, packet);
        }
    }

    /// Breaks one connection of `index`, at both ends or at its own only.
    pub(super) fn break_one(&mut self, index: usize, both_ends: bool) {
        let life = self.nodes[index].life;
        let mine = |(end, _): &(&End, &End)| end.0 == index && end.1 == life;
        let ends: Vec<(End, End)> = self
            .other_end
            .iter()
            .filter(mine)
            .map(|(one, other)| (*one, *other))
            .collect();
        if ends.is_empty() {
            return;
        }
        let (one, other) = ends[self.rng.random_range(0..ends.len())];
        let broken = || Ended::Broken {
            text: "broken on purpose".into(),
        };
        self.put(self.now, one.0, Packet::Ended(one, broken()));
        if both_ends {
            self.put(self.now, other.0, Packet::Ended(other, broken()));
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = self.packets.peek().map_or(Duration::MAX, |first| first.0.0);
            if next.min(self.next_tick) > until {
                self.now = until;
                return;
            }
            if next <= self.next_tick {
                let Reverse((at, sequence)) = self.packets.pop().unwrap();
                self.now = at;
                let (node, packet) = self.contents.remove(&sequence).unwrap();
                self.arrive(node, packet);
            } else {
                self.now = self.next_tick;
                self.next_tick += TICK;
                (0..self.nodes.len()).for_each(|node| self.tick(node));
            }
        }
    }

    fn tick(&mut self, index: usize) {
        let now = self.start + self.now;
        let node = &mut self.nodes[index];
        if node.paused {
            return;
        }
        if let Some(mesh) = &mut node.mesh {
            for id in std::mem::take(&mut node.heard) {
                mesh.handle_heard(id);
            }
            mesh.handle_tick(now);
        }
        self.apply(index);
    }

    fn arrive(&mut self, index: usize, packet: Packet) {
        let now = self.start + self.now;
        let node = &mut self.nodes[index];
        if node.paused {
            node.backlog.push((node.life, packet));
            return;
        }
        let life = node.life;
        let Some(mesh) = &mut node.mesh else { return };
        match packet {
            Packet::Dial(from) => {
                let certified = vec![self.nodes[from.0].name.to_string()];
                let mesh = self.nodes[index].mesh.as_mut().unwrap();
                let id = mesh.handle_accepted(now, address(from.0), certified);
                let to = (index, life, id);
                self.other_end.insert(from, to);
                self.other_end.insert(to, from);
                self.post(index, from.0, Packet::Answer(from, to));
            }
            Packet::Answer(end, from) if end.1 == life => {
                let certified = vec![self.nodes[from.0].name.to_string()];
                let mesh = self.nodes[index].mesh.as_mut().unwrap();
                mesh.handle_connected(now, end.2, address(from.0), certified);
            }
            Packet::Frame(end, bytes) if end.1 == life && self.other_end.contains_key(&end) => {
                node.heard.insert(end.2);
                let mut reader = ControlReader::new(Codec::NEWEST);
                reader.feed(bytes);
                while let Some(frame) = reader.next(true).unwrap() {
                    mesh.handle_frame(now, end.2, frame);
                }
            }
            // An endpoint that does not know the connection says so.
            Packet::Frame(..) | Packet::Answer(..) => {}
            Packet::Ended(end, ended) => {
                if end.1 == life && (self.other_end.remove(&end).is_some() || is_dial(mesh, end)) {
                    mesh.handle_ended(now, end.2, ended);
                }
            }
        }
        self.apply(index);
    }

    fn apply(&mut self, index: usize) {
        let life = self.nodes[index].life;
        while let Some(effect) = self.next_effect(index) {
            match effect {
                Effect::Dial {
                    connection,
                    address: to,
                    ..
                } => {
                    let to: SocketAddr = to.parse().unwrap();
                    let to = usize::from(to.port() - 5000);
                    self.post(index, to, Packet::Dial((index, life, connection)));
                }
                Effect::Send { connection, frame } => self.send((index, life, connection), &frame),
                Effect::Close { connection, close } => self.close((index, life, connection), close),
                Effect::Up { event, .. } | Effect::Member(event) => self.member(index, event),
                Effect::Renumber(incarnation) => {
                    self.member(index, MemberEvent::Renumbered(incarnation));
                }
                Effect::Notice(notice) => {
                    self.nodes[index].notices.push((notice.level, notice.text));
                }
                Effect::Left(reason) => self.nodes[index].left = Some(reason),
            }
        }
    }

    fn next_effect(&mut self, index: usize) -> Option<Effect> {
        self.nodes[index].mesh.as_mut()?.poll_effect()
    }

    /// Every event must be news, and in an order that the table of members understands.
    fn member(&mut self, index: usize, event: MemberEvent) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let news = node.table.handle(event.clone());
        assert_eq!(
            news,
            std::slice::from_ref(&event),
            "out of order at {}",
            node.name
        );
        match &event {
            MemberEvent::Up(member) => {
                let newest = node
                    .newest
                    .entry(member.node.clone())
                    .or_insert(member.incarnation);
                assert!(*newest <= member.incarnation, "an older life won");
                *newest = member.incarnation;
            }
            MemberEvent::Forgotten(name) => {
                node.newest.remove(name);
            }
            _ => {}
        }
        node.events.push((now, event));
    }

    fn send(&mut self, from: End, frame: &Frame) {
        let Some(to) = self.other_end.get(&from).copied() else {
            return;
        };
        if !self.other_end.contains_key(&to) && !self.is_cut(from.0, to.0) {
            // The other end is gone: if its process is the same one, it says so.
            if self.nodes[to.0].life == to.1 && self.nodes[to.0].mesh.is_some() {
                let text = "reset".to_owned();
                self.post(to.0, from.0, Packet::Ended(from, Ended::Broken { text }));
            }
            return;
        }
        let mesh = self.nodes[from.0].mesh.as_ref().unwrap();
        let bytes = mesh.codec(from.2).encode(frame).unwrap();
        self.post(from.0, to.0, Packet::Frame(to, bytes));
    }

    fn close(&mut self, from: End, close: Close) {
        let at = self.now + Duration::from_micros(self.rng.random_range(1..500));
        self.put(at, from.0, Packet::Ended(from, Ended::ClosedHere));
        let Some(to) = self.other_end.get(&from).copied() else {
            return;
        };
        if !self.is_cut(from.0, to.0) {
            let told = Close::read(close.code().into(), &close.reason());
            self.post(from.0, to.0, Packet::Ended(to, Ended::ClosedByPeer(told)));
        }
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cuts.contains(&(one.min(other), one.max(other)))
    }

    /// Sends a packet on its way; streams keep their order, and what is cut off waits.
    fn post(&mut self, from: usize, to: usize, packet: Packet) {
        if to >= self.nodes.len() {
            return;
        }
        if self.is_cut(from, to) {
            match packet {
                Packet::Frame(..) => self.held.push((from, to, packet)),
                Packet::Dial(..) | Packet::Answer(..) | Packet::Ended(..) => {}
            }
            return;
        }
        let end = match &packet {
            Packet::Dial(end) | Packet::Answer(end, _) => *end,
            Packet::Frame(end, _) | Packet::Ended(end, _) => *end,
        };
        let flight = Duration::from_micros(self.rng.random_range(200..20_000));
        let arrival = self.arrival.entry(end).or_default();
        *arrival = (self.now + flight).max(*arrival + Duration::from_micros(1));
        let arrival = *arrival;
        self.put(arrival, to, packet);
    }

    fn put(&mut self, at: Duration, to: usize, packet: Packet) {
        self.sequence += 1;
        self.packets.push(Reverse((at, self.sequence)));
        self.contents.insert(self.sequence, (to, packet));
    }

    /// All living nodes have exactly one link to each other, the same one at both ends, and nothing else.
    pub(super) fn assert_settled(&self) {
        let living = |index: &usize| {
            let node = &self.nodes[*index];
            node.mesh.is_some() && node.left.is_none()
        };
        let living: Vec<usize> = (0..self.nodes.len()).filter(living).collect();
        for &one in &living {
            let mesh = self.nodes[one].mesh.as_ref().unwrap();
            let up = mesh.links.values().filter(|link| link.stage == Stage::Up);
            assert_eq!(
                up.count(),
                living.len() - 1,
                "links of {}: {:#?}",
                self.nodes[one].name,
                mesh.links
            );
            for &other in &living {
                if one != other {
                    self.assert_linked(one, other);
                }
            }
        }
    }

    /// As [`assert_settled`](Self::assert_settled), with no connection besides.
    pub(super) fn assert_settled_with_nothing_besides(&self) {
        self.assert_settled();
        for node in &self.nodes {
            let mesh = node.mesh.as_ref().unwrap();
            assert_eq!(
                mesh.connections(),
                self.nodes.len() - 1,
                "{:#?}",
                mesh.links
            );
        }
    }

    fn assert_linked(&self, one: usize, other: usize) {
        let link = |from: usize, to: usize| {
            let node = &self.nodes[from];
            let peer = &node.mesh.as_ref().unwrap().peers.get(&self.nodes[to].name);
            let id = peer.and_then(|peer| peer.link);
            let id = id.unwrap_or_else(|| panic!("{} misses {}", node.name, self.nodes[to].name));
            (from, node.life, id)
        };
        let (mine, theirs) = (link(one, other), link(other, one));
        assert_eq!(self.other_end.get(&mine), Some(&theirs));
        let table = &self.nodes[one].table;
        let told = table.get(&self.nodes[other].name).expect("a member");
        assert!(told.state.is_linked());
    }
}

fn is_dial(mesh: &Mesh, end: End) -> bool {
    mesh.links.contains_key(&end.2)
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5000 + node as u16))
}
