//! The mesh: all connections of this node, and which of them is the link to whom.
//!
//! Both sides may dial, so two connections between the same two nodes are normal. One side settles it: the node
//! with the smaller name takes the first connection on which each has nothing against the other's hello (the larger
//! name says so by `Welcome`), says `Accept` on it, and closes every further one while that link lives. The other
//! side goes by `Accept` alone. A settled link is never given up for another one of the same life, so nothing is
//! lost over it; a newer life of a peer replaces the older at once, and an older one is refused.
//!
//! Call order: any `handle_*` or verb, then [`poll_effect`](Mesh::poll_effect) until it is empty. After
//! [`Effect::Close`], and after a connection ended by itself, the driver makes sure that nothing of it is handed
//! on any more and then calls [`handle_ended`](Mesh::handle_ended), exactly once for each connection.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cell::LazyCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::{Member, MemberEvent, MemberState, Renumbering};
use matryoshka_pubsub::{Goodbye, Incarnation, NodeName, Origin};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::address::{AddressBook, RECENT, is_dialable};
use super::close::Close;
use super::codec::Codec;
use super::frame::{Frame, Hello, MAX_ADDRESSES, MemberAddress};
use super::liveness::{Attention, HEARTBEAT, Verdict};
use super::notice::{Allowance, Level, Notice, Notices};
use super::peer::{Certified, ConnectionId, Link, Peer, RETURN_LIMIT, Stage};
use super::terms::{Offer, Terms};
use super::trouble::Trouble;

/// How many members are known at once; a further one is refused.
pub(crate) const MAX_PEERS: usize = 1024;
/// How many connections exist at once, in whatever stage; a further one is closed.
pub(crate) const MAX_LINKS: usize = 2 * MAX_PEERS;
/// How many connections are being dialled at once; further ones wait.
pub(crate) const MAX_DIALS: usize = 32;
/// How much later the node with the larger name dials an address it was told, so that seldom both do.
const HEAD_START: Duration = Duration::from_millis(250);

/// How often one member, each in its turn, is told of all others again: two that forgot each other while they could
/// not reach each other meet by way of those that reach both.
const REINTRODUCE_EVERY: Duration = Duration::from_secs(10);

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
    /// What this node is willing to do on any link.
    pub(crate) offer: Offer,
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
    /// As `Broken`, of a kind that is told once however its words differ: most often one side refused the other.
    Failed(Trouble),
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
    reintroduce_at: Instant,
    reintroduced: Option<ConnectionId>,
    attention: Attention,
    renumbering: Renumbering,
    renumber: Option<Incarnation>,
    leaving: bool,
    left: bool,
    notices: Notices,
    strangers: Allowance,
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
            reintroduce_at: now + REINTRODUCE_EVERY,
            reintroduced: None,
            attention: Attention::default(),
            renumbering: Renumbering::new(config.incarnation),
            renumber: None,
            leaving: false,
            left: false,
            notices: Notices::default(),
            strangers: Allowance::new(now),
            effects: VecDeque::new(),
            config,
        }
    }

    /// How often a seed's host name is looked up again, in place of [`LOOK_AGAIN`](super::address::LOOK_AGAIN).
    pub(crate) fn look_again_every(&mut self, time: Duration) {
        self.book.look_again_every(time);
    }

    /// The next thing to do.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// All members known, with and without a link.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// How this node writes on that connection: as agreed, and until then as its newest version has it.
    pub(crate) fn codec(&self, id: ConnectionId) -> Codec {
        self.terms(id)
            .map_or(self.config.offer.newest, |terms| terms.codec)
    }

    /// What was agreed with the other end, once that is known.
    pub(crate) fn terms(&self, id: ConnectionId) -> Option<&Terms> {
        let guest = self.links.get(&id)?.guest.as_ref()?;
        Some(&guest.terms)
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
        self.reintroduce(now);
        self.dial_due(now);
    }

    /// Another node connected. Gives the connection's name.
    pub(crate) fn handle_accepted(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        certified: impl Into<Certified>,
    ) -> ConnectionId {
        let id = self.next_connection();
        let full = self.links.len() >= MAX_LINKS;
        self.links
            .insert(id, Link::accepted(remote, certified.into(), now));
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
        certified: impl Into<Certified>,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.stage == Stage::Connecting {
            link.connected(remote, certified.into(), now);
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
            (Stage::Waiting, Frame::Welcome) => self.handle_welcome(now, id),
            (Stage::Waiting, Frame::Accept) => self.handle_accept(now, id),
            (Stage::Waiting | Stage::Up, Frame::Addresses(told)) => self.learn(now, told),
            (Stage::Up, Frame::Goodbye { restart_within_ms }) => {
                self.handle_goodbye(id, restart_within_ms.map(Duration::from_millis));
            }
            (_, Frame::Heartbeat | Frame::Goodbye { .. }) => {}
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
            Ended::Failed(trouble) if link.stage != Stage::Up => self.not_met(&link, trouble),
            Ended::Broken { .. } | Ended::Failed(_) | Ended::ClosedHere => {}
        }
        if let Some(address) = &link.dialled {
            self.book.dial_ended(address, id, now, &mut self.rng);
        }
        if let Some(guest) = &link.guest {
            self.guest_gone(now, id, &link, &guest.name, &ended);
        }
        self.renumber_if_alone(now);
    }

    /// A connection attempt from `remote` failed before anyone was known to be there.
    pub(crate) fn handle_intruder(&mut self, now: Instant, remote: SocketAddr, trouble: &Trouble) {
        let place = remote.ip().to_string();
        let text = format!("refused a connection from {place}: {trouble}");
        if self.strangers.may_tell(now) && self.notices.is_news(&place, &trouble.kind) {
            let more = self.strangers.tell();
            self.tell(Level::Warn, text + more);
        }
    }

    /// Something about the other end of a connection that is no reason to refuse it, but to look at it.
    pub(crate) fn handle_trouble(&mut self, id: ConnectionId, trouble: &Trouble) {
        if let Some(link) = self.links.get(&id) {
            let (place, text) = (link.place(), format!("{}: {trouble}", link.label()));
            self.tell_once_of(&place, &trouble.kind, text);
        }
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
        let frame = Frame::Goodbye { restart_within_ms };
        for connection in self.up_links() {
            let frame = frame.clone();
            self.effects.push_back(Effect::Send { connection, frame });
        }
        self.close_where(Link::is_pending, &Close::Leaving);
    }

    fn hello(&self) -> Hello {
        Hello {
            cluster: self.config.cluster.clone(),
            name: self.config.name.to_string(),
            incarnation: self.renumbering.own().0,
            instance: self.config.instance,
            advertise: self.config.advertise.clone(),
            ..self.config.offer.hello()
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

    /// Takes in where others are. What is malformed, old or too much is passed over.
    fn learn(&mut self, now: Instant, told: Vec<MemberAddress>) {
        let mut is_news = false;
        for member in told.into_iter().take(MAX_ADDRESSES) {
            let Ok(name) = NodeName::new(&member.name) else {
                continue;
            };
            let known = self.peers.get(&name);
            // A later life than the linked one is to be met: that one is dead, or a twin.
            let is_old = known.is_some_and(|peer| {
                let linked = peer.guest.incarnation.0 == member.incarnation && peer.link.is_some();
                linked || peer.guest.incarnation.0 > member.incarnation
            });
            if name == self.config.name || is_old || !is_dialable(&member.address) {
                continue;
            }
            let delay = if self.settles_with(&name) {
                Duration::ZERO
            } else {
                HEAD_START
            };
            let peers = &self.peers;
            let is_linked = |name: &NodeName| {
                let linked = peers.get(name).filter(|peer| peer.link.is_some());
                linked.is_some_and(|peer| peer.guest.address == member.address)
            };
            let life = (&name, Incarnation(member.incarnation));
            is_news |= self
                .book
                .learn(&member.address, life, now, delay, is_linked);
        }
        // In a large mesh most of what is told is known: the next tick is soon enough for what is due anyway.
        if is_news {
            self.dial_due(now);
        }
    }

    fn handle_goodbye(&mut self, id: ConnectionId, grace: Option<Duration>) {
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
        let is_dead = link.liveness.is_down()
            || matches!(peer.state, MemberState::Leaving | MemberState::Restarting);
        peer.may_return_until = if is_dead { now } else { now + RETURN_LIMIT };
        peer.link = None;
        let state = std::mem::replace(&mut peer.state, MemberState::Down);
        peer.gone_since = now;
        let next = peer.next.take();
        let down = link.member(MemberState::Down).map(MemberEvent::Down);
        self.effects.extend(down.map(Effect::Member));
        let why = self.why_down(link, state, ended);
        self.tell(Level::Info, format!("{name} is down: {why}"));
        self.book.lost(name, now, &mut self.rng);
        match next {
            Some(next) => self.promote(now, next),
            None if gone_for_good => self.forget(name),
            None => {}
        }
    }

    /// Who of the two closed a link says little: one that leaves has its links closed by those who stay.
    fn why_down(&self, link: &Link, state: MemberState, ended: &Ended) -> String {
        let is_goodbye = matches!(
            ended,
            Ended::ClosedHere | Ended::ClosedByPeer(Close::Leaving)
        );
        match state {
            MemberState::Leaving => "it has left".to_owned(),
            MemberState::Restarting => "it restarts".to_owned(),
            _ if self.leaving && is_goodbye => "this node leaves the cluster".to_owned(),
            _ => reason(ended, link),
        }
    }

    fn forget(&mut self, name: &NodeName) {
        self.peers.remove(name);
        self.book.forget(name);
        let event = MemberEvent::Forgotten(name.clone());
        self.effects.push_back(Effect::Member(event));
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

    fn is_next(&self, id: ConnectionId) -> bool {
        self.peers.values().any(|peer| peer.next == Some(id))
    }

    fn watch_up(&mut self, now: Instant, id: ConnectionId, listened: Duration) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.heartbeat_at <= now {
            link.heartbeat_at = now + HEARTBEAT;
            let frame = Frame::Heartbeat;
            self.effects.push_back(Effect::Send {
                connection: id,
                frame,
            });
        }
        if link.liveness.was_heard() {
            link.heard_at = now;
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
            let busy = LazyCell::new(|| self.lives_being_met());
            let is_news = |name: &NodeName, incarnation| {
                !self.is_linked(name, incarnation)
                    && busy.get(name).is_none_or(|life| *life < incarnation)
            };
            let Some(address) = self.book.next_due(now, is_news) else {
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

    /// Whether the link to that node is one to that life or a later one: known at once, without looking at all connections.
    fn is_linked(&self, name: &NodeName, incarnation: Incarnation) -> bool {
        let link = self.peers.get(name).and_then(|peer| peer.link);
        let link = link.and_then(|link| self.links.get(&link));
        let link = link.filter(|link| link.stage != Stage::Closing);
        let guest = link.and_then(|link| link.guest.as_ref());
        guest.is_some_and(|guest| guest.incarnation >= incarnation)
    }

    /// Nodes with a link, or an attempt at one, and with which life of theirs; of several, the latest.
    fn lives_being_met(&self) -> BTreeMap<&NodeName, Incarnation> {
        let mut lives = BTreeMap::new();
        for (name, incarnation) in self.meetings() {
            let life = lives.entry(name).or_insert(incarnation);
            *life = incarnation.max(*life);
        }
        lives
    }

    fn meetings(&self) -> impl Iterator<Item = (&NodeName, Incarnation)> {
        let open = self
            .links
            .values()
            .filter(|link| link.stage != Stage::Closing);
        open.filter_map(|link| match (&link.guest, &link.dialled) {
            (Some(guest), _) => Some((&guest.name, guest.incarnation)),
            (None, Some(address)) => {
                let target = self.book.get(address)?;
                Some((target.name.as_ref()?, target.incarnation))
            }
            (None, None) => None,
        })
    }

    fn up_links(&self) -> Vec<ConnectionId> {
        let up = |(id, link): (&ConnectionId, &Link)| (link.stage == Stage::Up).then_some(*id);
        self.links.iter().filter_map(up).collect()
    }

    fn next_connection(&mut self) -> ConnectionId {
        self.last_connection += 1;
        ConnectionId(self.last_connection)
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

    fn tell(&mut self, level: Level, text: String) {
        self.effects
            .push_back(Effect::Notice(Notice { level, text }));
    }

    /// As [`tell_once`](Self::tell_once), for words that differ each time: one line of each kind.
    fn tell_once_of(&mut self, subject: &str, kind: &str, text: String) {
        if self.notices.is_news(subject, kind) {
            self.tell(Level::Warn, text);
        }
    }

    fn tell_once(&mut self, subject: &str, level: Level, text: String) {
        if self.notices.is_news(subject, &text) {
            self.tell(level, text);
        }
    }
}

fn reason(ended: &Ended, link: &Link) -> String {
    match ended {
        Ended::ClosedHere if link.liveness.is_down() => {
            "nothing was heard of it for too long: is it running, and is UDP let through to it?"
                .to_owned()
        }
        Ended::ClosedHere => "this side closed the link".to_owned(),
        Ended::ClosedByPeer(close) => format!("it closed the link: {close}"),
        Ended::Broken { text } => text.clone(),
        Ended::Failed(trouble) => trouble.text.clone(),
    }
}

mod refusal;
mod settle;
#[cfg(test)]
mod tests;
