//! The protocol of one shard: what to tell other nodes, what to believe of them, what to list.
//!
//! A shard takes input (`track`, `update`, ... from this node; `handle_*` from elsewhere), and leaves effects in its
//! outbox, which whoever drives it takes with [`poll_effect`](Shard::poll_effect) until it is empty. Time is what the
//! driver says: a `now` that never goes backwards. [`settle`](Shard::settle) ends a step: the difference between what was listed at
//! the end of the last step and what is listed now becomes diffs.
//!
//! The rules, in the order in which they matter:
//! * An entry is written by the node where it was tracked, by nobody else, ever. Messages about entries are about their
//!   sender's entries. Nobody repeats what others said, so the dead cannot come back by way of the living; but for held
//!   sets, which nobody writes any more, and of which it is remembered that they are over.
//! * A message counts only if it came over the sender's current link and from a life that is neither lower than the
//!   highest known one nor over.
//! * A copy moves only forward, without gaps, or to a complete newer state.
//! * A copy is shown while its node's link is up, and once it has caught up with what that node said first over the
//!   link. So nothing that was deleted before a break shows after it.
//! * The end of a link hides the copy at once; the permdown period later it is dropped. A goodbye drops it at once, and
//!   ends that life for good. After the announcement of a restart its entries are held for a while (`restarts.rs`).
//! * A gap is filled by asking the owner. If another node sees more of an owner, the owner is asked, not that node.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::{Member, MemberEvent};
use matryoshka_pubsub::{Incarnation, LinkId, NodeName, Origin};

use crate::entry::Entry;
use crate::held::{Ended, HeldSet};
use crate::life::Life;
use crate::message::{Goodbye, Message, Position};
use crate::owner_log::OwnerLog;
use crate::peer::Peer;
use crate::reference::Writer;
use crate::slot::{Slot, Target, Ticket};
use crate::stats::Stats;
use crate::visible::{Beside, HeldBy, SharedNames, TopicStep, VisibleSet};
pub(crate) use holding::HoldAt;
use holding::Holding;

/// So many times sooner than usual the others are told who lost their connection and is held: their clients are back within milliseconds.
const HURRY: u32 = 10;

/// The whole state of one shard on one node.
#[derive(Debug)]
pub(crate) struct Shard {
    settings: Settings,
    /// The wall clock when this tracker was started, in microseconds.
    born: u64,
    /// From when on this tracker takes a higher number again, if a peer asks for one.
    rise_at: Duration,
    own: OwnerLog,
    /// The own values up to this number have been told.
    told: u64,
    peers: BTreeMap<NodeName, Peer>,
    visible: VisibleSet,
    outbox: VecDeque<Effect>,
    push_at: Option<Duration>,
    vector_at: Duration,
    /// When to look who has said nothing.
    silence_at: Duration,
    /// Up to here the last vector told of others.
    hinted: Option<NodeName>,
    left: bool,
    /// This node said that it restarts, and for how long its entries are held then.
    restarting: Option<Duration>,
    /// Holds ahead of closes that others are still to know of, the oldest first.
    holding: VecDeque<Holding>,
    /// What ended in a restart not long ago.
    held: BTreeMap<(NodeName, Life), HeldSet>,
    ended: Ended,
    caught_up_once: bool,
    /// How many steps there were.
    step: u64,
    stats: Stats,
}

/// Times and sizes of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) shard: u32,
    pub(crate) broadcast_period: Duration,
    pub(crate) vector_period: Duration,
    pub(crate) permdown_period: Duration,
    pub(crate) log_bytes: usize,
    /// What the entries or operations of one message take at most, unless a single one takes more.
    pub(crate) chunk_bytes: usize,
}

/// What the driver has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// To the same shard of every other node.
    Broadcast(Message),
    /// To the same shard of that node.
    SendTo(NodeName, Message),
    /// Publish that topic's list, and tell its diff.
    Step(TopicStep),
    /// The oldest [`hold`](Shard::hold) is over: whether all who are linked know of it.
    Held(bool),
    /// Say once that this peer asks for a number, or says that it has one, that no tracker can have had.
    Implausible(NodeName),
    /// Say that this link is not taken: a later life of its node is known.
    Refused(Member),
}

/// Why an update was not made; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing is tracked there.
    NoPresence,
    /// Only other nodes track that key, that one among them.
    NotOwner(NodeName),
    /// The value is no longer the one that the update was made for, but this.
    Changed(Arc<Entry>),
}

impl Refusal {
    /// Why a node cannot change what is not its own, given all that is there under the key.
    pub(crate) fn of<'a>(own: &NodeName, mut there: impl Iterator<Item = &'a Arc<Entry>>) -> Self {
        match there.next().map(|first| first.node.clone()) {
            Some(first) if first != *own && there.all(|entry| entry.node != *own) => {
                Self::NotOwner(first)
            }
            _ => Self::NoPresence,
        }
    }
}

impl Shard {
    pub(crate) fn new(node: NodeName, life: Life, settings: Settings) -> Self {
        Self {
            own: OwnerLog::new(node, settings.shard, life, settings.log_bytes),
            settings,
            born: life.started,
            rise_at: Duration::ZERO,
            told: 0,
            peers: BTreeMap::new(),
            visible: VisibleSet::default(),
            outbox: VecDeque::new(),
            push_at: None,
            vector_at: settings.vector_period,
            silence_at: settings.vector_period,
            hinted: None,
            left: false,
            restarting: None,
            holding: VecDeque::new(),
            held: BTreeMap::new(),
            ended: Ended::default(),
            caught_up_once: false,
            step: 0,
            stats: Stats::default(),
        }
    }

    /// The next thing to do. Ask until there is nothing left.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.outbox.pop_front()
    }

    /// When to call [`handle_tick`](Self::handle_tick) next, at the latest.
    pub(crate) fn poll_timeout(&self) -> Duration {
        let peers = self.peers.values().flat_map(|peer| {
            let suspicion = peer.link.as_ref().and_then(|link| link.suspicion);
            [
                peer.retry_at(),
                suspicion.map(|suspicion| suspicion.due),
                peer.believed_at(),
                peer.link
                    .is_none()
                    .then(|| peer.since + self.settings.permdown_period),
            ]
        });
        peers
            .flatten()
            .chain(self.push_at)
            .chain(self.holding.front().map(|holding| holding.due))
            .chain(self.next_deadline())
            .chain(self.own.next_expiry())
            .chain([self.silence_at])
            .fold(self.vector_at, Duration::min)
    }

    /// How far the copy of another node is, shown or not.
    pub(crate) fn have(&self, node: &NodeName) -> Option<Position> {
        self.peers.get(node)?.have()
    }

    /// Whether a peer's whole state, and all held sets that it has, were here at some time.
    pub(crate) fn caught_up_once(&self) -> bool {
        self.caught_up_once
    }

    pub(crate) fn stats(&self) -> Stats {
        let known = self.peers.values();
        Stats {
            own_entries: self.own.len() as u64,
            linked_peers: known.clone().filter(|peer| peer.link.is_some()).count() as u64,
            remembered_peers: known.count() as u64,
            held_sets_now: self.held.len() as u64,
            ..self.stats
        }
    }

    /// A message that was no message.
    pub(crate) fn count_malformed(&mut self) {
        self.stats.malformed_messages += 1;
    }

    /// The number of this tracker.
    pub(crate) fn life(&self) -> Life {
        self.own.at().life
    }

    /// By whom references say that they were given which this tracker gave.
    pub(crate) fn writers(&self) -> BTreeSet<Writer> {
        self.own.writers()
    }

    /// Whether an owner tracks anything here.
    pub(crate) fn owner_has_entries(&self, owner: u64) -> bool {
        self.own.owner_has_entries(owner)
    }

    // The application's wishes.

    /// Tracks a value in a free slot; otherwise gives what is there.
    pub(crate) fn track(
        &mut self,
        slot: &Slot,
        meta: Bytes,
        now: Duration,
    ) -> Result<(Ticket, Arc<Entry>), Arc<Entry>> {
        let topic = SharedNames::new(&self.visible).share(&slot.topic);
        let slot = Slot {
            topic,
            ..slot.clone()
        };
        let (ticket, entry) = self.own.put(&slot, meta)?;
        self.show_entry(&entry);
        self.written(now);
        Ok((ticket, entry))
    }

    /// When its connection ends, what that `track` made is held for so long, at most for the permdown period: its user may come back.
    pub(crate) fn set_drop_grace(&mut self, ticket: &Ticket, grace: Duration) {
        let grace = grace.min(self.settings.permdown_period);
        self.own.set_drop_grace(ticket, grace);
    }

    /// Where that is which is to be changed; nothing, if it has ended.
    pub(crate) fn slot_of(&self, target: Target) -> Option<Slot> {
        match target {
            Target::Slot(slot) => Some(slot),
            Target::Ticket(ticket) => self.own.slot_of(&ticket),
        }
    }

    /// What is tracked in a slot, listed or not.
    pub(crate) fn own_slot(&self, slot: &Slot) -> Option<&Arc<Entry>> {
        self.own.get(slot)
    }

    /// Replaces the value in a slot, if it is still `expected`.
    pub(crate) fn update(
        &mut self,
        slot: &Slot,
        expected: Option<&Entry>,
        meta: Bytes,
        now: Duration,
    ) -> Result<Arc<Entry>, Refusal> {
        let Some(there) = self.own.get(slot).cloned() else {
            return Err(self.refusal(slot));
        };
        if expected.is_some_and(|expected| expected.reference != there.reference) {
            return Err(Refusal::Changed(there));
        }
        self.settle_before(&there);
        let (held_ahead, gone) = (self.own.is_held(&there), self.own.is_gone(&there));
        let (old, new) = self.own.update(slot, meta).expect("it is there");
        if gone {
            // Its user is elsewhere, whatever its connection still says.
            self.own.hold_ahead(slot);
            self.own.mark_gone(new.reference.put_seq());
        } else {
            self.visible.remove(&old);
            self.show_entry(&new);
        }
        if held_ahead {
            self.hold_ahead(slot);
        }
        self.written(now);
        Ok(new)
    }

    /// Ends what is tracked in a slot. Whether something was.
    pub(crate) fn untrack(&mut self, slot: &Slot, now: Duration) -> Result<bool, Refusal> {
        if self.delete(slot, now) {
            return Ok(true);
        }
        match self.refusal(slot) {
            Refusal::NoPresence => Ok(false),
            refusal => Err(refusal),
        }
    }

    fn delete(&mut self, slot: &Slot, now: Duration) -> bool {
        let Some(there) = self.own.get(slot).cloned() else {
            return false;
        };
        self.settle_before(&there);
        self.own.delete(slot);
        self.visible.remove(&there);
        self.written(now);
        true
    }

    /// The connection of what that `track` made has ended. Whose it was, if it had not ended before.
    pub(crate) fn release(&mut self, ticket: &Ticket, now: Duration) -> Option<u64> {
        let slot = self.own.slot_of(ticket)?;
        self.disconnect(&slot, now);
        Some(slot.owner)
    }

    /// An owner is dead: all its connections have ended. Ends what so many of them tracked, at most. How many it was.
    pub(crate) fn disconnect_some(&mut self, owner: u64, most: usize, now: Duration) -> usize {
        let slots = self.own.slots(owner, most);
        for slot in &slots {
            self.disconnect(slot, now);
        }
        slots.len()
    }

    /// Nobody wished that it ends: if its user may come back, it is held.
    fn disconnect(&mut self, slot: &Slot, now: Duration) {
        let drop_grace = self.own.drop_grace(slot);
        let until = match self.restarting {
            Some(_) => None,
            None if drop_grace.is_zero() => {
                self.delete(slot, now);
                return;
            }
            None => Some(now + drop_grace),
        };
        if let Some(entry) = self.own.hold(slot, until) {
            self.visible.remove(&entry);
            self.show_held(&entry, HeldBy::Own, Beside::Visible);
            self.written_within(self.settings.broadcast_period / HURRY, now);
        }
    }

    /// Ends what an owner tracks, so much of it at most. How much it was.
    pub(crate) fn untrack_some(&mut self, owner: u64, most: usize, now: Duration) -> usize {
        let slots = self.own.slots(owner, most);
        for slot in &slots {
            self.delete(slot, now);
        }
        slots.len()
    }

    /// Says goodbye. What is tracked here is over for the others; if a restart was announced, they hold what was tracked to the end.
    pub(crate) fn depart(&mut self) {
        if self.left {
            return;
        }
        if self.restarting.is_some() {
            self.push();
        }
        self.left = true;
        self.push_at = None;
        if let Some(farewell) = self.farewell() {
            self.say_goodbye(farewell);
        }
    }

    /// The goodbye of a shard that ends without having said it, to be sent by whoever drove it; before that what the others do not know
    /// yet, if they are to hold what was tracked to the end.
    pub(crate) fn last_words(&mut self) -> Vec<Message> {
        if std::mem::replace(&mut self.left, true) {
            return Vec::new();
        }
        let Position { life, seq } = self.own.at();
        let (pushed, _) = self.own.unpushed();
        let mut words = Vec::new();
        if self.restarting.is_some() && seq > pushed {
            words.extend(self.ops_after(pushed).into_iter().map(Message::Ops));
        }
        let goodbye = |farewell| Message::Goodbye(Goodbye { life, farewell });
        words.extend(self.farewell().map(goodbye));
        words
    }

    /// After the goodbye: ends what is tracked here, so much of it at most. How much it was.
    pub(crate) fn clear(&mut self, most: usize) -> usize {
        let entries = self.own.clear(most);
        for entry in &entries {
            self.settle_before(entry);
            self.visible.remove(entry);
        }
        entries.len()
    }

    /// Ends the step: what is listed otherwise than before becomes diffs in the outbox.
    pub(crate) fn settle(&mut self) {
        self.told = self.own.at().seq;
        self.step += 1;
        let steps = self.visible.take_step();
        self.outbox.extend(steps.into_iter().map(Effect::Step));
    }

    /// Each value of this node is told, even if it lived for less than a step.
    fn settle_before(&mut self, leaving: &Entry) {
        if leaving.reference.put_seq() > self.told {
            self.settle();
        }
    }

    fn refusal(&self, slot: &Slot) -> Refusal {
        Refusal::of(self.own.node(), self.visible.by_key(&slot.topic, &slot.key))
    }

    /// Whoever a restart sends elsewhere is there some ten milliseconds later. By then the others are to know that the old place
    /// gives way to the new one, or for a moment they list both.
    fn push_period(&self) -> Duration {
        match self.restarting {
            Some(_) => self.settings.broadcast_period / HURRY,
            None => self.settings.broadcast_period,
        }
    }

    fn written(&mut self, now: Duration) {
        self.written_within(self.push_period(), now);
    }

    fn written_within(&mut self, period: Duration, now: Duration) {
        if self.left {
            return;
        }
        let due = now + period;
        self.push_at = Some(self.push_at.map_or(due, |at| at.min(due)));
        if self.own.unpushed().1 >= self.settings.chunk_bytes {
            self.push();
        }
    }

    // What happens elsewhere.

    /// Something became of another node, or of this one's number.
    pub(crate) fn handle_member(&mut self, event: &MemberEvent, now: Duration) {
        match event {
            MemberEvent::Up(member) => self.link_up(member, now),
            MemberEvent::Down(member) if self.current_link(&member.node) == Some(member.link) => {
                self.link_down(&member.node, now);
            }
            MemberEvent::Down(member) => self.forget_refused(&member.node, member.link),
            MemberEvent::Leaving(member) => {
                self.end_life(&member.node, Life::last_of(member.incarnation.0), now);
            }
            MemberEvent::Restarting(member, grace)
                if self.current_link(&member.node) == Some(member.link) =>
            {
                if let Some(link) = self.link_mut(&member.node) {
                    link.restarting = Some((member.incarnation.0, *grace));
                }
            }
            MemberEvent::Forgotten(node) => self.forget(node, now),
            MemberEvent::Gap { node, link, .. } => self.handle_gap(node, *link, now),
            MemberEvent::Renumbered(incarnation) => {
                let life = Life {
                    incarnation: incarnation.0,
                    ..self.own.at().life
                };
                self.renumber(life, now);
            }
            // A suspect may recover, and the end of its link says when it did not.
            _ => {}
        }
        self.end_holds(now);
    }

    /// Messages of that link were lost. What is missing is asked for in a moment, not at once: whoever loses messages
    /// has too many of them.
    pub(crate) fn handle_gap(&mut self, node: &NodeName, link: LinkId, now: Duration) {
        if self.current_link(node) != Some(link) {
            return;
        }
        self.stats.gaps += 1;
        let due = now + 2 * self.settings.broadcast_period;
        if let Some(link) = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut()) {
            link.suspect(u64::MAX, due);
            link.lost();
        }
    }

    /// News of nodes were lost: these lead to all that are linked as they are now, and that is this node's own number.
    pub(crate) fn handle_reset(&mut self, there: &[MemberEvent], own: Incarnation, now: Duration) {
        self.stats.resets += 1;
        self.handle_member(&MemberEvent::Renumbered(own), now);
        for peer in self.peers.values_mut() {
            peer.refused = None;
        }
        let up = |event| match event {
            MemberEvent::Up(member) => Some(member),
            _ => None,
        };
        let up: Vec<Member> = there.iter().cloned().filter_map(up).collect();
        let linked: Vec<NodeName> = self.linked().cloned().collect();
        for node in linked {
            if !up.iter().any(|member| member.node == node) {
                self.link_down(&node, now);
            }
        }
        for event in there {
            if let MemberEvent::Up(member) = event
                && self.current_link(&member.node) < Some(member.link)
                && self.is_lower(member)
            {
                // The pubsub would not have it so, if it had not forgotten the node in between.
                self.link_down(&member.node, now);
                self.forget(&member.node, now);
            }
            self.handle_member(event, now);
        }
        for member in &up {
            // Messages were lost too, perhaps.
            self.handle_gap(&member.node, member.link, now);
        }
        self.end_holds(now);
    }

    /// A message of another node. One that is not of that node's current link is dropped.
    pub(crate) fn handle_message(&mut self, origin: &Origin, message: Message, now: Duration) {
        let node = &origin.node;
        if self.current_link(node) != Some(origin.link) {
            self.stats.stale_messages += 1;
            return;
        }
        if let Some(link) = self.link_mut(node) {
            link.unheard = 0;
        }
        match message {
            Message::Hello(hello) => self.handle_hello(node, &hello, now),
            Message::Vector(vector) => self.handle_vector(node, &vector, now),
            Message::Ops(ops) => self.handle_ops(node, ops, now),
            Message::Pull(pull) => self.answer(node, &pull, now),
            Message::Part(part) => self.handle_part(node, part, now),
            Message::PartTaken(taken) => self.handle_part_taken(node, &taken),
            Message::HeldPull(pull) => self.serve_held(node, &pull, now),
            Message::HeldPart(part) => self.handle_held_part(node, &part, now),
            Message::Confirm(confirm) => self.handle_confirm(node, confirm.at, now),
            Message::Confirmed(confirm) => self.handle_confirmed(node, confirm.at),
            Message::Goodbye(goodbye) => self.handle_goodbye(node, &goodbye, now),
        }
        self.end_holds(now);
    }

    /// Time has passed.
    pub(crate) fn handle_tick(&mut self, now: Duration) {
        if self.push_at.is_some_and(|at| at <= now) {
            self.push();
        }
        self.end_graces(now);
        self.believe_owners(now);
        self.ask_again(now);
        if self.silence_at <= now {
            self.silence_at = now + self.settings.vector_period;
            self.notice_silence(now);
        }
        self.forget_absent(now);
        if self.vector_at <= now {
            self.vector_at = now + self.settings.vector_period;
            self.send_vector(now);
            self.ended.forget(now, 2 * self.settings.permdown_period);
        }
        self.end_holds(now);
    }
}

mod holding;
mod links;
mod listening;
mod offers;
mod restarts;
mod telling;

#[cfg(any(test, feature = "test-util"))]
mod at_once;
#[cfg(any(test, feature = "test-util"))]
mod inspect;
#[cfg(test)]
mod tests;
