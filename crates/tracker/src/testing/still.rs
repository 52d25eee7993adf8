//! A cluster that has nothing to say, on a clock of its own: what its shards send all the same, and what they remember.
//!
//! Links are ideal: what is sent arrives at once. For faults there is the simulator.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::{Member, MemberEvent};
use matryoshka_pubsub::{Incarnation, LinkId, NodeName, Origin};

use crate::TrackerConfig;
use crate::life::Life;
use crate::message::Message;
use crate::peer::CHUNK_BYTES;
use crate::shard::{Effect, Settings, Shard};
use crate::slot::Slot;
use crate::tracker::settings;

/// Nodes with one shard each, a link between each two, and the default settings.
#[derive(Debug)]
pub struct StillCluster {
    settings: Settings,
    nodes: Vec<Node>,
    under_way: VecDeque<Packet>,
    now: Duration,
    /// Nodes that ever were, and so the last number of an incarnation and of a link.
    started: u64,
    links: u64,
    bytes: u64,
    messages: u64,
}

#[derive(Debug)]
struct Node {
    name: NodeName,
    incarnation: Incarnation,
    shard: Shard,
    links: Vec<(NodeName, LinkId)>,
}

#[derive(Debug)]
struct Packet {
    to: NodeName,
    origin: Origin,
    payload: Bytes,
}

/// What went over all links in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the tracker's messages, without what the mesh puts around them.
    pub bytes: u64,
    /// How many messages.
    pub messages: u64,
}

impl StillCluster {
    /// So many nodes, with so many entries each, of which all have told each other.
    pub fn new(nodes: usize, entries_each: usize) -> Self {
        let mut cluster = Self {
            settings: Settings {
                chunk_bytes: CHUNK_BYTES,
                ..settings(&TrackerConfig::default(), 0)
            },
            nodes: Vec::new(),
            under_way: VecDeque::new(),
            now: Duration::ZERO,
            started: 0,
            links: 0,
            bytes: 0,
            messages: 0,
        };
        for _ in 0..nodes {
            cluster.start(entries_each);
        }
        cluster
    }

    /// Lets time pass, in which nobody tracks anything.
    pub fn pass(&mut self, time: Duration) -> Sent {
        let before = (self.bytes, self.messages);
        let end = self.now + time;
        loop {
            let due = self
                .nodes
                .iter()
                .map(|node| node.shard.poll_timeout())
                .min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            for index in 0..self.nodes.len() {
                if self.nodes[index].shard.poll_timeout() <= self.now {
                    self.act(index, |shard, now| shard.handle_tick(now));
                }
            }
            self.deliver();
        }
        self.now = end;
        Sent {
            bytes: self.bytes - before.0,
            messages: self.messages - before.1,
        }
    }

    /// The node that was started last dies without a word, and another starts under a name that was never there.
    pub fn replace(&mut self, entries: usize) {
        if let Some(dead) = self.nodes.pop() {
            let member = |link| Member::up(dead.name.clone(), dead.incarnation, link);
            for (name, link) in &dead.links {
                let down = MemberEvent::Down(member(*link));
                if let Some(index) = self.nodes.iter().position(|node| node.name == *name) {
                    self.nodes[index]
                        .links
                        .retain(|(other, _)| *other != dead.name);
                    self.act(index, |shard, now| shard.handle_member(&down, now));
                }
            }
            self.deliver();
        }
        self.start(entries);
    }

    /// How many others the first node remembers anything of.
    pub fn remembered(&self) -> u64 {
        let first = self.nodes.first();
        first.map_or(0, |node| node.shard.stats().remembered_peers)
    }

    /// How many lives the first node remembers to be over.
    pub fn ended_lives(&self) -> usize {
        let first = self.nodes.first();
        first.map_or(0, |node| node.shard.ended_lives())
    }

    /// The least number of entries that a node lists.
    pub fn listed(&self) -> usize {
        let listed = self.nodes.iter().map(|node| node.shard.listed().count());
        listed.min().unwrap_or(0)
    }

    fn start(&mut self, entries: usize) {
        self.started += 1;
        // As long on the wire as any other, so that what grows is no digit.
        let name = NodeName::new(format!("node-{:06}", self.started)).expect("a plain name");
        let incarnation = Incarnation(FIRST_INCARNATION + self.started);
        let life = Life {
            incarnation: incarnation.0,
            started: 0,
        };
        self.nodes.push(Node {
            name: name.clone(),
            incarnation,
            shard: Shard::new(name, life, self.settings),
            links: Vec::new(),
        });
        let newest = self.nodes.len() - 1;
        for number in 0..entries {
            let slot = Slot {
                owner: number as u64,
                topic: Arc::from("room:lobby"),
                key: Arc::from(format!("user-{:06}-{number:06}", self.started)),
            };
            let meta = Bytes::from_static(META);
            self.act(newest, |shard, now| {
                let tracked = shard.track(&slot, meta, now);
                tracked.expect("each has a slot of its own");
            });
        }
        for other in 0..newest {
            self.connect(other, newest);
        }
        self.deliver();
        self.pass(2 * self.settings.broadcast_period);
    }

    fn connect(&mut self, one: usize, other: usize) {
        self.links += 1;
        let link = LinkId(self.links);
        for (at, of) in [(one, other), (other, one)] {
            let Node {
                name, incarnation, ..
            } = &self.nodes[of];
            let (name, up) = (name.clone(), Member::up(name.clone(), *incarnation, link));
            self.nodes[at].links.push((name, link));
            let up = MemberEvent::Up(up);
            self.act(at, |shard, now| shard.handle_member(&up, now));
        }
    }

    fn act(&mut self, index: usize, input: impl FnOnce(&mut Shard, Duration)) {
        let node = &mut self.nodes[index];
        input(&mut node.shard, self.now);
        node.shard.settle();
        while let Some(effect) = node.shard.poll_effect() {
            let (to, message) = match effect {
                Effect::Broadcast(message) => (None, message),
                Effect::SendTo(to, message) => (Some(to), message),
                Effect::Step(_) | Effect::Held(_) | Effect::Implausible(_) | Effect::Refused(_) => {
                    continue;
                }
            };
            let payload = message.encode();
            for (other, link) in &node.links {
                if to.as_ref().is_some_and(|to| to != other) {
                    continue;
                }
                self.bytes += payload.len() as u64;
                self.messages += 1;
                self.under_way.push_back(Packet {
                    to: other.clone(),
                    origin: Origin {
                        node: node.name.clone(),
                        incarnation: node.incarnation,
                        link: *link,
                    },
                    payload: payload.clone(),
                });
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(Packet {
            to,
            origin,
            payload,
        }) = self.under_way.pop_front()
        {
            let message = Message::decode(&payload).expect("the encoder's own bytes");
            let message = message.expect("of a known kind");
            if let Some(index) = self.nodes.iter().position(|node| node.name == to) {
                self.act(index, |shard, now| {
                    shard.handle_message(&origin, message, now)
                });
            }
        }
    }
}

/// Of the size that a wall clock gives.
const FIRST_INCARNATION: u64 = 1 << 50;

/// A small value, as a chat would track.
const META: &[u8] = br#"{"online_at":1700000000,"status":"online"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_quiet_hour_costs_as_much_in_its_last_minute_as_in_its_first() {
        let mut cluster = StillCluster::new(3, 100);
        assert_eq!(cluster.listed(), 300);
        let first = cluster.pass(MINUTE);
        assert!(first.messages > 0, "vectors are sent");
        cluster.pass(HOUR);
        assert_eq!(cluster.pass(MINUTE), first);
        assert_eq!(cluster.listed(), 300);
    }

    #[test]
    fn nodes_that_come_and_go_under_new_names_are_forgotten() {
        let mut cluster = StillCluster::new(3, 10);
        let first = cluster.pass(MINUTE);
        for _ in 0..200 {
            cluster.replace(10);
            cluster.pass(Duration::from_secs(10));
        }
        assert_eq!(cluster.listed(), 30);
        assert_eq!(cluster.pass(MINUTE), first);
        assert!(cluster.remembered() > 2, "a copy may come back for a while");
        cluster.pass(HOUR);
        assert_eq!((cluster.remembered(), cluster.ended_lives()), (2, 0));
    }
}
