//! Nodes in a pretended network, on a pretended clock. What the driver promises the machines is kept here, in its order.

mod faults;
pub(in crate::testing::sim) mod judge;
mod links;
pub(in crate::testing::sim) mod people;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::{MemberEvent, MemberTable};
use matryoshka_pubsub::{Incarnation, NodeName};
use rand::Rng;

#[cfg(test)]
use super::cable::Cable;
use super::ledger::Ledger;
use super::network::{Happening, Network, NodeIndex, Packet};
use super::node::{Life, Node, State, address};
use super::random::Random;
use super::registry::Registry;
use super::setup::Setup;
use super::tally::{Seen, Tally};
use super::trace::Trace;
use crate::proto::liveness::TICK;
use crate::proto::mesh::{Mesh, MeshConfig};
use crate::proto::peer::ConnectionId;
use crate::proto::terms::Offer;
use crate::proto::traffic::{Traffic, Wake};

/// The wall clock at the beginning, in microseconds.
const WALL_CLOCK: u64 = 1_000_000_000;
/// What all that belong together have.
const SECRET: u64 = 1;

/// What is noted of a history, for its hash and its readers.
#[derive(Debug, Hash)]
enum Moment {
    Start {
        name: String,
        incarnation: u64,
    },
    End,
    Dial {
        cable: usize,
        to: usize,
    },
    Send {
        cable: usize,
        frame: &'static str,
    },
    Close {
        cable: usize,
        code: u32,
    },
    Up {
        cable: usize,
        peer: String,
        incarnation: u64,
    },
    Member(String),
    Gone {
        cable: usize,
        how: String,
    },
    Notice(String),
    Left(String),
    Renumber(u64),
    Subscribe {
        sub: usize,
        topic: u8,
    },
    Unsubscribe {
        sub: usize,
    },
    Publish {
        number: usize,
        topic: u8,
        lane: u16,
        bytes: usize,
        ways: usize,
    },
    Deliver {
        number: usize,
        cable: usize,
        subs: usize,
    },
    Gap {
        cable: usize,
        lane: u16,
        lost: u64,
    },
    Fault(&'static str, usize),
}

/// See the module.
pub(crate) struct World {
    start: Instant,
    pub(super) now: Duration,
    pub(crate) rng: Random,
    pub(super) setup: Setup,
    pub(crate) nodes: Vec<Node>,
    pub(super) net: Network,
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    pub(super) trace: Trace,
    /// The first promise that was broken.
    pub(super) broken: Option<String>,
}

impl World {
    /// A world without nodes, with plain settings.
    #[cfg(test)]
    pub(crate) fn new(seed: u64) -> Self {
        let rng = Random::new(seed);
        Self::with(Setup::plain(0), rng, false)
    }

    pub(super) fn with(setup: Setup, rng: Random, readable: bool) -> Self {
        Self {
            // Where instants begin is no matter: only what lies between them is looked at.
            start: Instant::now(),
            now: Duration::ZERO,
            rng,
            nodes: Vec::new(),
            net: Network::default(),
            ledger: Ledger::default(),
            setup,
            tally: Tally::default(),
            trace: Trace::new(readable),
            broken: None,
        }
    }

    /// A node at an address of its own, which runs at once. Its name may be another's as well.
    pub(crate) fn add(&mut self, name: &str, join: &[NodeIndex]) -> NodeIndex {
        let name = NodeName::new(name).expect("names of tests are valid");
        let join = join.iter().map(|node| address(*node).to_string()).collect();
        let offer = self.setup.offer(&mut self.rng);
        self.add_node(name, join, offer)
    }

    pub(super) fn add_node(
        &mut self,
        name: NodeName,
        join: Vec<String>,
        offer: Offer,
    ) -> NodeIndex {
        let index = self.nodes.len();
        self.nodes.push(Node {
            certified: name.clone(),
            name,
            secret: SECRET,
            cluster: "sim",
            offer,
            join,
            life: 0,
            state: State::Dead,
            left: None,
            mesh: None,
            table: MemberTable::new(),
            notices: Vec::new(),
            events: Vec::new(),
            traffic: Traffic::new(self.setup.interest()),
            registry: Registry::default(),
            asked: BTreeMap::new(),
            links: BTreeMap::new(),
            by_link: BTreeMap::new(),
            dials: BTreeMap::new(),
            backlog: VecDeque::new(),
            newest: BTreeMap::new(),
            published: Vec::new(),
            awake_since: self.now,
            died: Duration::ZERO,
            slow: false,
            stalls: false,
            flushing: false,
            alarm: None,
            incarnation: Incarnation(0),
        });
        self.start(index, self.wall_clock());
        index
    }

    /// What a clock says that is right.
    pub(crate) fn wall_clock(&self) -> u64 {
        WALL_CLOCK + u64::try_from(self.now.as_micros()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(crate) fn clock(&self) -> Duration {
        self.now
    }

    /// How often the one node dialled the other.
    #[cfg(test)]
    pub(crate) fn dials(&self, from: NodeIndex, to: NodeIndex) -> usize {
        let is_one = |cable: &&Cable| cable.ends[0].node == from && cable.ends[1].node == to;
        self.net.cables.iter().filter(is_one).count()
    }

    pub(super) fn instant(&self) -> Instant {
        self.start + self.now
    }

    /// A new life of that node; one that it has ends.
    pub(crate) fn start(&mut self, index: NodeIndex, incarnation: u64) {
        self.start_as(index, incarnation, |_| {});
    }

    /// The same, otherwise configured than its certificate says.
    pub(crate) fn start_as(
        &mut self,
        index: NodeIndex,
        incarnation: u64,
        change: impl FnOnce(&mut MeshConfig),
    ) {
        if self.nodes[index].state != State::Dead {
            self.end(index);
        }
        let (instance, rng_seed) = (self.rng.random(), self.rng.random());
        let now = self.instant();
        let node = &mut self.nodes[index];
        let mut config = MeshConfig {
            name: node.name.clone(),
            incarnation: Incarnation(incarnation),
            instance,
            cluster: node.cluster.to_owned(),
            advertise: None,
            own: vec![address(index).to_string()],
            seeds: node.join.clone(),
            offer: node.offer,
            rng_seed,
        };
        change(&mut config);
        node.name = config.name.clone();
        node.incarnation = config.incarnation;
        node.mesh = Some(Mesh::new(config, now));
        node.life += 1;
        node.state = State::Running;
        node.left = None;
        node.flushing = false;
        node.slow = false;
        node.awake_since = self.now;
        node.table = MemberTable::new();
        node.traffic = Traffic::new(self.setup.interest());
        node.registry = Registry::default();
        node.asked.clear();
        node.newest.clear();
        node.published.clear();
        let life = node.life;
        let name = node.name.to_string();
        self.note(index, &Moment::Start { name, incarnation });
        let first = self.now + TICK.mul_f64(self.rng.random());
        self.net.at(first, Happening::Tick(index, life));
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.broken.is_none()
            && let Some((at, what)) = self.net.next(until)
        {
            self.now = self.now.max(at);
            self.happen(what);
        }
        self.now = until;
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Tick(node, life) => self.tick(node, life),
            Happening::Alarm(node, life) => self.alarm(node, life),
            Happening::Edges(node, life) => self.follow_hint(node, life),
            Happening::Packet(node, packet) => self.arrive(node, packet),
            Happening::NoAnswer(cable, tries) => self.dial_again(cable, tries),
            Happening::TaskEnded(node, life, id, ended) => match self.nodes[node].state {
                State::Running if self.nodes[node].life == life => {
                    self.handle_ended(node, id, ended);
                }
                // It goes on when its process does.
                State::Paused => {
                    let again = Happening::TaskEnded(node, life, id, ended);
                    self.net.at(self.now + TICK, again);
                }
                State::Running | State::Dead => {}
            },
            Happening::FlushOver(node, life) => self.flush_over(node, life),
        }
    }

    fn tick(&mut self, index: NodeIndex, life: Life) {
        if self.is_another_life(index, life) {
            return;
        }
        self.net.at(self.now + TICK, Happening::Tick(index, life));
        if self.nodes[index].is_running() {
            self.tick_now(index);
        }
    }

    pub(super) fn tick_now(&mut self, index: NodeIndex) {
        let now = self.instant();
        let node = &mut self.nodes[index];
        let Some(mesh) = &mut node.mesh else { return };
        for (id, link) in &mut node.links {
            if std::mem::take(&mut link.heard) {
                mesh.handle_heard(*id);
            }
        }
        mesh.handle_tick(now);
        self.follow(index);
        self.set_alarm(index);
        self.watch(index);
    }

    fn alarm(&mut self, index: NodeIndex, life: Life) {
        if self.is_another_life(index, life) {
            return;
        }
        let now = self.instant();
        let node = &mut self.nodes[index];
        if node.alarm.is_some_and(|at| at <= self.now) {
            node.alarm = None;
        }
        if node.is_running() {
            node.traffic.handle_edges(node.registry.take_edges(), now);
            node.traffic.handle_timeout(now);
            self.follow(index);
            self.set_alarm(index);
        }
    }

    fn set_alarm(&mut self, index: NodeIndex) {
        let node = &mut self.nodes[index];
        let Some(at) = node.traffic.set_alarm() else {
            return;
        };
        let at = at.saturating_duration_since(self.start).max(self.now);
        if node.alarm.is_none_or(|alarm| alarm > at) {
            node.alarm = Some(at);
            let life = node.life;
            self.net.at(at, Happening::Alarm(index, life));
        }
    }

    fn follow_hint(&mut self, index: NodeIndex, life: Life) {
        let now = self.instant();
        let node = &mut self.nodes[index];
        if node.life == life && node.is_running() && node.registry.has_edges() {
            node.traffic.handle_edges(node.registry.take_edges(), now);
            self.follow(index);
            self.set_alarm(index);
        }
    }

    /// Does what the machines of that node want done.
    pub(super) fn follow(&mut self, index: NodeIndex) {
        loop {
            self.note_refused(index);
            let effect = self.nodes[index].mesh.as_mut().and_then(Mesh::poll_effect);
            if let Some(effect) = effect {
                self.apply(index, effect);
                continue;
            }
            let wakes = self.nodes[index].traffic.take_wakes();
            if wakes.is_empty() {
                return;
            }
            for wake in wakes {
                self.wake(index, wake);
            }
        }
    }

    fn wake(&mut self, index: NodeIndex, wake: Wake<ConnectionId>) {
        match wake {
            Wake::Lane(outbox, lane) => self.pump(index, outbox.signals, lane + 1),
            Wake::Control(outbox) => self.pump(index, outbox.signals, super::cable::CONTROL),
            Wake::Overflow(outbox) => self.overflow(index, outbox.signals),
            Wake::Alarm => self.set_alarm(index),
        }
    }

    pub(super) fn is_another_life(&self, index: NodeIndex, life: Life) -> bool {
        let node = &self.nodes[index];
        node.life != life || node.state == State::Dead
    }

    fn arrive(&mut self, index: NodeIndex, packet: Packet) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        match node.state {
            State::Dead => {}
            State::Paused => node.backlog.push_back(packet),
            State::Running => self.read(index, packet),
        }
    }

    /// What was told of the members must be news, and in an order that the table of members understands.
    pub(super) fn member(&mut self, index: NodeIndex, event: MemberEvent) {
        let now = self.now;
        self.count_event(&event);
        let node = &mut self.nodes[index];
        if let MemberEvent::Up(member) = &event
            && node.table.is_current(&member.node, member.link)
        {
            self.tally.count(Seen::Recovered);
        }
        let news = node.table.handle(event.clone());
        if news != std::slice::from_ref(&event) {
            let text = format!("told out of order: {event:?}, which is news as {news:?}");
            return self.fail(index, text);
        }
        match &event {
            MemberEvent::Up(member) => {
                let newest = node.newest.entry(member.node.clone());
                let newest = newest.or_insert(member.incarnation);
                if *newest > member.incarnation {
                    let text = format!("Q7: {member:?} won over {newest:?}");
                    return self.fail(index, text);
                }
                *newest = member.incarnation;
            }
            MemberEvent::Forgotten(name) => {
                node.newest.remove(name);
            }
            _ => {}
        }
        node.events.push((now, event.clone()));
        self.note(index, &Moment::Member(format!("{event:?}")));
    }

    fn count_event(&mut self, event: &MemberEvent) {
        let seen = match event {
            MemberEvent::Up(_) => Seen::Up,
            MemberEvent::Suspect(_) => Seen::Suspect,
            MemberEvent::Down(_) => Seen::Down,
            MemberEvent::Forgotten(_) => Seen::Forgotten,
            MemberEvent::Gap { .. } => Seen::Gap,
            MemberEvent::Renumbered(_) => Seen::Renumbered,
            MemberEvent::Leaving(_) | MemberEvent::Restarting(..) => return,
        };
        self.tally.count(seen);
    }

    fn note(&mut self, index: NodeIndex, moment: &Moment) {
        self.trace.note(self.now, index, moment);
    }

    /// A promise is broken.
    pub(super) fn fail(&mut self, index: NodeIndex, text: String) {
        let node = &self.nodes[index];
        let text = format!(
            "{} (#{index}) after {:.4} s: {text}",
            node.name,
            self.now.as_secs_f64()
        );
        self.trace.remark(self.now, index, || text.clone());
        self.broken.get_or_insert(text);
    }
}
