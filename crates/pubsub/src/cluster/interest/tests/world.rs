//! Some nodes, the links between them, and everything that can happen to them, one step at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::pipe::{End, Pipe, Queues};
use super::random::Random;
use super::registry::{Registry, Sub, name, number};
use super::setup::Setup;
use crate::cluster::interest::variant::Variant;
use crate::cluster::interest::{ControlFrame, Interest, LaneFrame, Router, To};
use crate::{Edge, Envelope, Kind, LinkId, TopicName, TrafficClass};

/// A broken promise.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    /// Which property it is.
    pub(super) property: &'static str,
    pub(super) how: String,
}

pub(super) type Kept = Result<(), Broken>;

pub(super) struct Node {
    pub(super) router: Router,
    pub(super) registry: Registry,
    /// The link that counts, by peer.
    pub(super) current: BTreeMap<usize, usize>,
    /// Links that the router named as ready.
    ready: BTreeSet<usize>,
    capable: bool,
    /// Of wrong variants: edges taken before the frame is written; heard positions by peer, and by link and topic.
    early: Option<Vec<Edge>>,
    last_heard: BTreeMap<usize, u64>,
    heard_at: BTreeMap<(usize, usize), u64>,
}

/// A message.
pub(super) struct Publication {
    pub(super) node: usize,
    pub(super) pos: u64,
    pub(super) topic: usize,
    pub(super) lane: usize,
    /// The links on which it is owed.
    pub(super) links: BTreeSet<usize>,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) setup: Setup,
    pub(super) variant: Variant,
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) pipes: Vec<Pipe>,
    pub(super) published: Vec<Publication>,
    pub(super) subs: Vec<Sub>,
}

impl World {
    pub(super) fn new(seed: u64, variant: Variant) -> Self {
        let setup = Setup::random(&mut Random::new(seed));
        Self::with(setup, seed, variant)
    }

    pub(super) fn with(setup: Setup, seed: u64, variant: Variant) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            now: Instant::now(),
            variant,
            random: Random::new(!seed),
            pipes: Vec::new(),
            published: Vec::new(),
            subs: Vec::new(),
            setup,
        };
        for _ in 0..world.setup.nodes {
            let node = world.new_node();
            world.nodes.push(node);
        }
        world
    }

    fn new_node(&mut self) -> Node {
        let mut router = Router::new(self.setup.config.clone());
        router.break_rule(self.variant);
        Node {
            router,
            registry: Registry::new(self.variant == Variant::EdgesLate),
            current: BTreeMap::new(),
            ready: BTreeSet::new(),
            capable: !self.setup.old_peers || self.random.chance(70),
            early: None,
            last_heard: BTreeMap::new(),
            heard_at: BTreeMap::new(),
        }
    }

    pub(super) fn publish(&mut self, node: usize, topic: usize, lane: usize, bytes: usize, to: To) {
        let tracker = topic == self.setup.topics;
        let lane = if tracker { self.setup.lanes } else { lane };
        let mut payload = self.published.len().to_le_bytes().to_vec();
        payload.resize(payload.len() + bytes, 0);
        let envelope = Envelope {
            topic: name(topic),
            kind: Kind::RAW,
            class: match tracker {
                true => TrafficClass::Tracker,
                false => TrafficClass::User,
            },
            lane: lane as u64,
            payload: Bytes::from(payload),
        };
        let links = self.nodes[node].current.values().copied();
        let links = links.filter(|link| to == To::All || to == To::Link(id(*link)));
        self.published.push(Publication {
            pos: self.nodes[node].router.position() + 1,
            links: links.collect(),
            node,
            topic,
            lane,
        });
        let lane = u16::try_from(lane).unwrap();
        let now = self.now;
        self.with_lanes(node, |router, queues| {
            router.publish(to, lane, Arc::new(envelope), now, queues);
        });
    }

    pub(super) fn publish_to_all(&mut self, node: usize, topic: usize) {
        self.publish(node, topic, 0, 0, To::All);
    }

    pub(super) fn subscribe(&mut self, node: usize, topic: usize) {
        let World { nodes, subs, .. } = self;
        let Node {
            router,
            registry,
            current,
            heard_at,
            ..
        } = &mut nodes[node];
        if subscribe(registry, subs, node, topic, self.published.len()) {
            for link in current.values() {
                heard_at.insert((*link, topic), router.heard(id(*link)));
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, node: usize, topic: usize) {
        let registry = &mut self.nodes[node].registry;
        unsubscribe(registry, &mut self.subs, topic, self.published.len());
    }

    /// The pubsub's hint is followed.
    pub(super) fn follow_hint(&mut self, node: usize) {
        let now = self.now;
        let Node {
            router,
            registry,
            early,
            ..
        } = &mut self.nodes[node];
        // Of a wrong variant: what was taken earlier is taken in first.
        router.handle_edges(early.take().into_iter().flatten(), now);
        if registry.has_edges() {
            router.handle_edges(registry.take_edges(), now);
        }
        self.note_ready(node);
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let capable = self.nodes[a].capable && self.nodes[b].capable;
        self.pipes
            .push(Pipe::new([a, b], capable, self.setup.lanes + 1));
    }

    /// An end is up. The younger of two links counts.
    pub(super) fn end_up(&mut self, link: usize, side: usize) {
        let [node, peer] = self.node_and_peer(link, side);
        if let Some(&current) = self.nodes[node].current.get(&peer) {
            if current > link && self.variant != Variant::OlderLinkReplaces {
                self.pipes[link].close(side);
                return;
            }
            let old_side = self.pipes[current].side_of(node);
            self.end_down(current, old_side);
        }
        let pipe = &mut self.pipes[link];
        pipe.ends[side] = End::Up;
        let capable = pipe.capable;
        let node_state = &mut self.nodes[node];
        node_state.current.insert(peer, link);
        node_state.router.handle_up(id(link), capable);
        if self.variant == Variant::HeardKeptOverRestart {
            let heard = node_state.last_heard.get(&peer).copied().unwrap_or(0);
            node_state.router.hear(id(link), heard);
        }
        self.note_ready(node);
    }

    pub(super) fn end_down(&mut self, link: usize, side: usize) {
        let [node, peer] = self.node_and_peer(link, side);
        if self.pipes[link].ends[side] == End::Up {
            let state = &mut self.nodes[node];
            state.last_heard.insert(peer, state.router.heard(id(link)));
            state.router.handle_down(id(link));
            state.current.remove(&peer);
            state.ready.remove(&link);
        }
        self.pipes[link].close(side);
    }

    pub(super) fn restart(&mut self, node: usize) {
        let fresh = self.new_node();
        let capable = self.nodes[node].capable;
        self.nodes[node] = Node { capable, ..fresh };
        for pipe in &mut self.pipes {
            if pipe.nodes.contains(&node) {
                pipe.broken = true;
                pipe.close(pipe.side_of(node));
            }
        }
        let until = self.published.len();
        let subs = self.subs.iter_mut().filter(|sub| sub.node == node);
        for sub in subs {
            sub.until.get_or_insert(until);
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        for node in 0..self.nodes.len() {
            let router = &mut self.nodes[node].router;
            if router.poll_timeout().is_some_and(|at| at <= self.now) {
                router.handle_timeout(self.now);
                self.note_ready(node);
            }
        }
    }

    pub(super) fn heartbeat(&mut self, node: usize) {
        let links: Vec<_> = self.nodes[node].current.values().copied().collect();
        for link in links {
            self.with_lanes(node, |router, queues| {
                router.handle_heartbeat(id(link), queues);
            });
        }
    }

    /// Reads one frame from a lane.
    pub(super) fn read_lane(&mut self, link: usize, side: usize, lane: usize) -> Kept {
        let pipe = &mut self.pipes[link];
        if pipe.ends[1 - side] != End::Up {
            return Ok(());
        }
        let node = pipe.nodes[1 - side];
        let way = &mut pipe.ways[side];
        match way.lanes[lane].pop_front() {
            Some(LaneFrame::Gap(lost)) => {
                *way.told_by_lane
                    .entry(u16::try_from(lane).unwrap())
                    .or_default() += lost;
            }
            Some(LaneFrame::Message { pos, envelope }) => {
                let newest = way.newest.entry(lane).or_default();
                if pos <= *newest && self.variant == Variant::LanesDropOlder {
                    return Ok(());
                }
                *newest = pos.max(*newest);
                return self.deliver(link, node, pos, &envelope);
            }
            None => {}
        }
        Ok(())
    }

    fn deliver(&mut self, link: usize, node: usize, pos: u64, envelope: &Envelope) -> Kept {
        let index = usize::from_le_bytes(envelope.payload[..8].try_into().unwrap());
        let publication = &self.published[index];
        if !publication.links.contains(&link) {
            let how = format!("publication {index} came over link {link}, where it is not owed");
            return Err(Broken {
                property: "foreign message",
                how,
            });
        }
        let state = &mut self.nodes[node];
        let subscribers = state.registry.subscribers(number(&envelope.topic));
        for sub in subscribers {
            let got = &mut self.subs[*sub].got;
            let earlier = got.iter().rev().find(|(other, over)| {
                let other = &self.published[*other];
                *over == link && other.lane == publication.lane
            });
            if let Some((other, _)) = earlier {
                let other = &self.published[*other];
                if other.pos >= pos {
                    let property = match other.pos == pos {
                        true => "no duplicates",
                        false => "order",
                    };
                    let how = format!("subscription {sub}: {pos} after {}", other.pos);
                    return Err(Broken { property, how });
                }
            }
            got.push((index, link));
        }
        let delivered = subscribers.len();
        state
            .router
            .handle_message(id(link), pos, &envelope.topic, delivered);
        self.note_ready(node);
        Ok(())
    }

    /// Reads one frame from a control stream; it may be lost instead.
    pub(super) fn read_control(&mut self, link: usize, side: usize, lossy: bool) {
        let pipe = &mut self.pipes[link];
        if pipe.ends[1 - side] != End::Up {
            return;
        }
        let node = pipe.nodes[1 - side];
        let Some(frame) = pipe.ways[side].control.pop_front() else {
            return;
        };
        let unsaid = self.variant == Variant::NoLast && matches!(frame, ControlFrame::Last(_));
        if unsaid || (lossy && self.random.chance(self.setup.loss)) {
            return;
        }
        self.with_lanes(node, |router, queues| {
            router.handle_control(id(link), frame, queues);
        });
    }

    /// Of a wrong variant.
    pub(super) fn read_heard(&mut self, link: usize, side: usize) {
        let pipe = &mut self.pipes[link];
        if pipe.ends[1 - side] == End::Up {
            let heard = pipe.ways[side].heard.pop_front();
            let node = pipe.nodes[1 - side];
            if let Some(heard) = heard {
                self.nodes[node].router.settle_heard(id(link), heard);
            }
        }
    }

    /// Writes one control frame, if there is room and something to say.
    pub(super) fn write_control(&mut self, link: usize, side: usize, concurrent: bool) {
        let [node, _] = self.node_and_peer(link, side);
        let room = self.pipes[link].ways[side].control.len() < self.setup.control_room;
        if !room || !self.nodes[node].ready.contains(&link) {
            return;
        }
        if self.variant == Variant::HeardAfterEdges && self.nodes[node].early.is_none() {
            let edges = self.nodes[node].registry.take_edges();
            self.nodes[node].early = Some(edges);
            return;
        }
        match self.poll_control(link, node, concurrent) {
            None => {
                self.nodes[node].ready.remove(&link);
            }
            Some(ControlFrame::Interest(frame)) => self.send_interest(link, side, frame),
            Some(frame) => self.push_control(link, side, frame),
        }
        self.note_ready(node);
    }

    /// While the edges are taken, other threads may subscribe and unsubscribe.
    fn poll_control(&mut self, link: usize, node: usize, concurrent: bool) -> Option<ControlFrame> {
        let World {
            nodes,
            subs,
            random,
            setup,
            published,
            ..
        } = self;
        let Node {
            router,
            registry,
            early,
            ..
        } = &mut nodes[node];
        let mut meanwhile = |registry: &mut Registry, random: &mut Random| {
            let topic = random.below(setup.topics);
            match random.below(12) {
                0 if concurrent => {
                    subscribe(registry, subs, node, topic, published.len());
                }
                1 if concurrent => unsubscribe(registry, subs, topic, published.len()),
                _ => {}
            }
        };
        let mut take_edges = || {
            if let Some(edges) = early.take() {
                return edges;
            }
            meanwhile(registry, random);
            let topics = registry.swap_edges();
            meanwhile(registry, random);
            let edges = registry.ask(topics);
            meanwhile(registry, random);
            edges
        };
        router.poll_control(id(link), &mut take_edges, self.now)
    }

    fn send_interest(&mut self, link: usize, side: usize, mut frame: Interest) {
        let [node, _] = self.node_and_peer(link, side);
        let state = &self.nodes[node];
        match self.variant {
            Variant::WrittenAsRegistrySays => {
                let topics = frame.gone.drain(..).chain(frame.wanted.drain(..));
                let topics: Vec<_> = topics.collect();
                let wanted =
                    |topic: &TopicName| !state.registry.subscribers(number(topic)).is_empty();
                (frame.wanted, frame.gone) = topics.into_iter().partition(wanted);
            }
            Variant::WantedCarriesHeard => {
                let heard = state.router.heard(id(link));
                let wanted = frame.wanted.iter().cloned();
                frame.heard_at = wanted.map(|topic| (topic, heard)).collect();
            }
            Variant::NotPurged => {
                let wanted = frame.wanted.iter().cloned();
                let heard_at =
                    |topic: &TopicName| state.heard_at.get(&(link, number(topic))).copied();
                frame.heard_at = wanted
                    .filter_map(|topic| Some((topic.clone(), heard_at(&topic)?)))
                    .collect();
            }
            Variant::HeardOvertakes => {
                let heard = frame.heard.take();
                self.pipes[link].ways[side].heard.extend(heard);
            }
            _ => {}
        }
        self.push_control(link, side, ControlFrame::Interest(frame));
    }

    fn push_control(&mut self, link: usize, side: usize, frame: ControlFrame) {
        let pipe = &mut self.pipes[link];
        if pipe.ends[1 - side] != End::Down {
            pipe.ways[side].control.push_back(frame);
        }
    }

    fn with_lanes(&mut self, node: usize, act: impl FnOnce(&mut Router, &mut Queues<'_>)) {
        let mut queues = Queues {
            pipes: &mut self.pipes,
            node,
            bound: self.setup.lane_frames,
        };
        act(&mut self.nodes[node].router, &mut queues);
        self.note_ready(node);
    }

    fn note_ready(&mut self, node: usize) {
        let Node { router, ready, .. } = &mut self.nodes[node];
        while let Some(link) = router.poll_ready() {
            ready.insert(usize::try_from(link.0).unwrap());
        }
    }

    pub(super) fn node_and_peer(&self, link: usize, side: usize) -> [usize; 2] {
        let nodes = self.pipes[link].nodes;
        [nodes[side], nodes[1 - side]]
    }
}

pub(super) fn id(link: usize) -> LinkId {
    LinkId(link as u64)
}

fn subscribe(
    registry: &mut Registry,
    subs: &mut Vec<Sub>,
    node: usize,
    topic: usize,
    since: usize,
) -> bool {
    subs.push(Sub {
        node,
        topic,
        since,
        until: None,
        got: Vec::new(),
    });
    registry.subscribe(topic, subs.len() - 1)
}

fn unsubscribe(registry: &mut Registry, subs: &mut [Sub], topic: usize, until: usize) {
    if let Some(&sub) = registry.subscribers(topic).first() {
        subs[sub].until = Some(until);
        registry.unsubscribe(topic, sub);
    }
}
