//! The router of one node: links come and go, messages are published, time passes.
//! Pure: no clock, no I/O, no tasks.

mod control;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod wrong;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::config::Config;
use super::counters::Counters;
use super::frame::LaneFrame;
use super::hash::TopicHash;
use super::mention::Mentions;
use super::ring::{Entry, Held, Ring};
use super::routing::{Mode, Routing};
use super::slots::{Slot, SlotSet};
use super::wanted::Wanted;
use super::wants::Wants;
use crate::{Edge, Envelope, LinkId, TopicName, TrafficClass};

/// Where a router's messages go: the adapter's queues, one per link and lane, each bounded in bytes.
pub trait Lanes {
    /// Appends all of the frames to that queue, in order, or none of them; whether it took them. Must not block.
    ///
    /// What it does not take is dropped for that peer, counted, and told with a [`Gap`](LaneFrame::Gap). A queue that must
    /// not lose anything says that it took them, and ends the link.
    fn push(&mut self, link: LinkId, lane: u16, frames: &[LaneFrame]) -> bool;
}

/// To whom a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To the peers of all links that are up.
    All,
    /// To one of them.
    Link(LinkId),
}

/// What became of a message as it was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Links whose lane took it.
    pub sent: usize,
    /// Links that will get it should they turn out to want it.
    pub held: usize,
    /// Links whose lane was full.
    pub dropped: Vec<LinkId>,
}

/// Which message goes to which peer, and which topics this node asks its peers for.
///
/// The module's documentation says what it promises and why that holds. Nothing happens inside by itself, and every call
/// returns at once. The calls, in the words of the adapter around it, which keeps the router under one lock:
/// * A link ended or began to take every publish: [`handle_up`](Self::handle_up), [`handle_down`](Self::handle_down). A link
///   that is not up does not exist here.
/// * It is about to be closed without need: [`handle_closing`](Self::handle_closing), with its lanes still open.
/// * Something was published: [`publish`](Self::publish), with that lock held until it returns.
/// * The pubsub hints at edges, or something was received: [`handle_edges`](Self::handle_edges),
///   [`handle_control`](Self::handle_control), [`handle_message`](Self::handle_message).
/// * Time: [`handle_heartbeat`](Self::handle_heartbeat) of each link at least every second, and
///   [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
/// * After any of these: take all of [`poll_ready`](Self::poll_ready), and for each such link, whenever its control stream has
///   room for a frame, [`poll_control`](Self::poll_control) until there is none.
#[derive(Debug)]
pub struct Router {
    config: Config,
    pos: u64,
    ring: Ring,
    wants: Wants,
    wanted: Wanted,
    /// By slot.
    links: Vec<Option<Link>>,
    slots: BTreeMap<LinkId, Slot>,
    up: SlotSet,
    /// Those in [`Mode::Route`].
    routed: SlotSet,
    /// Those for which a control frame became due.
    ready: SlotSet,
    /// Of links that are down.
    past: Counters,
    #[cfg(test)]
    wrong: wrong::Wrong,
}

/// Both directions of a link.
#[derive(Debug)]
struct Link {
    id: LinkId,
    /// Both ends route by interest.
    capable: bool,
    routing: Routing,
    mentions: Mentions,
    /// The number of the last frame is to be told.
    last_due: bool,
    resync_due: bool,
    counters: Counters,
}

/// Why a copy is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Wanted,
    Start,
    Full,
    OldPeer,
    OverLimit,
    Flush,
    Replay,
}

impl Router {
    /// Of a node that has published nothing and wants nothing.
    pub fn new(config: Config) -> Self {
        Self {
            pos: 0,
            ring: Ring::new(&config),
            wants: Wants::new(),
            wanted: Wanted::default(),
            links: Vec::new(),
            slots: BTreeMap::new(),
            up: SlotSet::EMPTY,
            routed: SlotSet::EMPTY,
            ready: SlotSet::EMPTY,
            past: Counters::default(),
            config,
            #[cfg(test)]
            wrong: wrong::Wrong::default(),
        }
    }

    /// A link is up: from now on every publish is its peer's too. `capable` says that both ends route by interest; if not,
    /// it gets everything, and neither end sends a control frame.
    ///
    /// The adapter has settled which of two links of a peer counts: the older one is down before.
    ///
    /// # Panics
    ///
    /// If that link is up already: link ids are not used twice.
    pub fn handle_up(&mut self, id: LinkId, capable: bool) {
        let slot = self.wants.take_slot();
        #[cfg(test)]
        let slot = self.wrong.ghosts.pop().unwrap_or(slot);
        let known = self.slots.insert(id, slot);
        assert!(known.is_none(), "link {id} came up twice");
        let mut link = Link::new(id, capable);
        #[cfg(test)]
        self.prepare_wrongly(slot, &mut link);
        if capable {
            link.mentions.begin();
            self.ready.insert(slot);
        }
        self.place(slot, link);
    }

    /// A link is down, or is to be. What waited for its peer waits no longer: what is published on a link never goes out on
    /// another.
    pub fn handle_down(&mut self, id: LinkId) {
        let Some(slot) = self.slots.remove(&id) else {
            return;
        };
        let link = self.remove(slot);
        self.past += link.counters;
        #[cfg(test)]
        if self.leaves_ghost(slot) {
            return;
        }
        self.ring.trim(slot, link.routing.settled, self.pos);
        self.wants.retire(slot);
    }

    /// The link is about to be closed in good order: its peer is sent all that it waits for, and everything from now on, as long
    /// as it does not tell anew what it wants. What it has asked for and not been sent by then would be missing otherwise.
    pub fn handle_closing(&mut self, id: LinkId, lanes: &mut dyn Lanes) {
        if let Some(&slot) = self.slots.get(&id) {
            self.forget(slot, lanes);
        }
    }

    /// A message is published on this node: pushes it to the lanes of the peers that may want it, and lets the others wait.
    /// Never blocks, and no peer's queue matters to another.
    ///
    /// Messages of other classes than [`TrafficClass::User`] go to all. `lane` is the lane itself, less than their number.
    pub fn publish(
        &mut self,
        to: To,
        lane: u16,
        envelope: Arc<Envelope>,
        now: Instant,
        lanes: &mut dyn Lanes,
    ) -> Published {
        self.pos += 1;
        let targets = self.targets(to);
        let hash = self.config.hash_key.hash(&envelope.topic);
        let hold = self.not_wanted_by(&targets, hash, envelope.class);
        #[cfg(test)]
        let (targets, hold) = self.alter_targets(to, targets, hold);
        let mut now_to = targets;
        now_to.remove_all(&hold);
        let held = Held {
            pos: self.pos,
            lane,
            envelope,
        };
        let mut published = Published::default();
        self.send_now(&held, &now_to, None, &mut published, lanes);
        if !hold.is_empty() {
            self.hold(held, hash, hold, now, &mut published, lanes);
        }
        published
    }

    /// Takes in what [`Inbound::take_edges`](crate::Inbound::take_edges) gave.
    pub fn handle_edges(&mut self, edges: impl IntoIterator<Item = Edge>, now: Instant) {
        for edge in edges {
            if self.wanted.handle_edge(&edge, &self.config, now) {
                self.mention(&edge.topic);
            }
        }
    }

    /// A message came over that link with that position, and was delivered to so many subscribers of this node.
    pub fn handle_message(&mut self, id: LinkId, pos: u64, topic: &TopicName, delivered: usize) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        let is_live = self.wanted.is_live(topic);
        let link = self.link_mut(*slot);
        link.mentions.handle_heard(pos);
        if delivered > 0 || is_live {
            // If a subscribed topic's message reached nobody, their mailboxes were full.
            return;
        }
        link.counters.arrived_for_nobody += 1;
        if self.wanted.handle_unwanted(topic) {
            self.mention(topic);
        }
    }

    /// Time for a heartbeat on that link: tells what is otherwise told with the next message, and what guards against loss.
    pub fn handle_heartbeat(&mut self, id: LinkId, lanes: &mut dyn Lanes) {
        let Some(&slot) = self.slots.get(&id) else {
            return;
        };
        self.wants.sweep();
        self.tell_gaps(slot, lanes);
        let link = self.link_mut(slot);
        if link.capable {
            link.last_due = true;
            link.resync_due |= link.routing.lost;
            link.routing.announce.due |= link.routing.waiting > 0;
            self.ready.insert(slot);
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in self.up.iter() {
            let link = self.links[slot].as_mut().expect("it is up");
            #[cfg(test)]
            if self.wrong.forgets_time() {
                break;
            }
            if link.routing.announce.handle_time(now) {
                self.ready.insert(slot);
            }
        }
        while let Some(topic) = self.wanted.end_linger(now) {
            self.mention(&topic);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, as things are. Publishing and edges may bring it nearer.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.up.iter().filter_map(|slot| self.links[slot].as_ref());
        let announces = links.filter_map(|link| link.routing.announce.next());
        announces.chain(self.wanted.next_end()).min()
    }

    /// A link for which a control frame became due since it was last named here.
    pub fn poll_ready(&mut self) -> Option<LinkId> {
        let slot = self.ready.first()?;
        self.ready.remove(slot);
        self.links[slot].as_ref().map(|link| link.id)
    }

    /// What was published so far: the position of the last message.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// What waits in the ring: entries, and bytes as they count against [`Config::ring_bytes`].
    pub fn ring(&self) -> (usize, usize) {
        (self.ring.len(), self.ring.bytes())
    }

    /// Topics that this node wants, lingering ones too, and topics that its peers want.
    pub fn topics(&self) -> (usize, usize) {
        (self.wanted.len(), self.wants.len())
    }

    /// What has been counted, over all links.
    pub fn counters(&self) -> Counters {
        let mut all = self.past;
        for slot in self.slots.values() {
            all += self.link_counters_at(*slot);
        }
        all
    }

    /// What has been counted on that link; of one that is not up, nothing is known.
    pub fn link_counters(&self, id: LinkId) -> Option<Counters> {
        let slot = self.slots.get(&id)?;
        Some(self.link_counters_at(*slot))
    }

    fn link_counters_at(&self, slot: Slot) -> Counters {
        let link = self.links[slot].as_ref();
        link.map(|link| link.counters).unwrap_or_default()
    }

    fn targets(&self, to: To) -> SlotSet {
        match to {
            To::All => self.up.clone(),
            To::Link(id) => self
                .slots
                .get(&id)
                .map_or(SlotSet::EMPTY, |slot| SlotSet::one(*slot)),
        }
    }

    fn not_wanted_by(&self, targets: &SlotSet, hash: TopicHash, class: TrafficClass) -> SlotSet {
        if class != TrafficClass::User {
            return SlotSet::EMPTY;
        }
        let mut hold = self.routed.clone();
        hold.retain_all(targets);
        if let Some(wanting) = self.wants.of(hash) {
            hold.remove_all(wanting);
        }
        hold
    }

    /// Puts it into the ring for those, with room made by sending the oldest: when unsure, flood. It never goes before an
    /// older message, not even if it will never fit.
    fn hold(
        &mut self,
        held: Held,
        hash: TopicHash,
        waiting: SlotSet,
        now: Instant,
        published: &mut Published,
        lanes: &mut dyn Lanes,
    ) {
        let bytes = held.bytes();
        #[cfg(test)]
        if self.overtakes(bytes) {
            return self.send_now(&held, &waiting, Some(Why::Full), published, lanes);
        }
        while !self.ring.has_room(bytes) {
            let oldest = self.ring.pop_oldest();
            #[cfg(test)]
            let oldest = self.evict_wrongly(oldest);
            let Some(oldest) = oldest else {
                return self.send_now(&held, &waiting, Some(Why::Full), published, lanes);
            };
            self.send_evicted(&oldest, lanes);
        }
        published.held = waiting.len();
        let (most, at) = (self.config.ring_bytes / 4, now + self.config.announce_after);
        for slot in waiting.iter() {
            let link = self.link_mut(slot);
            link.counters.held += 1;
            link.routing.waiting += 1;
            if link.routing.announce.hold(bytes, most, at) {
                self.ready.insert(slot);
            }
        }
        self.ring.push(Entry {
            held,
            hash,
            waiting,
        });
    }

    fn send_evicted(&mut self, entry: &Entry, lanes: &mut dyn Lanes) {
        for slot in entry.waiting.iter() {
            self.link_mut(slot).routing.waiting -= 1;
            self.send(slot, &entry.held, Some(Why::Full), lanes);
        }
    }

    fn send_now(
        &mut self,
        held: &Held,
        to: &SlotSet,
        why: Option<Why>,
        published: &mut Published,
        lanes: &mut dyn Lanes,
    ) {
        for slot in to.iter() {
            if self.send(slot, held, why, lanes) {
                published.sent += 1;
            } else {
                published.dropped.push(self.link_mut(slot).id);
            }
        }
    }

    /// Sends a copy to one peer, and before it how many were dropped there; whether the lane took it.
    fn send(&mut self, slot: Slot, held: &Held, why: Option<Why>, lanes: &mut dyn Lanes) -> bool {
        let link = self.links[slot].as_mut().expect("it is up");
        let frame = LaneFrame::Message {
            pos: held.pos,
            envelope: Arc::clone(&held.envelope),
        };
        let taken = match link.routing.gap(held.lane) {
            0 => lanes.push(link.id, held.lane, &[frame]),
            lost => lanes.push(link.id, held.lane, &[LaneFrame::Gap(lost), frame]),
        };
        if taken {
            let gap = link.routing.gaps.remove(&held.lane);
            link.counters.gaps += u64::from(gap.is_some());
            let why = why.unwrap_or_else(|| link.why(held));
            *link.counters.of(why) += 1;
        } else {
            link.counters.dropped += 1;
            *link.routing.gaps.entry(held.lane).or_default() += 1;
        }
        #[cfg(test)]
        self.wrong.forget_gaps(&mut link.routing);
        taken
    }

    fn tell_gaps(&mut self, slot: Slot, lanes: &mut dyn Lanes) {
        let link = self.links[slot].as_mut().expect("it is up");
        let (id, counters) = (link.id, &mut link.counters);
        link.routing.gaps.retain(|lane, lost| {
            let told = lanes.push(id, *lane, &[LaneFrame::Gap(*lost)]);
            counters.gaps += u64::from(told);
            !told
        });
    }

    /// That topic is to be mentioned to every peer.
    fn mention(&mut self, topic: &TopicName) {
        for slot in self.up.iter() {
            let link = self.links[slot].as_mut().expect("it is up");
            if link.capable {
                #[cfg(test)]
                link.mentions
                    .wrong
                    .note_queued(topic, self.wanted.contains(topic));
                link.mentions.mention(topic, self.config.pending_topics);
                self.ready.insert(slot);
            }
        }
    }

    fn place(&mut self, slot: Slot, link: Link) {
        self.up.insert(slot);
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, || None);
        }
        self.slots.insert(link.id, slot);
        self.links[slot] = Some(link);
    }

    fn remove(&mut self, slot: Slot) -> Link {
        for set in [&mut self.up, &mut self.routed, &mut self.ready] {
            set.remove(slot);
        }
        self.links[slot].take().expect("it was up")
    }

    fn link_mut(&mut self, slot: Slot) -> &mut Link {
        self.links[slot].as_mut().expect("it is up")
    }
}

impl Link {
    fn new(id: LinkId, capable: bool) -> Self {
        Self {
            id,
            capable,
            routing: Routing::new(),
            mentions: Mentions::default(),
            last_due: false,
            resync_due: false,
            counters: Counters::default(),
        }
    }

    /// Why a message goes there at once.
    fn why(&self, held: &Held) -> Why {
        if held.envelope.class != TrafficClass::User || self.routing.mode == Mode::Route {
            Why::Wanted
        } else if !self.capable {
            Why::OldPeer
        } else if self.routing.over {
            Why::OverLimit
        } else {
            Why::Start
        }
    }
}

impl Counters {
    fn of(&mut self, why: Why) -> &mut u64 {
        match why {
            Why::Wanted => &mut self.sent,
            Why::Start => &mut self.flooded_start,
            Why::Full => &mut self.flooded_full,
            Why::OldPeer => &mut self.flooded_old_peer,
            Why::OverLimit => &mut self.flooded_over_limit,
            Why::Flush => &mut self.flushed,
            Why::Replay => &mut self.replayed,
        }
    }
}
