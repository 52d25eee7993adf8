//! Streams: what is written goes into packets, what arrives is read.

use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::LinkId;
use matryoshka_pubsub::cluster::MemberEvent;
use rand::Rng;

use super::{Moment, World};
use crate::proto::close::Close;
use crate::proto::frame::Frame;
use crate::proto::lane::{LaneEvent, LaneReader, Received, class_of};
use crate::proto::mesh::Ended;
use crate::proto::peer::ConnectionId;
use crate::proto::traffic::Receipt;
use crate::testing::sim::cable::{CONTROL, CableId, Side};
use crate::testing::sim::network::{Happening, NodeIndex, Packet};
use crate::testing::sim::node::Raised;
use crate::testing::sim::registry::topic;
use crate::testing::sim::tally::Seen;

/// What is longer than that arrives in pieces.
const PIECE_BYTES: usize = 24 * 1024;
/// A payload longer than that comes in parts, from version 2 on.
const PART_BYTES: usize = 64 * 1024;
/// A lost packet is sent again after a round trip and this.
const LOSS_DELAY: Duration = Duration::from_millis(25);

impl World {
    /// Sends a packet on its way; streams keep their order, and what is cut off waits or is lost.
    pub(super) fn post(&mut self, from: NodeIndex, to: NodeIndex, packet: Packet) {
        if to >= self.nodes.len() {
            return;
        }
        let lost = self.rng.random_ratio(self.setup.loss, 1000);
        if self.net.is_cut(from, to) || (lost && !is_stream(&packet)) {
            if matches!(packet, Packet::Ended(..)) {
                self.tally.count(Seen::CloseLost);
            }
            self.net.hold(from, to, packet);
            return;
        }
        let mut flight = self.setup.flight(&mut self.rng);
        if lost {
            self.tally.count(Seen::Lost);
            let times = 1 << self.rng.random_range(0..4);
            flight += (self.setup.flight.1 * 2 + LOSS_DELAY) * times;
        }
        let arrival = self.arrival(&packet, self.now + flight);
        self.net.at(arrival, Happening::Packet(to, packet));
    }

    fn arrival(&mut self, packet: &Packet, at: Duration) -> Duration {
        let Packet::Bytes(cable, side, stream, _) = packet else {
            return at;
        };
        let cable = &mut self.net.cables[*cable];
        let stream = &mut cable.streams[1 - side][usize::from(*stream)];
        stream.arrival = at.max(stream.arrival + Duration::from_micros(1));
        let latest = &mut cable.last_arrival[*side];
        if stream.arrival < *latest {
            self.tally.count(Seen::Reordered);
        }
        *latest = stream.arrival.max(*latest);
        stream.arrival
    }

    /// Writes what waits for that stream, as far as its window goes.
    pub(super) fn pump(&mut self, index: NodeIndex, id: ConnectionId, stream: u16) {
        let mut batch = Vec::new();
        loop {
            let now = self.instant();
            let node = &mut self.nodes[index];
            let Some(link) = node.links.get_mut(&id) else {
                return;
            };
            let cable = &self.net.cables[link.cable];
            let state = &cable.streams[link.side][usize::from(stream)];
            if !cable.ends[link.side].open || state.under_way >= self.setup.window {
                return;
            }
            if stream == CONTROL {
                link.outbox.take_control(&mut batch);
                if let Some(raised) = link.raised.as_ref().filter(|_| link.routed) {
                    let registry = &mut node.registry;
                    let mut edges = || registry.take_edges();
                    let frame = node.traffic.poll_control(raised.link, &mut edges, now);
                    let codec = raised.terms.codec;
                    batch.extend(frame.and_then(|frame| codec.encode(&frame)));
                }
            } else if link.outbox.take(stream - 1, &mut batch) {
                link.opened |= 1 << (stream - 1);
            }
            if batch.is_empty() {
                return self.finish_if_empty(index, id);
            }
            let (cable, side) = (link.cable, link.side);
            for piece in self.pieces(&mut batch) {
                self.transmit(index, cable, side, stream, piece);
            }
        }
    }

    /// Packets are not frames: sometimes what is written together is not read together.
    fn pieces(&mut self, batch: &mut Vec<Bytes>) -> Vec<Vec<Bytes>> {
        let bytes: usize = batch.iter().map(Bytes::len).sum();
        if bytes <= PIECE_BYTES && !self.rng.random_ratio(1, 4) {
            return vec![std::mem::take(batch)];
        }
        let mut whole = Bytes::from(batch.concat());
        batch.clear();
        let mut pieces = Vec::new();
        while !whole.is_empty() {
            let piece = self.rng.random_range(1..=whole.len().min(PIECE_BYTES));
            let piece = if bytes > PIECE_BYTES {
                whole.len().min(PIECE_BYTES)
            } else {
                piece
            };
            pieces.push(vec![whole.split_to(piece)]);
        }
        pieces
    }

    fn transmit(
        &mut self,
        index: NodeIndex,
        cable: CableId,
        side: Side,
        stream: u16,
        piece: Vec<Bytes>,
    ) {
        let bytes: usize = piece.iter().map(Bytes::len).sum();
        let ends = &mut self.net.cables[cable];
        ends.streams[side][usize::from(stream)].under_way += bytes;
        let other = ends.ends[1 - side].node;
        let packet = Packet::Bytes(cable, 1 - side, stream, piece);
        self.post(index, other, packet);
    }

    /// Once nothing is taken any more and all is written, each lane is ended, and then it is said.
    fn finish_if_empty(&mut self, index: NodeIndex, id: ConnectionId) {
        let Some(link) = self.nodes[index].links.get_mut(&id) else {
            return;
        };
        let waits = |queued: crate::proto::outbox::Queued| {
            queued.control + queued.tracker + queued.user + queued.bulk > 0
        };
        if link.finished || !link.outbox.has_ended() || waits(link.outbox.queued()) {
            return;
        }
        link.finished = true;
        let (cable, side, opened) = (link.cable, link.side, link.opened);
        let codec = link.raised.as_ref().map(|raised| raised.terms.codec);
        for lane in (0..16).filter(|lane| opened & (1 << lane) != 0) {
            self.transmit(index, cable, side, lane + 1, Vec::new());
        }
        let lanes = u16::try_from(opened.count_ones()).unwrap_or(0);
        let finished = codec.and_then(|codec| codec.encode(&Frame::Finished { lanes }));
        if let Some(finished) = finished {
            self.transmit(index, cable, side, CONTROL, vec![finished]);
        }
    }

    pub(super) fn read(&mut self, index: NodeIndex, packet: Packet) {
        match packet {
            Packet::Dial(cable) => self.answer(index, cable),
            Packet::Answer(cable) => self.answered(index, cable),
            Packet::Alert(cable) => self.alerted(index, cable),
            Packet::Bytes(cable, side, stream, bytes) => {
                self.bytes_arrive(index, cable, side, stream, bytes);
            }
            Packet::Credit(cable, side, stream, bytes) => {
                let ends = &mut self.net.cables[cable];
                let state = &mut ends.streams[side][usize::from(stream)];
                state.under_way -= bytes;
                let end = &ends.ends[side];
                let is_here = end.open && end.life == self.nodes[index].life;
                if let Some(id) = end.id.filter(|_| is_here) {
                    self.pump(index, id, stream);
                }
            }
            Packet::Ended(cable, side, ended) => {
                let end = &mut self.net.cables[cable].ends[side];
                if end.life != self.nodes[index].life || !std::mem::replace(&mut end.open, false) {
                    return;
                }
                if let Some(id) = end.id {
                    self.handle_ended(index, id, ended);
                }
            }
        }
    }

    fn bytes_arrive(
        &mut self,
        index: NodeIndex,
        cable: CableId,
        side: Side,
        stream: u16,
        bytes: Vec<Bytes>,
    ) {
        let end = &self.net.cables[cable].ends[side];
        if end.life != self.nodes[index].life {
            return;
        }
        if side == 1 && end.id.is_none() && !self.nodes[index].flushing {
            self.accept(index, cable);
        }
        let end = &self.net.cables[cable].ends[side];
        let Some(id) = end.id.filter(|_| end.open) else {
            return self.answer_to_closed(index, cable, side);
        };
        let Some(link) = self.nodes[index].links.get_mut(&id) else {
            return;
        };
        link.heard = true;
        link.heard_at = self.now;
        if stream == CONTROL {
            let read = bytes.iter().map(Bytes::len).sum();
            for piece in bytes {
                link.control.feed(piece);
            }
            self.give_credit(index, cable, side, stream, read);
            self.read_control(index, id);
            self.read_on(index, id);
        } else {
            link.unread.push_back((stream, bytes));
            self.read_on(index, id);
        }
    }

    fn give_credit(
        &mut self,
        index: NodeIndex,
        cable: CableId,
        side: Side,
        stream: u16,
        bytes: usize,
    ) {
        let ends = &self.net.cables[cable];
        let other = ends.ends[1 - side].node;
        let state = &ends.streams[1 - side][usize::from(stream)];
        // Only a writer that waits for it needs a packet of its own.
        if state.under_way < self.setup.window && !self.net.is_cut(index, other) {
            self.net.cables[cable].streams[1 - side][usize::from(stream)].under_way -= bytes;
            return;
        }
        let credit = Packet::Credit(cable, 1 - side, stream, bytes);
        self.post(index, other, credit);
    }

    fn read_control(&mut self, index: NodeIndex, id: ConnectionId) {
        loop {
            if !self.is_open(index, id) {
                return;
            }
            let now = self.instant();
            let node = &mut self.nodes[index];
            let Some(link) = node.links.get_mut(&id) else {
                return;
            };
            let raised = link.raised.as_ref().map(|raised| raised.link);
            match link.control.next(raised.is_some()) {
                Err(error) => {
                    return self.fail(index, format!("an honest peer was misread: {error}"));
                }
                Ok(None) => return,
                Ok(Some(Frame::Finished { lanes })) => link.to_read = Some(lanes),
                Ok(Some(Frame::Routing(frame))) => {
                    let link = raised.expect("only then it is handed out");
                    node.traffic.handle_control(link, frame);
                }
                Ok(Some(frame)) => {
                    if let Some(mesh) = &mut node.mesh {
                        mesh.handle_frame(now, id, frame);
                    }
                }
            }
            self.follow(index);
        }
    }

    fn is_open(&self, index: NodeIndex, id: ConnectionId) -> bool {
        let link = self.nodes[index].links.get(&id);
        link.is_some_and(|link| self.net.cables[link.cable].ends[link.side].open)
    }

    /// Reads what waits, once the link is up and as far as its reader reads.
    pub(in crate::testing::sim) fn read_on(&mut self, index: NodeIndex, id: ConnectionId) {
        self.read_control(index, id);
        let mut put_off = Vec::new();
        while self.is_open(index, id) {
            let node = &mut self.nodes[index];
            let slow = node.slow;
            let Some(link) = node.links.get_mut(&id) else {
                break;
            };
            let Some(raised) = link.raised.clone() else {
                break;
            };
            let Some((stream, bytes)) = link.unread.pop_front() else {
                break;
            };
            let is_users = class_of(stream - 1) > matryoshka_pubsub::TrafficClass::Tracker;
            if slow && is_users {
                put_off.push((stream, bytes));
                continue;
            }
            self.read_lane(index, id, &raised, stream, bytes);
        }
        if let Some(link) = self.nodes[index].links.get_mut(&id) {
            link.unread.extend(put_off);
            if link.to_read == Some(link.read_to_end) && self.is_open(index, id) {
                self.hang_up(index, id, &Close::Leaving);
                self.task_ends(index, id, Ended::ClosedHere);
            }
        }
    }

    fn read_lane(
        &mut self,
        index: NodeIndex,
        id: ConnectionId,
        raised: &Raised,
        stream: u16,
        bytes: Vec<Bytes>,
    ) {
        let limit = self.nodes[index].offer.max_message_bytes;
        let Some(link) = self.nodes[index].links.get_mut(&id) else {
            return;
        };
        let (cable, side, lane) = (link.cable, link.side, stream - 1);
        if bytes.is_empty() {
            link.read_to_end += 1;
            return;
        }
        let read = bytes.iter().map(Bytes::len).sum();
        let mut reader = link.lanes[usize::from(lane)]
            .take()
            .unwrap_or_else(|| LaneReader::new(raised.terms.codec, limit));
        let mut receipt = Receipt::default();
        for piece in bytes {
            reader.feed(piece);
            loop {
                match reader.next() {
                    Ok(None) => break,
                    Ok(Some(LaneEvent::Message(received))) => {
                        self.deliver(index, cable, side, raised, received, &mut receipt);
                    }
                    Ok(Some(LaneEvent::Gap(lost))) => {
                        self.gap(index, cable, side, lane, raised, lost);
                    }
                    Err(error) => {
                        return self.fail(index, format!("an honest peer was misread: {error}"));
                    }
                }
            }
        }
        let node = &mut self.nodes[index];
        if let Some(link) = node.links.get_mut(&id) {
            link.lanes[usize::from(lane)] = Some(reader);
        }
        if receipt.heard > 0 || !receipt.unwanted.is_empty() {
            node.traffic.handle_received(raised.link, &receipt);
        }
        self.give_credit(index, cable, side, stream, read);
        self.follow(index);
    }

    fn gap(
        &mut self,
        index: NodeIndex,
        cable: CableId,
        side: Side,
        lane: u16,
        raised: &Raised,
        lost: u64,
    ) {
        self.note(index, &Moment::Gap { cable, lane, lost });
        let told = self.ledger.gap((cable, 1 - side), lane, lost);
        self.keep(index, told);
        let (node, link) = (raised.name.clone(), raised.link);
        self.member(index, MemberEvent::Gap { node, link, lost });
    }

    fn deliver(
        &mut self,
        index: NodeIndex,
        cable: CableId,
        side: Side,
        raised: &Raised,
        received: Received,
        receipt: &mut Receipt,
    ) {
        let node = &self.nodes[index];
        if !node.table.is_current(&raised.name, raised.link) {
            return self.fail(
                index,
                format!("a message over {}, which is not up", raised.link),
            );
        }
        if node.newest.get(&raised.name) != Some(&raised.incarnation) {
            return self.fail(index, format!("Q7: a message of {:?}", raised.incarnation));
        }
        let number = number_in(&received.payload);
        let Some(publication) = self.ledger.published.get(number) else {
            return self.fail(index, format!("{number} was never published"));
        };
        let is_whole = publication.bytes == received.payload.len()
            && received.payload[8..]
                .iter()
                .all(|byte| *byte == number as u8);
        if !is_whole || topic(&received.topic) != publication.topic {
            return self.fail(index, format!("{number} came as another message"));
        }
        if publication.bytes > PART_BYTES && raised.terms.codec > crate::proto::codec::Codec::V1 {
            self.tally.count(Seen::Parts);
        }
        let topic = publication.topic;
        let subs = node.registry.subscribers(topic).len();
        receipt.heard = receipt.heard.max(received.pos);
        if subs == 0 {
            receipt.unwanted.push(received.topic);
        }
        self.tally.add(Seen::Delivered, subs as u64);
        self.note(
            index,
            &Moment::Deliver {
                number,
                cable,
                subs,
            },
        );
        let subs = self.nodes[index].registry.subscribers(topic);
        let mut deliver = |sub: &usize| self.ledger.deliver((cable, 1 - side), number, *sub);
        let kept = subs.iter().try_for_each(&mut deliver);
        self.keep(index, kept);
    }

    /// What queues were too full for, since this was asked last.
    pub(super) fn note_refused(&mut self, index: NodeIndex) {
        let refused = self.nodes[index].traffic.take_refused();
        for (link, lane, pos) in refused {
            self.refuse(index, link, lane, pos);
        }
    }

    fn refuse(&mut self, index: NodeIndex, link: LinkId, lane: u16, pos: u64) {
        self.tally.count(Seen::Dropped);
        let node = &self.nodes[index];
        let number = usize::try_from(pos)
            .ok()
            .and_then(|pos| node.published.get(pos - 1));
        let end = node.by_link.get(&link).and_then(|id| node.links.get(id));
        if let (Some(number), Some(end)) = (number, end) {
            self.ledger.refuse((end.cable, end.side), lane, *number);
        }
    }

    pub(super) fn keep(&mut self, index: NodeIndex, kept: Result<(), String>) {
        if let Err(text) = kept {
            self.fail(index, text);
        }
    }
}

fn is_stream(packet: &Packet) -> bool {
    matches!(packet, Packet::Bytes(..) | Packet::Credit(..))
}

/// Which publication a payload says it is.
fn number_in(payload: &[u8]) -> usize {
    let head = payload.first_chunk::<8>().copied().unwrap_or([0xff; 8]);
    usize::try_from(u64::from_le_bytes(head)).unwrap_or(usize::MAX)
}
