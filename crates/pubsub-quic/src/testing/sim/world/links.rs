//! Connections: how they come about and how they end, and what the mesh says of them.

use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::Origin;
use matryoshka_pubsub::cluster::MemberEvent;
use rand::Rng;

use super::{Moment, World};
use crate::proto::close::Close;
use crate::proto::frame::Frame;
use crate::proto::lane::Pushed;
use crate::proto::mesh::{Effect, Ended};
use crate::proto::outbox::Outbox;
use crate::proto::peer::ConnectionId;
use crate::proto::trouble::Trouble;
use crate::testing::sim::cable::{CONTROL, Cable, CableId, Side};
use crate::testing::sim::network::{Happening, NodeIndex, Packet};
use crate::testing::sim::node::{LinkEnd, Raised, address, at_address};
use crate::testing::sim::tally::Seen;

/// After so long without an answer a handshake is sent again; then after twice that.
const FIRST_TIMEOUT: Duration = Duration::from_millis(300);
/// So long a closed connection is remembered by what it was closed with; after that its packets are answered by a reset.
const DRAINING: Duration = Duration::from_millis(300);

impl World {
    pub(super) fn apply(&mut self, index: NodeIndex, effect: Effect) {
        match effect {
            Effect::Dial {
                connection,
                address,
                ..
            } => self.dial(index, connection, &address),
            Effect::Send { connection, frame } => self.send(index, connection, &frame),
            Effect::Up {
                connection,
                origin,
                event,
            } => self.raise(index, connection, &origin, event),
            Effect::Close { connection, close } => self.close(index, connection, close),
            Effect::Member(event) => {
                if let MemberEvent::Forgotten(name) = &event {
                    self.nodes[index].traffic.forget(name);
                }
                self.member(index, event);
            }
            Effect::Renumber(incarnation) => {
                self.nodes[index].incarnation = incarnation;
                self.note(index, &Moment::Renumber(incarnation.0));
                self.member(index, MemberEvent::Renumbered(incarnation));
            }
            Effect::Notice(notice) => {
                self.note(index, &Moment::Notice(notice.text.clone()));
                self.nodes[index].notices.push((notice.level, notice.text));
            }
            Effect::Left(reason) => self.has_left(index, reason),
        }
    }

    fn dial(&mut self, index: NodeIndex, id: ConnectionId, to: &str) {
        let life = self.nodes[index].life;
        let to = at_address(to).unwrap_or(NodeIndex::MAX);
        let to_life = self.nodes.get(to).map_or(0, |node| node.life);
        let cable = Cable::dialled((index, life, id), (to, to_life), self.now);
        let cable = self.net.lay(cable);
        self.nodes[index].dials.insert(id, cable);
        self.note(index, &Moment::Dial { cable, to });
        self.knock(cable, 0);
    }

    fn knock(&mut self, cable: CableId, tries: u32) {
        let [from, to] = self.net.cables[cable].ends.each_ref().map(|end| end.node);
        self.post(from, to, Packet::Dial(cable));
        if self.rng.random_ratio(self.setup.loss, 1000) {
            self.tally.count(Seen::Duplicated);
            self.post(from, to, Packet::Dial(cable));
        }
        let again = self.now + FIRST_TIMEOUT * 2_u32.pow(tries.min(4));
        self.net.at(again, Happening::NoAnswer(cable, tries));
    }

    pub(super) fn dial_again(&mut self, cable: CableId, tries: u32) {
        let Cable { ends, answered, .. } = &self.net.cables[cable];
        let (node, life) = (ends[0].node, ends[0].life);
        if *answered || !ends[0].open || self.is_another_life(node, life) {
            return;
        }
        if !self.nodes[node].is_running() {
            let later = self.now + FIRST_TIMEOUT;
            return self.net.at(later, Happening::NoAnswer(cable, tries));
        }
        self.tally.count(Seen::Redialled);
        self.knock(cable, tries + 1);
    }

    /// Somebody knocks.
    pub(super) fn answer(&mut self, index: NodeIndex, cable: CableId) {
        let life = self.nodes[index].life;
        let Cable { ends, answered, .. } = &mut self.net.cables[cable];
        if !*answered {
            ends[1].life = life;
        }
        if ends[1].life == life {
            let dialler = ends[0].node;
            self.post(index, dialler, Packet::Answer(cable));
        }
    }

    pub(super) fn answered(&mut self, index: NodeIndex, cable: CableId) {
        let Cable { ends, answered, .. } = &mut self.net.cables[cable];
        let (end, other) = (ends[0].clone(), ends[1].node);
        if *answered || !end.open || self.nodes[index].life != end.life {
            return;
        }
        *answered = true;
        let id = end.id.expect("the dialler named it");
        self.nodes[index].dials.remove(&id);
        if self.nodes[index].secret != self.nodes[other].secret {
            self.net.cables[cable].ends[0].open = false;
            self.post(index, other, Packet::Alert(cable));
            let trouble = Trouble::new("issuer", "its certificate is of another secret");
            return self.handle_ended(index, id, Ended::Failed(trouble));
        }
        self.add_link(index, id, cable, 0);
        let (now, certified) = (self.instant(), self.certified(other));
        if let Some(mesh) = &mut self.nodes[index].mesh {
            mesh.handle_connected(now, id, address(other), certified);
        }
        self.follow(index);
        if self.nodes[index].stalls {
            // The other side knows that the handshake is done, and that is all it hears.
            self.tally.count(Seen::Stalled);
            self.post(index, other, Packet::Bytes(cable, 1, CONTROL, Vec::new()));
        }
    }

    /// Who dialled does not trust this node.
    pub(super) fn alerted(&mut self, index: NodeIndex, cable: CableId) {
        let from = self.net.cables[cable].ends[0].node;
        self.tally.count(Seen::Intruder);
        let now = self.instant();
        let trouble = Trouble::new("issuer", "its certificate is of another secret");
        if let Some(mesh) = &mut self.nodes[index].mesh {
            mesh.handle_intruder(now, address(from), &trouble);
        }
        self.follow(index);
    }

    /// The first bytes of somebody who dialled.
    pub(super) fn accept(&mut self, index: NodeIndex, cable: CableId) {
        let from = self.net.cables[cable].ends[0].node;
        let (now, certified) = (self.instant(), self.certified(from));
        let Some(mesh) = &mut self.nodes[index].mesh else {
            return;
        };
        let id = mesh.handle_accepted(now, address(from), certified);
        let end = &mut self.net.cables[cable].ends[1];
        (end.id, end.open) = (Some(id), true);
        self.add_link(index, id, cable, 1);
        self.follow(index);
    }

    fn certified(&self, node: NodeIndex) -> Vec<String> {
        vec![self.nodes[node].certified.to_string()]
    }

    fn add_link(&mut self, index: NodeIndex, id: ConnectionId, cable: CableId, side: Side) {
        let outbox = Outbox::new(self.setup.bounds(), id);
        let newest = self.nodes[index].offer.newest;
        let end = LinkEnd::new(cable, side, newest, outbox, self.now);
        self.nodes[index].links.insert(id, end);
    }

    fn send(&mut self, index: NodeIndex, id: ConnectionId, frame: &Frame) {
        let node = &mut self.nodes[index];
        let (Some(link), Some(mesh)) = (node.links.get_mut(&id), &node.mesh) else {
            return;
        };
        if node.stalls || is_lost(link, frame) {
            return;
        }
        let (cable, outbox) = (link.cable, link.outbox.clone());
        let pushed = outbox.push_control(mesh.codec(id), frame);
        let link = link.raised.as_ref().filter(|_| *frame == Frame::Heartbeat);
        if let Some(link) = link.map(|raised| raised.link) {
            node.traffic.handle_heartbeat(link);
        } else {
            let frame = frame.label();
            self.note(index, &Moment::Send { cable, frame });
        }
        match pushed {
            Pushed::Full => self.overflow(index, id),
            Pushed::Queued { .. } => self.pump(index, id, CONTROL),
            Pushed::Closed => {}
        }
    }

    fn raise(&mut self, index: NodeIndex, id: ConnectionId, origin: &Origin, event: MemberEvent) {
        let node = &mut self.nodes[index];
        let (Some(link), Some(mesh)) = (node.links.get_mut(&id), &node.mesh) else {
            return;
        };
        let Some(terms) = mesh.terms(id).cloned() else {
            return;
        };
        link.raised = Some(Arc::new(Raised {
            name: origin.node.clone(),
            incarnation: origin.incarnation,
            link: origin.link,
            terms: terms.clone(),
            since: self.now,
        }));
        link.routed = true;
        node.by_link.insert(origin.link, id);
        let (outbox, cable) = (link.outbox.clone(), link.cable);
        if terms.codec < crate::proto::codec::Codec::NEWEST {
            self.tally.count(Seen::OldVersion);
        } else if !terms.interest {
            self.tally.count(Seen::InterestOff);
        }
        let (peer, incarnation) = (origin.node.to_string(), origin.incarnation.0);
        node.traffic
            .link_up(origin.link, origin.node.clone(), terms, outbox);
        self.note(
            index,
            &Moment::Up {
                cable,
                peer,
                incarnation,
            },
        );
        self.member(index, event);
        self.pump(index, id, CONTROL);
        self.read_on(index, id);
    }

    /// Ends a connection as the mesh wants it ended.
    fn close(&mut self, index: NodeIndex, id: ConnectionId, close: Close) {
        self.count_close(index, id, &close);
        if close == Close::Silent {
            let verdict = self.may_be_given_up(index, id);
            self.keep(index, verdict);
        }
        if let Some(cable) = self.nodes[index].dials.remove(&id) {
            self.net.cables[cable].ends[0].open = false;
        }
        self.lower(index, id);
        self.hang_up(index, id, &close);
        self.task_ends(index, id, Ended::ClosedHere);
    }

    fn count_close(&mut self, index: NodeIndex, id: ConnectionId, close: &Close) {
        let link = self.nodes[index].links.get(&id);
        let is_up = link.is_some_and(|link| link.raised.is_some());
        let seen = match close {
            Close::Duplicate => Seen::DuplicateLink,
            Close::Older { .. } if is_up => Seen::Superseded,
            Close::Older { .. } => Seen::RefusedOlder,
            Close::Silent => Seen::Silent,
            Close::TooSlow if link.is_none() => Seen::GivenUp,
            Close::TooSlow => Seen::TooSlow,
            Close::OtherCluster { .. } | Close::NameNotCertified => Seen::Refused,
            _ => return,
        };
        self.tally.count(seen);
    }

    /// Ends a connection on the network: its streams at once, at the other end when the close arrives.
    pub(super) fn hang_up(&mut self, index: NodeIndex, id: ConnectionId, close: &Close) {
        let Some(link) = self.nodes[index].links.get_mut(&id) else {
            return;
        };
        link.outbox.end();
        let (cable, side) = (link.cable, link.side);
        let end = &mut self.net.cables[cable].ends[side];
        if !std::mem::replace(&mut end.open, false) {
            return;
        }
        end.closed = Some((self.now, close.clone()));
        let code = close.code();
        self.note(index, &Moment::Close { cable, code });
        self.tell_closed(index, cable, side, close);
    }

    fn tell_closed(&mut self, index: NodeIndex, cable: CableId, side: Side, close: &Close) {
        let told = Close::read(close.code().into(), &close.reason());
        let other = self.net.cables[cable].ends[1 - side].node;
        let packet = Packet::Ended(cable, 1 - side, Ended::ClosedByPeer(told));
        self.post(index, other, packet);
    }

    pub(super) fn task_ends(&mut self, index: NodeIndex, id: ConnectionId, ended: Ended) {
        let soon = self.now + Duration::from_micros(self.rng.random_range(1..500));
        let life = self.nodes[index].life;
        let happening = Happening::TaskEnded(index, life, id, ended);
        self.net.at(soon, happening);
    }

    /// Somebody goes on sending on a connection that has ended here.
    pub(super) fn answer_to_closed(&mut self, index: NodeIndex, cable: CableId, side: Side) {
        let end = self.net.cables[cable].ends[side].clone();
        let other = self.net.cables[cable].ends[1 - side].node;
        match end.closed {
            Some((at, close)) if self.now < at + DRAINING => {
                self.tell_closed(index, cable, side, &close);
            }
            _ => {
                let trouble = Trouble::new("connection", "reset by peer");
                let reset = Packet::Ended(cable, 1 - side, Ended::Failed(trouble));
                self.post(index, other, reset);
            }
        }
    }

    /// What must not be lost did not fit.
    pub(super) fn overflow(&mut self, index: NodeIndex, id: ConnectionId) {
        self.tally.count(Seen::Overflow);
        self.hang_up(index, id, &Close::Overflow);
        self.task_ends(index, id, Ended::ClosedHere);
    }

    /// No publish goes there any more.
    fn lower(&mut self, index: NodeIndex, id: ConnectionId) {
        let node = &mut self.nodes[index];
        let Some(link) = node.links.get_mut(&id) else {
            return;
        };
        if let Some(raised) = &link.raised
            && std::mem::replace(&mut link.routed, false)
        {
            node.traffic.link_down(raised.link);
        }
    }

    /// A connection is over, and nothing of it is handed on any more.
    pub(super) fn handle_ended(&mut self, index: NodeIndex, id: ConnectionId, ended: Ended) {
        self.lower(index, id);
        let now = self.instant();
        let node = &mut self.nodes[index];
        if let Some(link) = node.links.remove(&id) {
            let (cable, how) = (link.cable, format!("{ended:?}"));
            self.net.cables[cable].ends[link.side].open = false;
            self.note(index, &Moment::Gone { cable, how });
        }
        self.nodes[index].dials.remove(&id);
        if let Some(mesh) = &mut self.nodes[index].mesh {
            mesh.handle_ended(now, id, ended);
        }
        self.follow(index);
        self.end_if_flushed(index);
    }
}

/// Whether that is a heartbeat which the other side is not to hear, nor what goes with it.
fn is_lost(link: &mut LinkEnd, frame: &Frame) -> bool {
    let lost = *frame == Frame::Heartbeat && link.loses > 0;
    link.loses -= u8::from(lost);
    lost
}
