//! The router of one node: links come and go, edges and messages come in, time passes.
//! Pure: no clock, no I/O, no tasks.

mod control;
#[cfg(test)]
mod inspect;
mod lanes;
mod link;
mod publishing;
#[cfg(test)]
mod wrong;

use std::collections::BTreeMap;
use std::time::Instant;

use super::config::Config;
use super::counters::Counters;
use super::ring::Ring;
use super::slots::{Slot, SlotSet};
use super::wanted::Wanted;
use super::wants::Wants;
use crate::{Edge, LinkId, TopicName};
use link::Link;

pub use lanes::Lanes;
pub use publishing::{Published, To};

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
    /// Those whose peer has told all that it wants: others get everything.
    routed: SlotSet,
    /// Those for which a control frame became due.
    ready: SlotSet,
    /// Of links that are down.
    past: Counters,
    #[cfg(test)]
    wrong: wrong::Wrong,
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
