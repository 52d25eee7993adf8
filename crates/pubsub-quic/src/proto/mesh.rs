//! The mesh: all connections of this node, and which of them is the link to whom.
//!
//! Both sides may dial, so two connections between the same two nodes are normal. One side settles it: the node
//! with the smaller name takes the first connection on which each has nothing against the other's hello (the larger
//! name says so by `Welcome`), says `Accept` on it, and closes every further one while that link lives. The other
//! side goes by `Accept` alone. A link that was
//! settled is never given up for another one of the same life, so nothing is lost over it; a newer life of a
//! peer replaces the older at once, and an older one is refused.
//!
//! Call order: any `handle_*` or verb, then [`poll_effect`](Mesh::poll_effect) until it is empty. After
//! [`Effect::Close`], and after a connection ended by itself, the driver makes sure that nothing of it is handed
//! on any more and then calls [`handle_ended`](Mesh::handle_ended), exactly once for each connection.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::{Member, MemberEvent, MemberState, Refusal, Renumbering, Step};
use matryoshka_pubsub::{Goodbye, Incarnation, LinkId, NodeName, Origin};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::address::{AddressBook, RECENT, is_dialable};
use super::close::Close;
use super::frame::{
    Accept, Addresses, Frame, GoodbyeFrame, Heartbeat, Hello, MAX_ADDRESSES, MemberAddress,
    OLDEST_PROTOCOL, PROTOCOL, Welcome,
};
use super::liveness::{Attention, HEARTBEAT, Verdict};
use super::notice::{Level, Notice, Notices};
use super::peer::{ConnectionId, Guest, Link, Peer, Stage, check_hello};

/// How many members are known at once; a further one is refused.
pub(crate) const MAX_PEERS: usize = 1024;
/// How many connections exist at once, in whatever stage; a further one is closed.
pub(crate) const MAX_LINKS: usize = 2 * MAX_PEERS;
/// How many connections are being dialled at once; further ones wait.
pub(crate) const MAX_DIALS: usize = 32;
/// How much later the node with the larger name dials an address it was told, so that seldom both do.
const HEAD_START: Duration = Duration::from_millis(250);

/// What a mesh is made with.
#[derive(Debug, Clone)]
pub(crate) struct MeshConfig {
    /// This node's name.
    pub(crate) name: NodeName,
    /// This node's incarnation.
    pub(crate) incarnation: Incarnation,
    /// A random number of this process.
    pub(crate) instance: u64,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// Where this node is to be dialled, if it is not where its packets come from.
    pub(crate) advertise: Option<String>,
    /// Addresses that are surely this node's own.
    pub(crate) own: Vec<String>,
    /// The operator's addresses of other nodes.
    pub(crate) seeds: Vec<String>,
    /// How many user lanes this node opens on a link.
    pub(crate) lanes: u16,
    /// Where the jitter comes from.
    pub(crate) rng_seed: u64,
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Connect to `address`; of several that a host name means, take number `attempt`, counted round.
    Dial {
        /// The connection's name from now on.
        connection: ConnectionId,
        /// Host and port.
        address: String,
        /// Counts up from 0.
        attempt: u32,
    },
    /// Send on the control stream. If the queue is full, the connection must end.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// What.
        frame: Frame,
    },
    /// Route every publish to this link, then say `Up`, then hand on what is received from it.
    Up {
        /// The link.
        connection: ConnectionId,
        /// Where its messages come from.
        origin: Origin,
        /// What to say.
        event: MemberEvent,
    },
    /// Route nothing more to it, and end it.
    Close {
        /// Which connection.
        connection: ConnectionId,
        /// What the other side is told.
        close: Close,
    },
    /// Tell this of the members.
    Member(MemberEvent),
    /// This node takes a higher incarnation: use and tell it from now on.
    Renumber(Incarnation),
    /// Write this to the log.
    Notice(Notice),
    /// This node has left the cluster, for this reason, and stays out.
    Left(String),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By [`Effect::Close`].
    ClosedHere,
    /// The other side closed it.
    ClosedByPeer(Close),
    /// It broke, or never came about.
    Broken {
        /// Why, for the log, with what cures it.
        text: String,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mesh {
    config: MeshConfig,
    rng: StdRng,
    book: AddressBook,
    links: BTreeMap<ConnectionId, Link>,
    peers: BTreeMap<NodeName, Peer>,
    last_connection: u64,
    last_link: u64,
    attention: Attention,
    renumbering: Renumbering,
    renumber: Option<Incarnation>,
    leaving: bool,
    left: bool,
    notices: Notices,
    effects: VecDeque<Effect>,
}

impl Mesh {
    /// A mesh of this node alone.
    pub(crate) fn new(config: MeshConfig, now: Instant) -> Self {
        let mut book = AddressBook::default();
        for seed in &config.seeds {
            book.add_seed(seed, now);
        }
        for own in &config.own {
            book.is_myself(own, now);
        }
        Self {
            rng: StdRng::seed_from_u64(config.rng_seed),
            book,
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            last_connection: 0,
            last_link: 0,
            attention: Attention::default(),
            renumbering: Renumbering::new(config.incarnation),
            renumber: None,
            leaving: false,
            left: false,
            notices: Notices::default(),
            effects: VecDeque::new(),
            config,
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// All members known, with and without a link.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// How many connections exist.
    pub(crate) fn connections(&self) -> usize {
        self.links.len()
    }

    /// Time has passed. Wanted every [`TICK`](super::liveness::TICK).
    pub(crate) fn handle_tick(&mut self, now: Instant) {
        let listened = self.attention.tick(now);
        self.watch_links(now, listened);
        self.forget_the_long_gone(now);
        self.dial_due(now);
    }

    /// Another node connected. Gives the connection's name.
    pub(crate) fn handle_accepted(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        certified: Vec<String>,
    ) -> ConnectionId {
        let id = self.next_connection();
        let full = self.links.len() >= MAX_LINKS;
        self.links
            .insert(id, Link::accepted(remote, certified, now));
        if full {
            self.close(id, Close::Full);
        } else {
            self.greet_or_decline(id);
        }
        id
    }

    /// A dialled node answered, and its certificate was verified.
    pub(crate) fn handle_connected(
        &mut self,
        now: Instant,
        id: ConnectionId,
        remote: SocketAddr,
        certified: Vec<String>,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.stage == Stage::Connecting {
            link.connected(remote, certified, now);
            self.greet_or_decline(id);
        }
    }

    /// Anything arrived on the connection since the last tick.
    pub(crate) fn handle_heard(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.liveness.heard() && link.stage == Stage::Up {
            self.change_state(id, MemberState::Suspect, MemberState::Up);
        }
    }

    /// A frame arrived on the control stream.
    pub(crate) fn handle_frame(&mut self, now: Instant, id: ConnectionId, frame: Frame) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if !link.is_open() {
            return;
        }
        match (link.stage, frame) {
            (Stage::Greeting, Frame::Hello(hello)) => self.handle_hello(now, id, hello),
            (Stage::Waiting, Frame::Welcome(_)) => self.handle_welcome(now, id),
            (Stage::Waiting, Frame::Accept(_)) => self.handle_accept(now, id),
            (Stage::Waiting | Stage::Up, Frame::Addresses(told)) => self.learn(now, told),
            (Stage::Up, Frame::Goodbye(goodbye)) => self.handle_goodbye(id, goodbye),
            (_, Frame::Heartbeat(_) | Frame::Goodbye(_)) => {}
            (stage, frame) => {
                let text = format!("unexpected {} while {stage:?}", frame.label());
                self.refuse(id, Close::Protocol { text });
            }
        }
    }

    /// The connection is over, and nothing of it is handed on any more.
    pub(crate) fn handle_ended(&mut self, now: Instant, id: ConnectionId, ended: Ended) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        match &ended {
            Ended::ClosedByPeer(close) => self.closed_by_peer(now, &link, close),
            Ended::Broken { text } if link.stage != Stage::Up => self.failed(&link, text),
            Ended::Broken { .. } | Ended::ClosedHere => {}
        }
        if let Some(address) = &link.dialled {
            self.book.dial_ended(address, now, &mut self.rng);
        }
        if let Some(guest) = &link.guest {
            self.guest_gone(now, id, &link, &guest.name, &ended);
        }
        self.renumber_if_alone(now);
    }

    /// A connection attempt from `remote` failed before anyone was known to be there.
    pub(crate) fn handle_intruder(&mut self, remote: SocketAddr, text: &str) {
        let text = format!("refused a connection from {}: {text}", remote.ip());
        self.tell_once(&remote.ip().to_string(), Level::Warn, text);
    }

    /// Says goodbye to all, dials nobody any more and lets nobody in. Only the first goodbye counts.
    pub(crate) fn leave(&mut self, goodbye: Goodbye) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        let restart_within_ms = match goodbye {
            Goodbye::Leaving => None,
            Goodbye::Restarting { grace } => {
                Some(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX))
            }
        };
        let frame = Frame::Goodbye(GoodbyeFrame { restart_within_ms });
        for connection in self.up_links() {
            let frame = frame.clone();
            self.effects.push_back(Effect::Send { connection, frame });
        }
        self.close_where(Link::is_pending, &Close::Leaving);
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            oldest: OLDEST_PROTOCOL,
            capabilities: Vec::new(),
            cluster: self.config.cluster.clone(),
            name: self.config.name.to_string(),
            incarnation: self.renumbering.own().0,
            instance: self.config.instance,
            advertise: self.config.advertise.clone(),
            lanes: self.config.lanes,
        }
    }

    fn greet_or_decline(&mut self, id: ConnectionId) {
        if self.left || self.leaving {
            return self.close(id, Close::Leaving);
        }
        if self.renumber.is_some() {
            return self.close(id, Close::Renumbered);
        }
        let frame = Frame::Hello(self.hello());
        self.effects.push_back(Effect::Send {
            connection: id,
            frame,
        });
    }

    fn handle_hello(&mut self, now: Instant, id: ConnectionId, hello: Hello) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let Some(remote) = link.remote else { return };
        let guest = match check_hello(&hello, &self.config.cluster, &link.certified, remote) {
            Ok(guest) => guest,
            Err(close) => return self.refuse_hello(id, &hello, close),
        };
        if guest.name == self.config.name {
            return self.meet_namesake(now, id, guest);
        }
        if !self.peers.contains_key(&guest.name) && self.peers.len() >= MAX_PEERS {
            return self.refuse_hello(id, &hello, Close::Full);
        }
        self.receive(id, guest);
    }

    /// A node that says this node's name: itself, or a twin.
    fn meet_namesake(&mut self, now: Instant, id: ConnectionId, guest: Guest) {
        if guest.instance == self.config.instance {
            let dialled = self.links.get(&id).and_then(|link| link.dialled.clone());
            if let Some(address) = dialled {
                self.book.is_myself(&address, now);
            }
            return self.close(id, Close::Myself);
        }
        if guest.life() < (self.renumbering.own(), self.config.instance) {
            let address = self.own_address();
            let text = format!(
                "another node called {} is at {}; it is the older one and has to go: give every node a name of its own",
                guest.name, guest.address
            );
            self.tell_once(&guest.address, Level::Warn, text);
            let incarnation = self.renumbering.own().0;
            return self.close(
                id,
                Close::Older {
                    incarnation,
                    up: true,
                    address,
                },
            );
        }
        self.close(id, Close::Twin);
        let refusal = Refusal {
            newest: guest.incarnation,
            up: true,
        };
        self.refused(now, refusal, &guest.address);
    }

    /// A proper guest: newer, older or the same life as the one known.
    fn receive(&mut self, id: ConnectionId, guest: Guest) {
        let name = guest.name.clone();
        if let Some(peer) = self.peers.get(&name) {
            if guest.life() < peer.guest.life() {
                let close = self.older_than_known(peer);
                return self.refuse(id, close);
            }
            if guest.life() > peer.guest.life() {
                self.supersede(&guest);
            }
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.guest = Some(guest);
            link.stage = Stage::Waiting;
        }
        if !self.settles_with(&name) {
            let frame = Frame::Welcome(Welcome {});
            self.effects.push_back(Effect::Send {
                connection: id,
                frame,
            });
        }
    }

    fn older_than_known(&self, peer: &Peer) -> Close {
        let up = peer
            .link
            .and_then(|link| self.links.get(&link))
            .is_some_and(|link| link.stage == Stage::Up);
        Close::Older {
            incarnation: peer.guest.incarnation.0,
            up,
            address: peer.guest.address.clone(),
        }
    }

    /// Ends all connections of earlier lives of `guest`, and remembers the new one.
    fn supersede(&mut self, guest: &Guest) {
        let close = Close::Older {
            incarnation: guest.incarnation.0,
            up: true,
            address: guest.address.clone(),
        };
        let earlier = |link: &Link| {
            link.guest
                .as_ref()
                .is_some_and(|other| other.name == guest.name && other.life() < guest.life())
        };
        self.close_where(earlier, &close);
        if let Some(peer) = self.peers.get_mut(&guest.name) {
            peer.guest.instance = guest.instance;
            peer.guest.incarnation = guest.incarnation;
            peer.next = None;
        }
    }

    /// Whether this node says which connection to `name` is kept.
    fn settles_with(&self, name: &NodeName) -> bool {
        self.config.name < *name
    }

    /// The other side has nothing against this node; the first such connection is kept.
    fn handle_welcome(&mut self, now: Instant, id: ConnectionId) {
        let guest = self.links.get(&id).and_then(|link| link.guest.as_ref());
        let Some(name) = guest.map(|guest| guest.name.clone()) else {
            return;
        };
        if !self.settles_with(&name) {
            let text = "welcome from the node with the smaller name".to_owned();
            return self.refuse(id, Close::Protocol { text });
        }
        let taken = self.peers.get(&name).is_some_and(|peer| {
            let alive = |link: &Link| link.stage == Stage::Up;
            peer.next.is_some()
                || peer
                    .link
                    .and_then(|link| self.links.get(&link))
                    .is_some_and(alive)
        });
        if taken {
            self.close(id, Close::Duplicate);
        } else {
            self.settle(now, id, &name);
        }
    }

    /// The other side has settled on this connection, so it has seen the end of any earlier one.
    fn handle_accept(&mut self, now: Instant, id: ConnectionId) {
        let guest = self.links.get(&id).and_then(|link| link.guest.clone());
        let Some(guest) = guest else { return };
        if self.settles_with(&guest.name) {
            let text = "accept from the node with the larger name".to_owned();
            return self.refuse(id, Close::Protocol { text });
        }
        let earlier = self
            .peers
            .get(&guest.name)
            .map(|peer| (peer.link, peer.next));
        let (link, next) = earlier.unwrap_or_default();
        for earlier in [link, next].into_iter().flatten() {
            self.close(earlier, Close::Duplicate);
        }
        self.settle(now, id, &guest.name);
    }

    /// This connection is the one. It becomes the link as soon as an earlier one has ended.
    fn settle(&mut self, now: Instant, id: ConnectionId, name: &NodeName) {
        match self.peers.get_mut(name) {
            Some(peer) if peer.link.is_some() => peer.next = Some(id),
            _ => self.promote(now, id),
        }
    }

    fn promote(&mut self, now: Instant, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Some(guest) = link.guest.clone() else {
            return;
        };
        if link.stage != Stage::Waiting {
            return;
        }
        self.last_link += 1;
        let number = LinkId(self.last_link);
        link.stage = Stage::Up;
        link.number = Some(number);
        link.heartbeat_at = now + HEARTBEAT;
        let member = Member::up(guest.name.clone(), guest.incarnation, number);
        let dialled = link.dialled.clone();
        self.book
            .met(&guest.name, &guest.address, dialled.as_deref(), now);
        self.notices.settle(&guest.address);
        self.notices.settle(&guest.label());
        self.renumbering.handle_accepted();
        let name = guest.name.clone();
        let origin = Origin {
            node: name.clone(),
            incarnation: guest.incarnation,
            link: number,
        };
        let peer = Peer {
            guest,
            state: MemberState::Up,
            link: Some(id),
            next: None,
            gone_since: now,
        };
        let event = MemberEvent::Up(member);
        let text = format!("{name} is up, at {}", peer.guest.address);
        self.peers.insert(name.clone(), peer);
        if self.settles_with(&name) {
            let frame = Frame::Accept(Accept {});
            self.effects.push_back(Effect::Send {
                connection: id,
                frame,
            });
        }
        self.effects.push_back(Effect::Up {
            connection: id,
            origin,
            event,
        });
        self.tell(Level::Info, text);
        self.drop_rivals(id, &name);
        self.introduce(id, &name);
    }

    /// Ends all other attempts to reach `name`.
    fn drop_rivals(&mut self, kept: ConnectionId, name: &NodeName) {
        let book = &self.book;
        let rivals: Vec<ConnectionId> = self
            .links
            .iter()
            .filter(|(id, link)| **id != kept && link.is_pending())
            .filter(|(_, link)| match (&link.guest, &link.dialled) {
                (Some(guest), _) => guest.name == *name,
                (None, Some(address)) => {
                    book.get(address).and_then(|target| target.name.as_ref()) == Some(name)
                }
                (None, None) => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in rivals {
            self.close(id, Close::Duplicate);
        }
    }

    /// Tells the new link of all others, and all others of the new link.
    fn introduce(&mut self, id: ConnectionId, name: &NodeName) {
        let mut others = Vec::new();
        let mut newcomer = Vec::new();
        for peer in self.peers.values().filter(|peer| peer.link.is_some()) {
            let member = MemberAddress {
                name: peer.guest.name.to_string(),
                incarnation: peer.guest.incarnation.0,
                address: peer.guest.address.clone(),
            };
            if peer.guest.name == *name {
                newcomer.push(member);
            } else {
                others.push(member);
            }
        }
        for members in others.chunks(MAX_ADDRESSES) {
            self.tell_addresses(id, members.to_vec());
        }
        for link in self.up_links() {
            if link != id {
                self.tell_addresses(link, newcomer.clone());
            }
        }
    }

    fn tell_addresses(&mut self, connection: ConnectionId, members: Vec<MemberAddress>) {
        let frame = Frame::Addresses(Addresses { members });
        self.effects.push_back(Effect::Send { connection, frame });
    }

    /// Takes in where others are. What is malformed, old or too much is passed over.
    fn learn(&mut self, now: Instant, told: Addresses) {
        for member in told.members.into_iter().take(MAX_ADDRESSES) {
            let Ok(name) = NodeName::new(&member.name) else {
                continue;
            };
            let known = self.peers.get(&name);
            let is_old = known.is_some_and(|peer| {
                peer.link.is_some() || peer.guest.incarnation.0 > member.incarnation
            });
            if name == self.config.name || is_old || !is_dialable(&member.address) {
                continue;
            }
            let delay = if self.settles_with(&name) {
                Duration::ZERO
            } else {
                HEAD_START
            };
            self.book.learn(&member.address, &name, now, delay);
        }
        self.dial_due(now);
    }

    fn handle_goodbye(&mut self, id: ConnectionId, goodbye: GoodbyeFrame) {
        let grace = goodbye.restart_within_ms.map(Duration::from_millis);
        let state = match grace {
            None => MemberState::Leaving,
            Some(_) => MemberState::Restarting,
        };
        let Some((peer, member)) = self.member_of(id, state) else {
            return;
        };
        peer.state = state;
        let text = format!("{} is about to leave", member.node);
        let event = match grace {
            None => MemberEvent::Leaving(member),
            Some(grace) => MemberEvent::Restarting(member, grace),
        };
        self.effects.push_back(Effect::Member(event));
        self.tell(Level::Info, text);
    }

    /// A connection of the guest called `name` has ended.
    fn guest_gone(
        &mut self,
        now: Instant,
        id: ConnectionId,
        link: &Link,
        name: &NodeName,
        ended: &Ended,
    ) {
        let Some(peer) = self.peers.get_mut(name) else {
            return;
        };
        if peer.next == Some(id) {
            peer.next = None;
        }
        if peer.link != Some(id) {
            return;
        }
        let gone_for_good = peer.state == MemberState::Leaving;
        peer.link = None;
        peer.state = MemberState::Down;
        peer.gone_since = now;
        let next = peer.next.take();
        let down = link.member(MemberState::Down).map(MemberEvent::Down);
        self.effects.extend(down.map(Effect::Member));
        self.tell(Level::Info, format!("{name} is down: {}", reason(ended)));
        self.book.lost(name, now, &mut self.rng);
        match next {
            Some(next) => self.promote(now, next),
            None if gone_for_good => self.forget(name),
            None => {}
        }
    }

    fn forget(&mut self, name: &NodeName) {
        self.peers.remove(name);
        self.book.forget(name);
        let event = MemberEvent::Forgotten(name.clone());
        self.effects.push_back(Effect::Member(event));
    }

    fn closed_by_peer(&mut self, now: Instant, link: &Link, close: &Close) {
        match close {
            Close::Older {
                incarnation,
                up,
                address,
            } => {
                if let Some(dialled) = &link.dialled {
                    self.book.answered(dialled);
                }
                let refusal = Refusal {
                    newest: Incarnation(*incarnation),
                    up: *up,
                };
                self.refused(now, refusal, address);
            }
            Close::Myself => {
                if let Some(address) = &link.dialled {
                    self.book.is_myself(address, now);
                }
            }
            // Normal life: another connection, a restart, a namesake that will go by itself.
            Close::Duplicate | Close::Twin | Close::Renumbered | Close::Leaving => {}
            _ if link.stage == Stage::Up => {}
            close => {
                let text = format!(
                    "{} refuses this node: {close}{}",
                    link.label(),
                    cure(close, &self.config)
                );
                self.tell_once(&link.label(), Level::Warn, text);
            }
        }
    }

    fn failed(&mut self, link: &Link, text: &str) {
        let who = link.label();
        let text = format!("no connection with {who}: {text}");
        self.tell_once(&who, Level::Warn, text);
    }

    fn watch_links(&mut self, now: Instant, listened: Duration) {
        let ids: Vec<ConnectionId> = self.links.keys().copied().collect();
        for id in ids {
            let Some((stage, deadline)) =
                self.links.get(&id).map(|link| (link.stage, link.deadline))
            else {
                continue;
            };
            match stage {
                Stage::Closing => {}
                Stage::Up => self.watch_up(now, id, listened),
                _ if deadline > now => {}
                Stage::Connecting => self.give_up_dialling(id),
                // It is settled, and waits only for an earlier link to end.
                Stage::Waiting if self.is_next(id) => {}
                Stage::Greeting | Stage::Waiting => self.refuse(id, Close::TooSlow),
            }
        }
    }

    fn give_up_dialling(&mut self, id: ConnectionId) {
        let who = self.links.get(&id).map(Link::label).unwrap_or_default();
        let text =
            format!("no answer from {who}: is the node running, and is UDP let through to it?");
        self.tell_once(&who, Level::Warn, text);
        self.close(id, Close::TooSlow);
    }

    fn is_next(&self, id: ConnectionId) -> bool {
        self.peers.values().any(|peer| peer.next == Some(id))
    }

    fn watch_up(&mut self, now: Instant, id: ConnectionId, listened: Duration) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.heartbeat_at <= now {
            link.heartbeat_at = now + HEARTBEAT;
            let frame = Frame::Heartbeat(Heartbeat {});
            self.effects.push_back(Effect::Send {
                connection: id,
                frame,
            });
        }
        match link.liveness.silent(listened) {
            Verdict::Unchanged => {}
            Verdict::Suspect => self.change_state(id, MemberState::Up, MemberState::Suspect),
            Verdict::Down => self.close(id, Close::Silent),
        }
    }

    /// Says that the member over link `id` is `to` now, if it was `from`.
    fn change_state(&mut self, id: ConnectionId, from: MemberState, to: MemberState) {
        let Some((peer, member)) = self.member_of(id, to) else {
            return;
        };
        if peer.state != from {
            return;
        }
        peer.state = to;
        let event = match to {
            MemberState::Suspect => MemberEvent::Suspect(member),
            _ => MemberEvent::Up(member),
        };
        self.effects.push_back(Effect::Member(event));
    }

    /// The peer whose link `id` is, and how it is told of in `state`.
    fn member_of(&mut self, id: ConnectionId, state: MemberState) -> Option<(&mut Peer, Member)> {
        let link = self.links.get(&id)?;
        let member = link.member(state)?;
        let peer = self.peers.get_mut(&member.node)?;
        (peer.link == Some(id)).then_some((peer, member))
    }

    /// Somebody knows a newer life under this node's name, at `address`.
    fn refused(&mut self, now: Instant, refusal: Refusal, address: &str) {
        if self.left || self.renumber.is_some() {
            return;
        }
        let name = &self.config.name;
        match self.renumbering.handle_refusal(refusal, now) {
            Step::AskAgain => {
                let text = format!(
                    "refused: a newer node called {name} is known at {address}; asking again for {} s",
                    Renumbering::PATIENCE.as_secs()
                );
                self.tell_once(address, Level::Warn, text);
            }
            Step::Renumber(incarnation) => {
                let text = format!(
                    "the others know a newer life of this node that is gone: taking incarnation {incarnation} (did the clock go back?)"
                );
                self.tell(Level::Warn, text);
                self.renumber = Some(incarnation);
                self.close_where(|_| true, &Close::Renumbered);
                self.renumber_if_alone(now);
            }
            Step::Leave => self.leave_to_twin(address),
        }
    }

    /// The new number is taken between two sets of links: every peer sees an end, then a new life.
    fn renumber_if_alone(&mut self, now: Instant) {
        if !self.links.is_empty() {
            return;
        }
        if let Some(incarnation) = self.renumber.take() {
            self.effects.push_back(Effect::Renumber(incarnation));
            self.book.retry_all(now, &mut self.rng);
        }
    }

    fn leave_to_twin(&mut self, address: &str) {
        let text = format!(
            "this node leaves the cluster: a newer node with the same name {} is alive at {address}; give each node a name of its own and start this one again",
            self.config.name
        );
        self.left = true;
        self.close_where(|_| true, &Close::Leaving);
        self.tell(Level::Error, text.clone());
        self.effects.push_back(Effect::Left(text));
    }

    fn forget_the_long_gone(&mut self, now: Instant) {
        let gone: Vec<NodeName> = self
            .peers
            .values()
            .filter(|peer| peer.link.is_none() && now >= peer.gone_since + RECENT)
            .map(|peer| peer.guest.name.clone())
            .filter(|name| !self.book.is_seed(name))
            .collect();
        for name in gone {
            self.forget(&name);
        }
        let peers = &self.peers;
        self.book.expire(now, |name| peers.contains_key(name));
    }

    fn dial_due(&mut self, now: Instant) {
        if self.left || self.leaving || self.renumber.is_some() {
            return;
        }
        let dialling = |link: &&Link| link.dialled.is_some() && link.is_pending();
        let mut under_way = self.links.values().filter(dialling).count();
        while under_way < MAX_DIALS {
            let busy = self.names_being_met();
            let Some(address) = self.book.next_due(now, |name| !busy.contains(&name)) else {
                return;
            };
            let connection = self.next_connection();
            let attempt = self.book.dial(&address, connection);
            self.links
                .insert(connection, Link::dialled(address.clone(), now));
            self.effects.push_back(Effect::Dial {
                connection,
                address,
                attempt,
            });
            under_way += 1;
        }
    }

    /// Nodes with a link, or an attempt at one.
    fn names_being_met(&self) -> Vec<&NodeName> {
        let open = self
            .links
            .values()
            .filter(|link| link.stage != Stage::Closing);
        open.filter_map(|link| match (&link.guest, &link.dialled) {
            (Some(guest), _) => Some(&guest.name),
            (None, Some(address)) => self.book.get(address)?.name.as_ref(),
            (None, None) => None,
        })
        .collect()
    }

    fn up_links(&self) -> Vec<ConnectionId> {
        let up = |(id, link): (&ConnectionId, &Link)| (link.stage == Stage::Up).then_some(*id);
        self.links.iter().filter_map(up).collect()
    }

    fn next_connection(&mut self) -> ConnectionId {
        self.last_connection += 1;
        ConnectionId(self.last_connection)
    }

    fn own_address(&self) -> String {
        let advertised = self.config.advertise.as_ref();
        let own = advertised.or(self.config.own.first());
        own.cloned()
            .unwrap_or_else(|| "an address of its own".to_owned())
    }

    fn close_where(&mut self, which: impl Fn(&Link) -> bool, close: &Close) {
        let chosen: Vec<ConnectionId> = self
            .links
            .iter()
            .filter(|(_, link)| which(link))
            .map(|(id, _)| *id)
            .collect();
        for id in chosen {
            self.close(id, close.clone());
        }
    }

    fn close(&mut self, id: ConnectionId, close: Close) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.stage != Stage::Closing {
            link.stage = Stage::Closing;
            self.effects.push_back(Effect::Close {
                connection: id,
                close,
            });
        }
    }

    /// Closes, and says so in the log.
    fn refuse(&mut self, id: ConnectionId, close: Close) {
        let who = self.links.get(&id).map(Link::label).unwrap_or_default();
        let text = format!("refused {who}: {close}{}", cure(&close, &self.config));
        self.tell_once(&who, Level::Warn, text);
        self.close(id, close);
    }

    /// As [`refuse`](Self::refuse), in words that speak of the other side.
    fn refuse_hello(&mut self, id: ConnectionId, hello: &Hello, close: Close) {
        let who = self.links.get(&id).map(Link::label).unwrap_or_default();
        let why = match &close {
            Close::OtherCluster { .. } => format!(
                "it belongs to cluster {:?}, this node to {:?}: give both the same cluster name",
                hello.cluster, self.config.cluster
            ),
            Close::NameNotCertified => format!(
                "it says it is {:?}, but its certificate is for {}: let it use the name of its certificate",
                hello.name,
                self.certified_names(id)
            ),
            Close::Version { .. } => format!(
                "it speaks protocol versions {} to {}, this node {OLDEST_PROTOCOL} to {PROTOCOL}: upgrade the older one",
                hello.oldest, hello.protocol
            ),
            close => close.to_string(),
        };
        self.tell_once(&who, Level::Warn, format!("refused {who}: {why}"));
        self.close(id, close);
    }

    fn certified_names(&self, id: ConnectionId) -> String {
        let names = self.links.get(&id).map(|link| link.certified.join(", "));
        match names {
            Some(names) if !names.is_empty() => names,
            _ => "no node".to_owned(),
        }
    }

    fn tell(&mut self, level: Level, text: String) {
        self.effects
            .push_back(Effect::Notice(Notice { level, text }));
    }

    fn tell_once(&mut self, subject: &str, level: Level, text: String) {
        if self.notices.is_news(subject, &text) {
            self.tell(level, text);
        }
    }
}

/// What the operator of the refused node can do about it.
fn cure(close: &Close, config: &MeshConfig) -> String {
    match close {
        Close::OtherCluster { .. } => format!(
            ", this node to {:?}: give both the same cluster name",
            config.cluster
        ),
        Close::NameNotCertified => format!(
            ": {:?} must be the name in this node's certificate",
            config.name.as_str()
        ),
        Close::Version { .. } => {
            format!(", this node {OLDEST_PROTOCOL} to {PROTOCOL}: upgrade the older one")
        }
        _ => String::new(),
    }
}

fn reason(ended: &Ended) -> String {
    match ended {
        Ended::ClosedHere => "this side closed the link".to_owned(),
        Ended::ClosedByPeer(close) => format!("it closed the link: {close}"),
        Ended::Broken { text } => text.clone(),
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
