//! What goes between this node and the others over links that are up: which message to whom, in which form, in which queue.
//!
//! The router of `pubsub` decides, the codecs write, the outboxes hold; this is what joins them, for the driver and the simulator
//! alike. Not even a lock is taken here but those of single queues: whoever shares a `Traffic` keeps it under one lock, takes that
//! lock before any queue's, runs nothing of users' under it, and wakes ([`take_wakes`](Traffic::take_wakes)) after it.
//!
//! Pure: no clock, no I/O, no tasks.

mod sent;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use matryoshka_pubsub::cluster::interest::{
    Config, ControlFrame, LaneFrame, Lanes, Published, Router, To,
};
use matryoshka_pubsub::{Edge, Envelope, LinkId, NodeName, Reached, TopicName};

use super::frame::Frame;
use super::lane::{Pushed, lane_of, must_not_lose};
use super::outbox::Outbox;
use super::terms::Terms;
pub(crate) use sent::{Sent, Totals};
use written::Written;

/// See the module. `S` is how whoever writes to a peer is woken.
#[derive(Debug)]
pub(crate) struct Traffic<S> {
    router: Router,
    links: Links<S>,
    names: BTreeMap<NodeName, LinkId>,
    /// What was sent over links that are down, by peer.
    past: BTreeMap<NodeName, Sent>,
    announce_after: Duration,
    /// When whoever keeps the time is going to call.
    alarm: Option<Instant>,
}

/// Who is to be woken once the lock is given back.
#[derive(Debug)]
pub(crate) enum Wake<S> {
    /// That lane has something to write.
    Lane(Arc<Outbox<S>>, u16),
    /// The control stream has: [`Traffic::poll_control`].
    Control(Arc<Outbox<S>>),
    /// A queue that must not lose anything was full: the link has to end.
    Overflow(Arc<Outbox<S>>),
    /// Whoever keeps the time has to look again: [`Traffic::set_alarm`].
    Alarm,
}

/// What came over a link, since this was told last. Told late is as good as told at once; it only must not be told early.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    /// The highest position that came.
    pub(crate) heard: u64,
    /// Topics of messages that reached no subscriber, one for each message.
    pub(crate) unwanted: Vec<TopicName>,
}

/// The queues of all links, as the router fills them.
#[derive(Debug)]
struct Links<S> {
    by_id: BTreeMap<LinkId, Link<S>>,
    written: Written,
    wakes: Vec<Wake<S>>,
    /// Of links that are down.
    past: Sent,
    /// What queues were too full for: link, lane, position.
    #[cfg(any(test, feature = "test-util"))]
    refused: Vec<(LinkId, u16, u64)>,
}

#[derive(Debug)]
struct Link<S> {
    name: NodeName,
    terms: Terms,
    outbox: Arc<Outbox<S>>,
    /// The lanes that have been begun, as bits.
    begun: u32,
    bytes: u64,
    too_large: u64,
}

impl<S> Traffic<S> {
    /// Of a node without links.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            announce_after: config.announce_after,
            router: Router::new(config),
            links: Links {
                by_id: BTreeMap::new(),
                written: Written::default(),
                wakes: Vec::new(),
                past: Sent::default(),
                #[cfg(any(test, feature = "test-util"))]
                refused: Vec::new(),
            },
            names: BTreeMap::new(),
            past: BTreeMap::new(),
            alarm: None,
        }
    }

    /// A link is up: from now on every publish is its peer's too. `Up` is told after this, and nothing that the link carries is
    /// handed in before.
    pub(crate) fn link_up(
        &mut self,
        id: LinkId,
        name: NodeName,
        terms: Terms,
        outbox: Arc<Outbox<S>>,
    ) {
        let capable = terms.interest;
        self.names.insert(name.clone(), id);
        let link = Link {
            name,
            terms,
            outbox,
            begun: 0,
            bytes: 0,
            too_large: 0,
        };
        self.links.by_id.insert(id, link);
        self.router.handle_up(id, capable);
        self.collect_ready();
    }

    /// A link is down, or is to be: no publish goes there. `Down` is told after this.
    pub(crate) fn link_down(&mut self, id: LinkId) {
        let sent = self.sent_on(id);
        self.router.handle_down(id);
        let Some(link) = self.links.by_id.remove(&id) else {
            return;
        };
        if self.names.get(&link.name) == Some(&id) {
            self.names.remove(&link.name);
        }
        self.links.past.add(sent);
        self.past.entry(link.name).or_default().add(sent);
    }

    /// All links are about to be closed in good order: what their peers may still ask for goes out now.
    pub(crate) fn handle_closing(&mut self) {
        let links: Vec<LinkId> = self.links.by_id.keys().copied().collect();
        for id in links {
            self.router.handle_closing(id, &mut self.links);
        }
        self.links.written.forget();
        self.collect_ready();
    }

    /// That member is forgotten: what was sent to it is no longer counted for it, only in the sum.
    pub(crate) fn forget(&mut self, name: &NodeName) {
        self.past.remove(name);
    }

    /// Whether no link is up.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.by_id.is_empty()
    }

    /// How many links are up.
    pub(crate) fn len(&self) -> usize {
        self.links.by_id.len()
    }

    /// The link to that peer.
    pub(crate) fn link_to(&self, name: &NodeName) -> Option<LinkId> {
        self.names.get(name).copied()
    }

    /// The largest payload that the peer of that link takes.
    pub(crate) fn max_message_bytes(&self, id: LinkId) -> usize {
        let link = self.links.by_id.get(&id);
        link.map_or(usize::MAX, |link| link.terms.peer_max_message_bytes)
    }

    /// A message is published: into the queues of the peers that may want it, or into the ring.
    pub(crate) fn publish(&mut self, to: To, envelope: &Envelope, now: Instant) -> Reached {
        let lane = lane_of(envelope.class, envelope.lane);
        let envelope = Arc::new(envelope.clone());
        let published = self
            .router
            .publish(to, lane, envelope, now, &mut self.links);
        if published.held > 0 {
            self.set_off_alarm(now);
            self.collect_ready();
        }
        self.links.written.forget();
        self.reached(published)
    }

    /// The pubsub hinted at edges, and this is what it gave.
    pub(crate) fn handle_edges(&mut self, edges: Vec<Edge>, now: Instant) {
        self.router.handle_edges(edges, now);
        self.collect_ready();
    }

    /// The other router said something.
    pub(crate) fn handle_control(&mut self, id: LinkId, frame: ControlFrame) {
        self.router.handle_control(id, frame, &mut self.links);
        self.links.written.forget();
        self.collect_ready();
    }

    /// The next frame for the control stream of that link, to be asked for when all that waited for it has been written: then it
    /// has room. `take_edges` is the pubsub's.
    pub(crate) fn poll_control(
        &mut self,
        id: LinkId,
        take_edges: &mut dyn FnMut() -> Vec<Edge>,
        now: Instant,
    ) -> Option<Frame> {
        let frame = self.router.poll_control(id, take_edges, now);
        self.collect_ready();
        frame.map(Frame::Routing)
    }

    /// Messages came over that link and were delivered.
    pub(crate) fn handle_received(&mut self, id: LinkId, receipt: &Receipt) {
        let heard = receipt.heard;
        for topic in &receipt.unwanted {
            self.router.handle_message(id, heard, topic, 0);
        }
        if receipt.unwanted.is_empty() {
            // Of a message that somebody got, only the position counts.
            self.router
                .handle_message(id, heard, &TopicName::default(), 1);
        }
        self.collect_ready();
    }

    /// A heartbeat is being sent on that link: with it goes what is otherwise told with the next message.
    pub(crate) fn handle_heartbeat(&mut self, id: LinkId) {
        self.router.handle_heartbeat(id, &mut self.links);
        self.collect_ready();
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.router.handle_timeout(now);
        self.collect_ready();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next. Whoever keeps the time is going to; if something brings
    /// that nearer, it is woken by [`Wake::Alarm`].
    pub(crate) fn set_alarm(&mut self) -> Option<Instant> {
        self.alarm = self.router.poll_timeout();
        self.alarm
    }

    /// Who is to be woken, after the lock is given back.
    pub(crate) fn take_wakes(&mut self) -> Vec<Wake<S>> {
        std::mem::take(&mut self.links.wakes)
    }

    /// What queues were too full for since this was asked last: link, lane and position.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn take_refused(&mut self) -> Vec<(LinkId, u16, u64)> {
        std::mem::take(&mut self.links.refused)
    }

    /// What was sent to that peer since it was last forgotten.
    pub(crate) fn sent_to(&self, name: &NodeName) -> Sent {
        let mut sent = self.past.get(name).copied().unwrap_or_default();
        if let Some(id) = self.link_to(name) {
            sent.add(self.sent_on(id));
        }
        sent
    }

    /// What was sent to all, and what is held.
    pub(crate) fn totals(&self) -> Totals {
        let mut sent = self.links.past;
        for id in self.links.by_id.keys() {
            sent.add(self.sent_on(*id));
        }
        let (ring_entries, ring_bytes) = self.router.ring();
        let (topics_wanted, topics_of_peers) = self.router.topics();
        Totals {
            sent,
            ring_entries,
            ring_bytes,
            topics_wanted,
            topics_of_peers,
            encoded: self.links.written.count(),
        }
    }

    fn sent_on(&self, id: LinkId) -> Sent {
        let link = self.links.by_id.get(&id);
        Sent {
            routing: self.router.link_counters(id).unwrap_or_default(),
            bytes: link.map_or(0, |link| link.bytes),
            too_large: link.map_or(0, |link| link.too_large),
        }
    }

    /// Something is held since now: a position is due after a while.
    fn set_off_alarm(&mut self, now: Instant) {
        let due = now + self.announce_after;
        if self.alarm.is_none_or(|alarm| alarm > due) {
            self.alarm = Some(due);
            self.links.wakes.push(Wake::Alarm);
        }
    }

    fn collect_ready(&mut self) {
        while let Some(id) = self.router.poll_ready() {
            if let Some(link) = self.links.by_id.get(&id) {
                let outbox = Arc::clone(&link.outbox);
                self.links.wakes.push(Wake::Control(outbox));
            }
        }
    }

    fn reached(&self, published: Published) -> Reached {
        let name = |id| Some(self.links.by_id.get(&id)?.name.clone());
        Reached {
            peers: published.sent + published.held,
            dropped: published.dropped.into_iter().filter_map(name).collect(),
        }
    }
}

impl<S> Lanes for Links<S> {
    fn push(&mut self, id: LinkId, lane: u16, frames: &[LaneFrame]) -> bool {
        let taken = self.try_push(id, lane, frames);
        #[cfg(any(test, feature = "test-util"))]
        if !taken {
            let refused = frames.iter().filter_map(position);
            self.refused.extend(refused.map(|pos| (id, lane, pos)));
        }
        taken
    }
}

impl<S> Links<S> {
    fn try_push(&mut self, id: LinkId, lane: u16, frames: &[LaneFrame]) -> bool {
        let Some(link) = self.by_id.get_mut(&id) else {
            return true;
        };
        let limit = link.terms.peer_max_message_bytes;
        if payload_bytes(frames) > limit {
            link.too_large += 1;
            return false;
        }
        let codec = link.terms.codec;
        let begins = link.begun & (1 << lane) == 0;
        self.written.write(codec, begins.then_some(lane), frames);
        match link.outbox.push(lane, &self.written.parts(codec, frames)) {
            Pushed::Queued { first } => {
                link.begun |= 1 << lane;
                link.bytes += payload_bytes(frames) as u64;
                if first {
                    let outbox = Arc::clone(&link.outbox);
                    self.wakes.push(Wake::Lane(outbox, lane));
                }
            }
            Pushed::Full if must_not_lose(lane) => {
                link.outbox.end();
                let outbox = Arc::clone(&link.outbox);
                self.wakes.push(Wake::Overflow(outbox));
            }
            Pushed::Full => return false,
            // It ends, and what was on its way to it is lost with it.
            Pushed::Closed => {}
        }
        true
    }
}

#[cfg(any(test, feature = "test-util"))]
fn position(frame: &LaneFrame) -> Option<u64> {
    match frame {
        LaneFrame::Message { pos, .. } => Some(*pos),
        LaneFrame::Gap(_) => None,
    }
}

fn payload_bytes(frames: &[LaneFrame]) -> usize {
    let payload = |frame: &LaneFrame| match frame {
        LaneFrame::Message { envelope, .. } => envelope.payload.len(),
        LaneFrame::Gap(_) => 0,
    };
    frames.iter().map(payload).sum()
}

#[cfg(test)]
mod tests;
