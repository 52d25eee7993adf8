//! An adapter that routes by interest, written as a stranger would: the router of `cluster::interest` between the nodes of one
//! process. Frames travel by themselves, or one by one as a test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::interest::{
    Config, ControlFrame, Counters, HashKey, LaneFrame, Lanes, Published, Router, To,
};
use matryoshka_pubsub::cluster::{Member, MemberEvent};
use matryoshka_pubsub::{
    Adapter, AdapterError, DirectError, Envelope, Inbound, Incarnation, LinkId, NodeName, Origin,
    Reached,
};

const LANES: u64 = 3;

#[derive(Clone)]
pub(crate) struct RoutedMesh(Arc<Mutex<State>>);

struct State {
    nodes: Vec<Node>,
    /// The two ends of each link that is up.
    links: BTreeMap<LinkId, [usize; 2]>,
    /// By link and sender.
    ways: BTreeMap<(LinkId, usize), Way>,
    next_link: u64,
    now: Instant,
    by_hand: bool,
    travelling: bool,
}

struct Node {
    name: NodeName,
    router: Router,
    inbound: Option<Inbound>,
}

#[derive(Default)]
struct Way {
    control: VecDeque<ControlFrame>,
    lanes: BTreeMap<u16, VecDeque<LaneFrame>>,
}

/// The lanes of one node.
struct Queues<'a> {
    ways: &'a mut BTreeMap<(LinkId, usize), Way>,
    node: usize,
}

impl Lanes for Queues<'_> {
    fn push(&mut self, link: LinkId, lane: u16, frames: &[LaneFrame]) -> bool {
        let way = self.ways.get_mut(&(link, self.node)).expect("it is up");
        way.lanes
            .entry(lane)
            .or_default()
            .extend(frames.iter().cloned());
        true
    }
}

/// A message at the end of its way, to be delivered under no lock.
struct Arrival {
    link: LinkId,
    node: usize,
    inbound: Inbound,
    origin: Arc<Origin>,
    pos: u64,
    envelope: Arc<Envelope>,
}

impl RoutedMesh {
    /// Frames travel by themselves.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            nodes: Vec::new(),
            links: BTreeMap::new(),
            ways: BTreeMap::new(),
            next_link: 0,
            now: Instant::now(),
            by_hand: false,
            travelling: false,
        })))
    }

    /// From now on frames travel when the test says so.
    pub(crate) fn by_hand(&self) {
        self.state().by_hand = true;
    }

    pub(crate) fn node(&self, name: &str) -> RoutedNode {
        let mut state = self.state();
        state.nodes.push(Node {
            name: NodeName::new(name).unwrap(),
            router: Router::new(Config::new(HashKey([5; 16]))),
            inbound: None,
        });
        RoutedNode {
            mesh: self.clone(),
            index: state.nodes.len() - 1,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A link between two nodes that have none.
    pub(crate) fn connect(&self, a: usize, b: usize) {
        let mut state = self.state();
        if a == b || state.link(a, b).is_some() {
            return;
        }
        state.next_link += 1;
        let link = LinkId(state.next_link);
        state.links.insert(link, [a, b]);
        for node in [a, b] {
            state.ways.insert((link, node), Way::default());
            state.nodes[node].router.handle_up(link, true);
        }
        let told = [state.told(a, b, link), state.told(b, a, link)];
        drop(state);
        for (inbound, member) in told {
            inbound.member(MemberEvent::Up(member));
        }
        self.travel();
    }

    /// The link between two nodes breaks, and what is under way is lost.
    pub(crate) fn break_link(&self, a: usize, b: usize) {
        let mut state = self.state();
        let Some(link) = state.link(a, b) else {
            return;
        };
        state.links.remove(&link);
        for node in [a, b] {
            state.ways.remove(&(link, node));
            state.nodes[node].router.handle_down(link);
        }
        let told = [state.told(a, b, link), state.told(b, a, link)];
        drop(state);
        for (inbound, member) in told {
            inbound.member(MemberEvent::Down(member));
        }
    }

    /// Time passes; with it, what is due at times.
    pub(crate) fn pass(&self, time: Duration, is_heartbeat: bool) {
        let mut state = self.state();
        state.now += time;
        let now = state.now;
        let links = state.links.clone();
        for node in &mut state.nodes {
            node.router.handle_timeout(now);
        }
        for (link, ends) in links.iter().filter(|_| is_heartbeat) {
            for node in *ends {
                state.act(node, |router, queues| {
                    router.handle_heartbeat(*link, queues)
                });
            }
        }
        drop(state);
        self.travel();
    }

    /// A node writes a control frame, on each link that has one to write.
    pub(crate) fn write(&self, node: usize) -> bool {
        self.state().write(node)
    }

    /// The next control frame from one node to another arrives.
    pub(crate) fn carry_control(&self, from: usize, to: usize) -> bool {
        let mut state = self.state();
        let frame = state.way(from, to).and_then(|way| way.control.pop_front());
        let link = state.link(from, to);
        let Some((link, frame)) = link.zip(frame) else {
            return false;
        };
        state.act(to, |router, queues| {
            router.handle_control(link, frame, queues)
        });
        true
    }

    /// The next message from one node to another arrives on that lane.
    pub(crate) fn carry_message(&self, from: usize, to: usize, lane: u16) -> bool {
        let arrival = self.state().arrival(from, to, lane);
        let Some(arrival) = arrival else {
            return false;
        };
        let Arrival {
            inbound,
            origin,
            pos,
            envelope,
            ..
        } = arrival;
        let (topic, kind, payload) = (
            envelope.topic.clone(),
            envelope.kind,
            envelope.payload.clone(),
        );
        let delivered = inbound.deliver(&origin, topic, kind, payload);
        let router = &mut self.state().nodes[arrival.node].router;
        router.handle_message(arrival.link, pos, &envelope.topic, delivered);
        true
    }

    /// Whether a frame of any kind travelled.
    fn carry_any(&self) -> bool {
        let count = self.state().nodes.len();
        let mut any = false;
        for from in 0..count {
            any |= self.write(from);
            for to in (0..count).filter(|to| *to != from) {
                any |= self.carry_control(from, to);
                for lane in 0..LANES as u16 {
                    any |= self.carry_message(from, to, lane);
                }
            }
        }
        any
    }

    /// All that is under way arrives.
    pub(crate) fn settle(&self) {
        while self.carry_any() {}
    }

    fn travel(&self) {
        let mut state = self.state();
        if state.by_hand || std::mem::replace(&mut state.travelling, true) {
            return;
        }
        drop(state);
        self.settle();
        self.state().travelling = false;
    }

    pub(crate) fn counters(&self, node: usize) -> Counters {
        self.state().nodes[node].router.counters()
    }
}

impl State {
    fn link(&self, a: usize, b: usize) -> Option<LinkId> {
        let is_it = |ends: &[usize; 2]| *ends == [a, b] || *ends == [b, a];
        let mut links = self.links.iter();
        links.find(|(_, ends)| is_it(ends)).map(|(link, _)| *link)
    }

    fn way(&mut self, from: usize, to: usize) -> Option<&mut Way> {
        let link = self.link(from, to)?;
        self.ways.get_mut(&(link, from))
    }

    /// What one node is told about another.
    fn told(&self, node: usize, about: usize, link: LinkId) -> (Inbound, Member) {
        let inbound = self.nodes[node].inbound.clone().expect("it is attached");
        let name = self.nodes[about].name.clone();
        (inbound, Member::up(name, incarnation(about), link))
    }

    fn act<R>(&mut self, node: usize, act: impl FnOnce(&mut Router, &mut Queues<'_>) -> R) -> R {
        let ways = &mut self.ways;
        act(&mut self.nodes[node].router, &mut Queues { ways, node })
    }

    fn publish(&mut self, node: usize, to: To, envelope: &Envelope) -> Published {
        let now = self.now;
        let lane = (envelope.lane % LANES) as u16;
        let envelope = Arc::new(envelope.clone());
        self.act(node, |router, queues| {
            router.publish(to, lane, envelope, now, queues)
        })
    }

    fn write(&mut self, node: usize) -> bool {
        let Node {
            router, inbound, ..
        } = &mut self.nodes[node];
        let inbound = inbound.clone().expect("it is attached");
        let mut any = false;
        router.handle_edges(inbound.take_edges(), self.now);
        while let Some(link) = router.poll_ready() {
            let mut edges = || inbound.take_edges();
            while let Some(frame) = router.poll_control(link, &mut edges, self.now) {
                let way = self.ways.get_mut(&(link, node)).expect("it is up");
                way.control.push_back(frame);
                any = true;
            }
        }
        any
    }

    fn arrival(&mut self, from: usize, to: usize, lane: u16) -> Option<Arrival> {
        let link = self.link(from, to)?;
        let frame = self.way(from, to)?.lanes.get_mut(&lane)?.pop_front()?;
        let LaneFrame::Message { pos, envelope } = frame else {
            panic!("these lanes are never full");
        };
        let (inbound, sender) = self.told(to, from, link);
        let origin = Origin {
            node: sender.node,
            incarnation: sender.incarnation,
            link,
        };
        Some(Arrival {
            link,
            node: to,
            inbound,
            origin: Arc::new(origin),
            pos,
            envelope,
        })
    }
}

fn incarnation(node: usize) -> Incarnation {
    Incarnation(node as u64 + 1)
}

/// One node of a [`RoutedMesh`], linked with all others that are attached.
pub(crate) struct RoutedNode {
    mesh: RoutedMesh,
    index: usize,
}

impl Adapter for RoutedNode {
    fn node(&self) -> NodeName {
        self.mesh.state().nodes[self.index].name.clone()
    }

    fn incarnation(&self) -> Incarnation {
        incarnation(self.index)
    }

    fn attach(&self, inbound: Inbound) {
        self.mesh.state().nodes[self.index].inbound = Some(inbound);
        for other in 0..self.index {
            self.mesh.connect(self.index, other);
        }
    }

    fn broadcast(&self, envelope: &Envelope) -> Result<Reached, AdapterError> {
        let published = self.mesh.state().publish(self.index, To::All, envelope);
        self.mesh.travel();
        Ok(Reached {
            peers: published.sent + published.held,
            dropped: Vec::new(),
        })
    }

    fn send(&self, to: &NodeName, envelope: &Envelope) -> Result<(), DirectError> {
        let mut state = self.mesh.state();
        let peer = state.nodes.iter().position(|node| node.name == *to);
        let peer = peer.ok_or_else(|| DirectError::NoSuchNode(to.clone()))?;
        let link = state.link(self.index, peer);
        let link = link.ok_or_else(|| DirectError::NotUp(to.clone()))?;
        state.publish(self.index, To::Link(link), envelope);
        drop(state);
        self.mesh.travel();
        Ok(())
    }

    fn routes_by_interest(&self) -> bool {
        true
    }

    fn interest_changed(&self) {
        self.mesh.travel();
    }
}
