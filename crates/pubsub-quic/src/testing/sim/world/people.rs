//! What users do: subscribe, unsubscribe, publish.

use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::interest::To;
use matryoshka_pubsub::{Envelope, Goodbye, Kind, TrafficClass};
use rand::Rng;

use super::{Moment, World};
use crate::proto::lane::lane_of;
use crate::testing::sim::ledger::{Publication, Way};
use crate::testing::sim::network::{Happening, NodeIndex};
use crate::testing::sim::node::State;
use crate::testing::sim::registry::{Topic, name};
use crate::testing::sim::setup::HINT;
use crate::testing::sim::tally::Seen;

/// How long a process that said goodbye waits until all it wrote is read.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Who publishes, to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testing::sim) enum Audience {
    All,
    /// All but one subscription of the publisher's own.
    AllBut,
    /// One peer.
    Peer,
}

impl World {
    pub(in crate::testing::sim) fn subscribe(&mut self, index: NodeIndex, topic: Topic) -> usize {
        let node = &mut self.nodes[index];
        let earlier = node.asked.insert(topic, self.now);
        let earlier = earlier.map(|at| self.now - at);
        let early = self.setup.early(earlier);
        let sub = self.ledger.subscribe(topic, self.now, early);
        node.registry.subscribe(topic, sub);
        self.note(index, &Moment::Subscribe { sub, topic });
        self.hint(index);
        sub
    }

    pub(in crate::testing::sim) fn unsubscribe(&mut self, index: NodeIndex) {
        let node = &mut self.nodes[index];
        let all: Vec<(Topic, usize)> = node.registry.all().collect();
        if all.is_empty() {
            return;
        }
        let (topic, sub) = all[self.rng.random_range(0..all.len())];
        node.registry.unsubscribe(topic, sub);
        self.ledger.unsubscribe(sub);
        self.note(index, &Moment::Unsubscribe { sub });
        self.hint(index);
    }

    /// The driver is told that there are edges, and comes to it soon.
    fn hint(&mut self, index: NodeIndex) {
        let soon =
            self.now + Duration::from_micros(self.rng.random_range(1..HINT.as_micros() as u64));
        let life = self.nodes[index].life;
        self.net.at(soon, Happening::Edges(index, life));
    }

    pub(in crate::testing::sim) fn publish(
        &mut self,
        index: NodeIndex,
        topic: Topic,
        class: TrafficClass,
        bytes: usize,
        audience: Audience,
    ) {
        let number = self.ledger.published.len();
        let publisher = self.rng.random_range(0..3);
        let now = self.instant();
        let node = &mut self.nodes[index];
        let peers: Vec<_> = node.links.values().filter(|end| end.routed).collect();
        let to = match audience {
            Audience::Peer if peers.is_empty() => return,
            Audience::Peer => {
                let chosen = peers[self.rng.random_range(0..peers.len())];
                let raised = chosen.raised.as_ref();
                To::Link(raised.expect("what is routed is up").link)
            }
            Audience::All | Audience::AllBut => To::All,
        };
        let is_for = |link| to == To::All || to == To::Link(link);
        let ways: Vec<Way> = peers
            .iter()
            .filter(|end| end.raised.as_ref().is_some_and(|up| is_for(up.link)))
            .map(|end| (end.cable, end.side))
            .collect();
        let mut payload = (number as u64).to_le_bytes().to_vec();
        payload.resize(bytes.max(8), number as u8);
        let bytes = payload.len();
        let envelope = Envelope {
            topic: name(topic),
            kind: Kind::RAW,
            class,
            lane: publisher,
            payload: Bytes::from(payload),
        };
        let lane = lane_of(class, publisher);
        let own = node.registry.subscribers(topic).to_vec();
        let except = own.first().filter(|_| audience == Audience::AllBut);
        let publication = Publication {
            node: index,
            topic,
            lane,
            bytes,
            at: self.now,
            except: except.copied(),
        };
        let count = ways.len();
        self.ledger.publish(publication, &ways);
        let here = match audience {
            Audience::All | Audience::AllBut => self.ledger.deliver_here(number, &own),
            Audience::Peer => Ok(0),
        };
        if !node.traffic.is_empty() {
            node.published.push(number);
            node.traffic.publish(to, &envelope, now);
        }
        self.note(
            index,
            &Moment::Publish {
                number,
                topic,
                lane,
                bytes,
                ways: count,
            },
        );
        match here {
            Ok(here) => self.tally.add(Seen::DeliveredHere, here),
            Err(text) => self.fail(index, text),
        }
        self.tally.count(Seen::Published);
        match audience {
            Audience::All => {}
            Audience::AllBut => self.tally.count(Seen::BroadcastFrom),
            Audience::Peer => self.tally.count(Seen::Direct),
        }
        // The driver learns of an alarm only if it is woken for it.
        self.follow(index);
    }

    /// The process says goodbye, writes what it has and ends.
    pub(in crate::testing::sim) fn leave(&mut self, index: NodeIndex, goodbye: Goodbye) {
        let node = &mut self.nodes[index];
        let Some(mesh) = node.mesh.as_mut().filter(|_| !node.flushing) else {
            return;
        };
        node.flushing = true;
        mesh.leave(goodbye);
        self.tally.count(Seen::LeftCleanly);
        self.follow(index);
        self.nodes[index].traffic.handle_closing();
        self.follow(index);
        let links: Vec<_> = self.nodes[index].links.keys().copied().collect();
        for id in links {
            if let Some(link) = self.nodes[index].links.get(&id) {
                link.outbox.end();
            }
            for stream in 0..=crate::proto::lane::LANES {
                self.pump(index, id, stream);
            }
        }
        let life = self.nodes[index].life;
        self.net
            .at(self.now + FLUSH_LIMIT, Happening::FlushOver(index, life));
        self.end_if_flushed(index);
    }

    pub(super) fn end_if_flushed(&mut self, index: NodeIndex) {
        let node = &self.nodes[index];
        if node.flushing && node.links.is_empty() && node.state == State::Running {
            self.end(index);
        }
    }

    pub(super) fn flush_over(&mut self, index: NodeIndex, life: u32) {
        if self.is_another_life(index, life) || !self.nodes[index].flushing {
            return;
        }
        if self.nodes[index].state == State::Paused {
            let later = self.now + FLUSH_LIMIT;
            return self.net.at(later, Happening::FlushOver(index, life));
        }
        let links: Vec<_> = self.nodes[index].links.keys().copied().collect();
        for id in links {
            self.hang_up(index, id, &crate::proto::close::Close::Leaving);
        }
        self.end(index);
    }
}
