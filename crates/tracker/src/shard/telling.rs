//! What other shards are told and asked.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::NodeName;

use super::{Effect, Shard};
use crate::life::Life;
use crate::message::{
    Heard, Hello, Message, OP_OVERHEAD_BYTES, Op, Ops, Part, PartTaken, Position, Pull, Vector,
};
use crate::peer::{Peer, Sending, cut};
use crate::replica::{Assembly, Replica};

impl Shard {
    pub(super) fn ask_if_behind(&mut self, node: &NodeName, now: Duration) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        let waiting = peer.link.as_ref().is_none_or(|link| link.waiting(now));
        if peer.behind() && !waiting {
            self.ask(node, now);
        }
    }

    pub(super) fn ask(&mut self, node: &NodeName, now: Duration) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let have = peer.have();
        if let Some(link) = &mut peer.link {
            link.ask(now);
            let taken = link.assembly.as_ref().and_then(Assembly::taken);
            self.stats.pulls_sent += 1;
            self.send(node, Message::Pull(Pull { have, taken }));
        }
    }

    pub(super) fn ask_again(&mut self, now: Duration) {
        let mut silent = Vec::new();
        for (node, peer) in &mut self.peers {
            let retry = peer.retry_at().is_some_and(|at| at <= now);
            let seq = peer.replica.as_ref().map_or(0, Replica::seq);
            let Some(link) = &mut peer.link else { continue };
            let suspicion = link.due_suspicion(now);
            let missed = suspicion.is_some_and(|suspicion| seq < suspicion.seq);
            if retry || missed {
                silent.push(node.clone());
            }
        }
        for node in &silent {
            self.ask(node, now);
        }
    }

    /// A peer asks for what it lacks.
    pub(super) fn answer(&mut self, node: &NodeName, pull: &Pull, now: Duration) {
        let have = pull.have;
        if !self.left && have.is_none_or(|have| have.life != self.own.at().life) {
            // It does not know this life yet.
            self.answer_hello(node, now);
        }
        self.serve(node, have, pull.taken.as_ref(), now);
    }

    /// Tells a peer what it lacks: the operations it missed, or everything if those are not in the log. What is on its way to it already
    /// goes on behind the last part that it names.
    pub(super) fn serve(
        &mut self,
        node: &NodeName,
        have: Option<Position>,
        taken: Option<&PartTaken>,
        now: Duration,
    ) {
        if self.left {
            return self.answer_hello(node, now);
        }
        let at = self.own.at();
        match have {
            Some(have) if self.own.was(have.life) && self.own.covers(have.seq) => {
                let bytes = self.own.bytes_after(have.seq);
                if !self.may_tell(node, bytes, now) {
                    return;
                }
                self.stats.ops_served += 1;
                for ops in self.ops_after(have.seq) {
                    self.send(node, Message::Ops(ops));
                }
            }
            _ if at.seq == 0 => self.send(node, Message::Ops(self.no_ops())),
            _ if !self.link_mut(node).is_some_and(|link| link.may_serve(now)) => {}
            _ if self.is_sending(node, taken) => {
                self.stats.states_resumed += 1;
                self.send_parts(node);
            }
            _ => {
                let known = have.is_some_and(|have| self.own.was(have.life) && have.seq > 0);
                self.stats.log_truncated += u64::from(known);
                self.stats.states_served += 1;
                let sending = Sending::new(at, self.own.frozen(), self.settings.chunk_bytes);
                if let Some(link) = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut()) {
                    link.sending = Some(sending);
                }
                self.send_parts(node);
            }
        }
    }

    /// Whether a state is on its way to a peer that asks again, and goes on with what that asks for. To make it anew takes long if it is
    /// large, and then the next question would come before its first part is there.
    fn is_sending(&mut self, node: &NodeName, taken: Option<&PartTaken>) -> bool {
        let sending = self.link_mut(node).and_then(|link| link.sending.as_mut());
        sending.is_some_and(|sending| sending.again(taken))
    }

    pub(super) fn send_parts(&mut self, node: &NodeName) {
        let link = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut());
        let Some(link) = link else { return };
        let Some(sending) = &mut link.sending else {
            return;
        };
        let (at, parts) = (sending.at, sending.parts());
        while let Some((part, entries)) = sending.next() {
            let entries = entries.iter().map(|kept| self.own.stored(kept)).collect();
            let part = Part {
                at,
                part,
                parts,
                entries,
            };
            self.outbox
                .push_back(Effect::SendTo(node.clone(), Message::Part(part)));
        }
        if sending.finished() {
            link.sending = None;
        }
    }

    pub(super) fn send_part_taken(&mut self, node: &NodeName, at: Position, part: u32) {
        self.send(node, Message::PartTaken(PartTaken { at, part }));
    }

    /// Whether an answer of so many bytes is sent. Who gets none asks again.
    fn may_tell(&mut self, node: &NodeName, bytes: usize, now: Duration) -> bool {
        let most = self.settings.chunk_bytes;
        let link = self.link_mut(node);
        link.is_some_and(|link| link.may_tell(OP_OVERHEAD_BYTES + bytes, most, now))
    }

    /// A hello because of what the peer said. It tells of all held sets.
    pub(super) fn answer_hello(&mut self, node: &NodeName, now: Duration) {
        let bytes = self.held.len() * OP_OVERHEAD_BYTES;
        if self.may_tell(node, bytes, now) {
            self.send_hello(node, now);
        }
    }

    pub(super) fn send_hello(&mut self, node: &NodeName, now: Duration) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        let hello = Hello {
            at: self.own.at(),
            have: peer.have(),
            least: peer.floor.least(),
            formerly: self.own.formerly(),
            goodbye: self.farewell(),
            held: self.offers(now),
            hears: self.hears_beside(node),
        };
        self.send(node, Message::Hello(hello));
    }

    fn hears_beside(&self, node: &NodeName) -> Vec<String> {
        let heard = self.peers.iter().filter(|(_, peer)| peer.shown);
        let others = heard.filter(|(other, _)| *other != node);
        others.map(|(other, _)| other.as_str().to_owned()).collect()
    }

    pub(super) fn send(&mut self, node: &NodeName, message: Message) {
        self.outbox.push_back(Effect::SendTo(node.clone(), message));
    }

    pub(super) fn push(&mut self) {
        self.push_at = None;
        let (pushed, _) = self.own.unpushed();
        if self.linked().next().is_some() && self.own.at().seq > pushed {
            self.stats.pushes_sent += 1;
            for ops in self.ops_after(pushed) {
                self.outbox.push_back(Effect::Broadcast(Message::Ops(ops)));
            }
        }
        self.own.all_pushed();
    }

    /// The operations after that number, in messages of a bounded size. At least one message, that says how far it is.
    pub(super) fn ops_after(&self, seq: u64) -> Vec<Ops> {
        let (ops, mut sizes): (Vec<Op>, Vec<_>) = self.own.ops_after(seq).unzip();
        for (put, pair) in (seq + 1..).zip(ops.windows(2)) {
            // What was updated while it is held would be listed as tracked between the two, and what stood beside it forgotten.
            if pair[1].holds(put) {
                sizes[(put - seq) as usize] = 0;
            }
        }
        let mut ops = ops.into_iter();
        let (mut from, mut start) = (seq, 0);
        let life = self.own.at().life;
        let mut messages = Vec::new();
        let most = self.settings.chunk_bytes;
        for end in cut(sizes.into_iter(), most, most) {
            let ops: Vec<_> = ops.by_ref().take(end - start).collect();
            let message = Ops { life, from, ops };
            (from, start) = (message.to(), end);
            messages.push(message);
        }
        messages
    }

    pub(super) fn no_ops(&self) -> Ops {
        let Position { life, seq } = self.own.at();
        Ops {
            life,
            from: seq,
            ops: Vec::new(),
        }
    }

    pub(super) fn send_vector(&mut self, now: Duration) {
        if self.left || self.linked().next().is_none() {
            // Nor is the name kept of who was told of last: all of them may be over.
            self.hinted = None;
            return;
        }
        let heard = self.next_hints();
        self.hinted = heard
            .last()
            .and_then(|heard| NodeName::new(&heard.node).ok());
        let at = self.own.at();
        self.stats.vectors_sent += 1;
        self.outbox
            .push_back(Effect::Broadcast(Message::Vector(Vector {
                at,
                heard,
                formerly: self.own.formerly(),
                goodbye: self.farewell(),
                held: self.offers(now),
            })));
    }

    /// How far some of those are that are heard directly: the next ones after the last vector's, round and round.
    pub(super) fn next_hints(&self) -> Vec<Heard> {
        let hint = |(node, peer): (&NodeName, &Peer)| {
            let (_, replica) = peer.heard()?;
            Some(Heard {
                node: node.as_str().to_owned(),
                at: replica.at(),
            })
        };
        let later = |name: &NodeName| self.hinted.as_ref().is_some_and(|hinted| name > hinted);
        let after = self.peers.iter().filter(|(name, _)| later(name));
        let before = self.peers.iter().filter(|(name, _)| !later(name));
        after
            .chain(before)
            .filter_map(hint)
            .take(HINTS_PER_VECTOR)
            .collect()
    }

    pub(super) fn renumber(&mut self, life: Life, now: Duration) {
        if life <= self.own.at().life || self.left {
            return;
        }
        self.stats.renumbered += 1;
        // What others hold of the old number is this log under its new one.
        let (node, before) = (self.own.node().clone(), self.own.at().life);
        self.ended.insert(&node, before, now);
        self.own.renumber(life);
        for link in self
            .peers
            .values_mut()
            .filter_map(|peer| peer.link.as_mut())
        {
            link.sending = None;
        }
        let linked: Vec<NodeName> = self.linked().cloned().collect();
        for node in &linked {
            self.send_hello(node, now);
        }
    }
}

/// How many others a vector tells of. More peers take turns.
pub(super) const HINTS_PER_VECTOR: usize = 16;
