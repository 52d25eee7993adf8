//! The protocol of one shard: what to tell other nodes, what to believe of them, what to list.
//!
//! A shard takes input (`track`, `update`, ... from this node; `handle_*` from elsewhere), and leaves effects in its
//! outbox, which whoever drives it takes with [`poll_effect`](Shard::poll_effect) until it is empty. Time is what the
//! driver says: a `now` that never goes backwards. [`settle`](Shard::settle) ends a step: the difference between what was listed at
//! the end of the last step and what is listed now becomes diffs.
//!
//! The rules, in the order in which they matter:
//! * An entry is written by the node where it was tracked, by nobody else, ever. Messages about entries are about their
//!   sender's entries. Nobody repeats what others said, so the dead cannot come back by way of the living.
//! * A message counts only if it came over the sender's current link and from a life that is neither lower than the
//!   highest known one nor over.
//! * A copy moves only forward, without gaps, or to a complete newer state ([`Replica`]).
//! * A copy is shown while its node's link is up, and once it has caught up with what that node said first over the
//!   link. So nothing that was deleted before a break shows after it.
//! * The end of a link hides the copy at once; the permdown period later it is dropped. A goodbye drops it at once, and
//!   ends that life for good.
//! * A gap is filled by asking the owner. If another node sees more of an owner, the owner is asked, not that node.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::{Member, MemberEvent, MemberState};
use matryoshka_pubsub::{Incarnation, LinkId, NodeName, Origin};

use crate::entry::Entry;
use crate::life::Life;
use crate::message::{
    Farewell, Goodbye, Heard, Hello, Message, Ops, Part, PartTaken, Position, Pull, Vector,
};
use crate::owner_log::{OwnerLog, Slot, Ticket};
use crate::peer::{Floor, Link, Peer, Sending, Suspicion, cut};
use crate::replica::{Applied, Assembled, Assembly, Change, Replica, State};
use crate::stats::Stats;
use crate::visible::{SharedNames, TopicStep, VisibleSet};

/// The whole state of one shard on one node.
#[derive(Debug)]
pub(crate) struct Shard {
    settings: Settings,
    own: OwnerLog,
    peers: BTreeMap<NodeName, Peer>,
    visible: VisibleSet,
    outbox: VecDeque<Effect>,
    push_at: Option<Duration>,
    vector_at: Duration,
    /// Up to here the last vector told of others.
    hinted: Option<NodeName>,
    left: bool,
    caught_up_once: bool,
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
}

/// Why an update was not made; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing is tracked there.
    NoPresence,
    /// Only other nodes track that key, that one among them.
    NotOwner(NodeName),
    /// The value is no longer the one that the update was made for.
    Changed,
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
            peers: BTreeMap::new(),
            visible: VisibleSet::default(),
            outbox: VecDeque::new(),
            push_at: None,
            vector_at: settings.vector_period,
            hinted: None,
            left: false,
            caught_up_once: false,
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
                peer.link
                    .is_none()
                    .then(|| peer.since + self.settings.permdown_period),
            ]
        });
        peers
            .flatten()
            .chain(self.push_at)
            .fold(self.vector_at, Duration::min)
    }

    /// Whether a peer's whole state was here at some time.
    pub(crate) fn caught_up_once(&self) -> bool {
        self.caught_up_once
    }

    pub(crate) fn stats(&self) -> Stats {
        let known = self.peers.values();
        Stats {
            own_entries: self.own.len() as u64,
            linked_peers: known.clone().filter(|peer| peer.link.is_some()).count() as u64,
            remembered_peers: known.count() as u64,
            ..self.stats
        }
    }

    /// A message that was no message.
    pub(crate) fn count_malformed(&mut self) {
        self.stats.malformed_messages += 1;
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
        self.visible.insert(&entry);
        self.written(now);
        Ok((ticket, entry))
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
            return Err(Refusal::Changed);
        }
        self.settle_before(&there);
        let (old, new) = self.own.update(slot, meta).expect("it is there");
        self.visible.remove(&old);
        self.visible.insert(&new);
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

    /// Ends what that `track` made. Whose it was, if it had not ended before.
    pub(crate) fn release(&mut self, ticket: Ticket, now: Duration) -> Option<u64> {
        let slot = self.own.slot_of(ticket)?;
        self.delete(&slot, now).then_some(slot.owner)
    }

    /// Ends all that an owner tracks. How much it was.
    pub(crate) fn untrack_owner(&mut self, owner: u64, now: Duration) -> usize {
        let slots = self.own.slots(owner);
        for slot in &slots {
            self.delete(slot, now);
        }
        slots.len()
    }

    /// Ends everything that is tracked here, and says goodbye.
    pub(crate) fn leave(&mut self, now: Duration) {
        for slot in self.own.all_slots() {
            self.delete(&slot, now);
        }
        self.left = true;
        self.push_at = None;
        let life = self.own.at().life;
        let farewell = Farewell::LEAVING;
        self.outbox
            .push_back(Effect::Broadcast(Message::Goodbye(Goodbye {
                life,
                farewell,
            })));
    }

    /// Ends the step: what is listed otherwise than before becomes diffs in the outbox.
    pub(crate) fn settle(&mut self) {
        let steps = self.visible.take_step();
        self.outbox.extend(steps.into_iter().map(Effect::Step));
    }

    /// Each value of this node is told, even if it lived for less than a step.
    fn settle_before(&mut self, leaving: &Entry) {
        if self.visible.touched(leaving) {
            self.settle();
        }
    }

    fn refusal(&self, slot: &Slot) -> Refusal {
        Refusal::of(self.own.node(), self.visible.by_key(&slot.topic, &slot.key))
    }

    fn written(&mut self, now: Duration) {
        if self.push_at.is_none() {
            self.push_at = Some(now + self.settings.broadcast_period);
        }
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
            MemberEvent::Leaving(member) => {
                self.end_life(&member.node, Life::last_of(member.incarnation.0), now);
            }
            MemberEvent::Forgotten(node) => self.forget(node, now),
            MemberEvent::Gap { node, link, .. } => self.handle_gap(node, *link, now),
            MemberEvent::Renumbered(incarnation) => {
                self.renumber(Life {
                    incarnation: incarnation.0,
                    ..self.own.at().life
                });
            }
            // A suspect may recover, and the end of its link says when it did not. A restarting node's entries end with
            // its link, like any other's.
            _ => {}
        }
    }

    /// Messages of that link were lost.
    pub(crate) fn handle_gap(&mut self, node: &NodeName, link: LinkId, now: Duration) {
        if self.current_link(node) != Some(link) {
            return;
        }
        self.stats.gaps += 1;
        if let Some(link) = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut()) {
            link.assembly = None;
        }
        self.ask(node, now);
    }

    /// News of nodes were lost: these are all of them as they are now, and this node's own number.
    pub(crate) fn handle_reset(&mut self, members: &[Member], own: Incarnation, now: Duration) {
        self.stats.resets += 1;
        self.handle_member(&MemberEvent::Renumbered(own), now);
        let linked: Vec<NodeName> = self.linked().cloned().collect();
        for node in linked {
            let still = |member: &Member| member.node == node && member.state.is_linked();
            if !members.iter().any(still) {
                self.link_down(&node, now);
            }
        }
        for member in members.iter().filter(|member| member.state.is_linked()) {
            self.link_up(member, now);
            if member.state == MemberState::Leaving {
                self.end_life(&member.node, Life::last_of(member.incarnation.0), now);
            }
            // Messages were lost too, perhaps.
            self.handle_gap(&member.node, member.link, now);
        }
    }

    /// A message of another node. One that is not of that node's current link is dropped.
    pub(crate) fn handle_message(&mut self, origin: &Origin, message: Message, now: Duration) {
        let node = &origin.node;
        if self.current_link(node) != Some(origin.link) {
            self.stats.stale_messages += 1;
            return;
        }
        match message {
            Message::Hello(hello) => self.handle_hello(node, &hello, now),
            Message::Vector(vector) => self.handle_vector(node, &vector, now),
            Message::Ops(ops) => self.handle_ops(node, &ops, now),
            Message::Pull(pull) => self.serve(node, pull.have),
            Message::Part(part) => self.handle_part(node, &part, now),
            Message::PartTaken(taken) => self.handle_part_taken(node, &taken),
            Message::Goodbye(goodbye) => self.handle_goodbye(node, &goodbye, now),
        }
    }

    /// Time has passed.
    pub(crate) fn handle_tick(&mut self, now: Duration) {
        if self.push_at.is_some_and(|at| at <= now) {
            self.push();
        }
        self.ask_again(now);
        self.forget_absent(now);
        if self.vector_at <= now {
            self.vector_at = now + self.settings.vector_period;
            self.send_vector();
        }
    }

    // Links.

    fn current_link(&self, node: &NodeName) -> Option<LinkId> {
        let link = self.peers.get(node)?.link.as_ref()?;
        Some(link.id)
    }

    fn linked(&self) -> impl Iterator<Item = &NodeName> {
        let linked = self.peers.iter().filter(|(_, peer)| peer.link.is_some());
        linked.map(|(node, _)| node)
    }

    fn link_up(&mut self, member: &Member, now: Duration) {
        let node = &member.node;
        // A link that is current already has recovered; one that is older was told late.
        if node == self.own.node() || self.current_link(node) >= Some(member.link) {
            return;
        }
        let floor = self.peers.get(node).map(|peer| peer.floor.life.incarnation);
        if floor.is_some_and(|floor| member.incarnation.0 < floor) {
            self.stats.refused_lives += 1;
            return;
        }
        // Two links at once do not exist: the one that was not said to be down is.
        self.link_down(node, now);
        let peer = self
            .peers
            .entry(node.clone())
            .or_insert_with(|| Peer::new(member.incarnation.0));
        let first = Life::first_of(member.incarnation.0);
        if peer.floor.life < first {
            peer.floor = Floor {
                life: first,
                ended: false,
            };
            peer.replica = None;
        }
        peer.link = Some(Link::new(member.link, now));
        self.send_hello(node);
    }

    fn link_down(&mut self, node: &NodeName, now: Duration) {
        self.hide(node);
        if let Some(peer) = self.peers.get_mut(node)
            && peer.link.take().is_some()
        {
            peer.since = now;
        }
    }

    /// That life and all before it are over.
    fn end_life(&mut self, node: &NodeName, life: Life, now: Duration) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        if peer.floor.life > life {
            return;
        }
        self.hide(node);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.floor = Floor { life, ended: true };
            peer.replica = None;
            peer.since = now;
            if let Some(link) = &mut peer.link {
                link.restart();
            }
        }
    }

    fn forget(&mut self, node: &NodeName, now: Duration) {
        if let Some(peer) = self.peers.get_mut(node)
            && peer.link.is_none()
            && peer.replica.take().is_some()
        {
            peer.since = now;
        }
    }

    /// What was absent for the permdown period is dropped; what was dropped that long ago is not even remembered.
    fn forget_absent(&mut self, now: Duration) {
        let period = self.settings.permdown_period;
        self.peers.retain(|_, peer| {
            if peer.link.is_some() || now < peer.since + period {
                return true;
            }
            peer.since = now;
            peer.replica.take().is_some()
        });
    }

    fn show(&mut self, node: &NodeName) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if peer.shown || !peer.caught_up() {
            return;
        }
        peer.shown = true;
        self.caught_up_once = true;
        for entry in peer.replica.iter().flat_map(Replica::iter) {
            self.visible.insert(entry);
        }
    }

    fn hide(&mut self, node: &NodeName) {
        if let Some(peer) = self.peers.get_mut(node)
            && std::mem::take(&mut peer.shown)
        {
            for entry in peer.replica.iter().flat_map(Replica::iter) {
                self.visible.remove(entry);
            }
        }
    }

    // Listening.

    /// Whether a message of that life counts. The first of a higher life ends what was known of the one before.
    fn hear(&mut self, node: &NodeName, life: Life) -> bool {
        let Some(peer) = self.peers.get(node) else {
            return false;
        };
        if !peer.floor.admits(life) {
            self.stats.refused_lives += 1;
            return false;
        }
        if peer.replica.as_ref().map(Replica::life) == Some(life) {
            return true;
        }
        self.hide(node);
        let replica = Replica::new(node.clone(), self.settings.shard, life);
        if let Some(peer) = self.peers.get_mut(node) {
            if peer.replica.replace(replica).is_some()
                && let Some(link) = &mut peer.link
            {
                link.restart();
            }
            peer.floor = Floor { life, ended: false };
        }
        true
    }

    fn handle_hello(&mut self, node: &NodeName, hello: &Hello, now: Duration) {
        if hello.least.is_some_and(|least| self.own.at().life < least)
            && let Some(life) = hello.least.and_then(Life::next)
        {
            self.renumber(life);
        }
        if hello.goodbye == Some(Farewell::LEAVING) {
            return self.end_life(node, hello.at.life, now);
        }
        self.follow_renumbering(node, hello);
        if self.hear(node, hello.at.life) {
            self.announced(node, hello.at.seq);
            self.serve(node, hello.have);
            self.show(node);
            self.ask_if_behind(node, now);
        } else {
            self.tell_refused(node, hello.at.life);
        }
    }

    /// A peer that took a higher number is the same tracker with the same entries: nothing leaves because of it.
    fn follow_renumbering(&mut self, node: &NodeName, hello: &Hello) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let life = hello.at.life;
        if let Some(replica) = &mut peer.replica
            && peer.floor.admits(life)
            && replica.life() < life
            && hello.formerly.contains(&replica.life())
        {
            replica.renumber(life);
            peer.floor = Floor { life, ended: false };
        }
    }

    /// Tells a peer which life it needs to be heard. It takes a higher one, and says hello again.
    fn tell_refused(&mut self, node: &NodeName, life: Life) {
        let floor = self.peers.get(node).map(|peer| peer.floor);
        if floor
            .and_then(Floor::least)
            .is_some_and(|least| life < least)
        {
            self.send_hello(node);
        }
    }

    fn handle_vector(&mut self, node: &NodeName, vector: &Vector, now: Duration) {
        if !self.hear(node, vector.at.life) {
            return;
        }
        self.announced(node, vector.at.seq);
        self.show(node);
        self.ask_if_behind(node, now);
        // What others have may still be under way to here: look again in a while.
        let due = now + 2 * self.settings.broadcast_period;
        for Heard { node, at } in &vector.heard {
            let Some(peer) = self.peers.get_mut(node.as_str()) else {
                continue;
            };
            let (Some(link), Some(replica)) = (&mut peer.link, &peer.replica) else {
                continue;
            };
            if replica.life() == at.life && replica.seq() < at.seq {
                let seq = at.seq;
                link.suspicion.get_or_insert(Suspicion { seq, due });
            }
        }
    }

    fn handle_ops(&mut self, node: &NodeName, ops: &Ops, now: Duration) {
        if !self.hear(node, ops.life) {
            return;
        }
        self.announced(node, ops.to());
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let Some(replica) = &mut peer.replica else {
            return;
        };
        match replica.apply_ops(ops, &mut SharedNames::new(&self.visible)) {
            Applied::Old => self.stats.old_ops += 1,
            Applied::Gap => {
                self.stats.gaps += 1;
                self.ask_if_behind(node, now);
            }
            Applied::Changed(changes) => self.copied(node, changes, now),
        }
        self.show(node);
    }

    fn handle_part(&mut self, node: &NodeName, part: &Part, now: Duration) {
        if !self.hear(node, part.at.life) {
            return;
        }
        self.announced(node, part.at.seq);
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let (Some(link), Some(replica)) = (&mut peer.link, &mut peer.replica) else {
            return;
        };
        if part.at.seq <= replica.seq() {
            self.stats.old_states += 1;
            self.send_part_taken(node, part, part.parts - 1);
            return self.show(node);
        }
        let mut names = SharedNames::new(&self.visible);
        let assembly = match link.assembly.take() {
            Some(assembly) if part.part > 0 => assembly,
            _ => Assembly::new(part),
        };
        let (assembled, assembly) = assembly.add(part, replica, &mut names);
        link.assembly = assembly;
        match assembled {
            Assembled::Broken => {
                self.stats.broken_states += 1;
                self.ask_if_behind(node, now);
            }
            Assembled::Waiting => {
                link.asked = Some(now);
                self.send_part_taken(node, part, part.part);
            }
            Assembled::Complete(state) => {
                self.send_part_taken(node, part, part.part);
                self.take_state(node, state, now);
            }
        }
    }

    fn take_state(&mut self, node: &NodeName, state: State, now: Duration) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if let Some(link) = &mut peer.link {
            // The answer is complete. What came after it is another question.
            link.asked = None;
        }
        let replica = peer.replica.as_mut();
        if let Some(changes) = replica.and_then(|replica| replica.apply_state(state)) {
            self.stats.states_taken += 1;
            self.copied(node, changes, now);
            self.show(node);
        }
    }

    /// A copy has moved on: list what came of it, and ask for the rest, if there is one.
    fn copied(&mut self, node: &NodeName, changes: Vec<Change>, now: Duration) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        for change in changes.iter().filter(|_| peer.shown) {
            match change {
                Change::Joined(entry) => self.visible.insert(entry),
                Change::Left(entry) => self.visible.remove(entry),
            }
        }
        let behind = peer.behind();
        if let Some(link) = &mut peer.link {
            // What was asked for has come, or a piece of it.
            link.asked = (behind && link.asked.is_some()).then_some(now);
        }
        self.ask_if_behind(node, now);
    }

    fn handle_part_taken(&mut self, node: &NodeName, taken: &PartTaken) {
        let link = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut());
        if let Some(sending) = link.and_then(|link| link.sending.as_mut())
            && sending.at == taken.at
        {
            sending.taken(taken.part);
            self.send_parts(node);
        }
    }

    fn handle_goodbye(&mut self, node: &NodeName, goodbye: &Goodbye, now: Duration) {
        if goodbye.farewell == Farewell::LEAVING {
            self.end_life(node, goodbye.life, now);
        }
    }

    fn announced(&mut self, node: &NodeName, seq: u64) {
        if let Some(link) = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut()) {
            link.announced(seq);
        }
    }

    // Asking and telling.

    fn ask_if_behind(&mut self, node: &NodeName, now: Duration) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        let waiting = peer.link.as_ref().is_none_or(|link| link.waiting(now));
        if peer.behind() && !waiting {
            self.ask(node, now);
        }
    }

    fn ask(&mut self, node: &NodeName, now: Duration) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let have = peer.have();
        if let Some(link) = &mut peer.link {
            link.asked = Some(now);
            self.stats.pulls_sent += 1;
            self.send(node, Message::Pull(Pull { have }));
        }
    }

    fn ask_again(&mut self, now: Duration) {
        let mut silent = Vec::new();
        for (node, peer) in &mut self.peers {
            let retry = peer.retry_at().is_some_and(|at| at <= now);
            let seq = peer.replica.as_ref().map_or(0, Replica::seq);
            let Some(link) = &mut peer.link else { continue };
            let suspicion = link.suspicion.filter(|suspicion| suspicion.due <= now);
            if suspicion.is_some() {
                link.suspicion = None;
            }
            let missed =
                suspicion.is_some_and(|suspicion| seq < suspicion.seq) && !link.waiting(now);
            if retry || missed {
                silent.push(node.clone());
            }
        }
        for node in &silent {
            self.ask(node, now);
        }
    }

    /// Tells a peer what it lacks: the operations it missed, or everything if those are not in the log.
    fn serve(&mut self, node: &NodeName, have: Option<Position>) {
        if self.left {
            return self.send_hello(node);
        }
        let at = self.own.at();
        match have {
            Some(have) if have.life == at.life && self.own.covers(have.seq) => {
                self.stats.ops_served += 1;
                for ops in self.ops_after(have.seq) {
                    self.send(node, Message::Ops(ops));
                }
            }
            _ if at.seq == 0 => self.send(node, Message::Ops(self.no_ops())),
            _ => {
                self.stats.states_served += 1;
                let sending = Sending::new(at, self.own.frozen(), self.settings.chunk_bytes);
                if let Some(link) = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut()) {
                    link.sending = Some(sending);
                }
                self.send_parts(node);
            }
        }
    }

    fn send_parts(&mut self, node: &NodeName) {
        let link = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut());
        let Some(link) = link else { return };
        let Some(sending) = &mut link.sending else {
            return;
        };
        let (at, parts) = (sending.at, sending.parts());
        while let Some((part, entries)) = sending.next() {
            let entries = entries.iter().map(|entry| self.own.stored(entry)).collect();
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

    fn send_part_taken(&mut self, node: &NodeName, of: &Part, part: u32) {
        let at = of.at;
        self.send(node, Message::PartTaken(PartTaken { at, part }));
    }

    fn send_hello(&mut self, node: &NodeName) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        let hello = Hello {
            at: self.own.at(),
            have: peer.have(),
            least: peer.floor.least(),
            formerly: self.own.formerly(),
            goodbye: self.left.then_some(Farewell::LEAVING),
        };
        self.send(node, Message::Hello(hello));
    }

    fn send(&mut self, node: &NodeName, message: Message) {
        self.outbox.push_back(Effect::SendTo(node.clone(), message));
    }

    fn push(&mut self) {
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
    fn ops_after(&self, seq: u64) -> Vec<Ops> {
        let (ops, sizes): (Vec<_>, Vec<_>) = self.own.ops_after(seq).unzip();
        let mut ops = ops.into_iter();
        let (mut from, mut start) = (seq, 0);
        let life = self.own.at().life;
        let mut messages = Vec::new();
        for end in cut(sizes.into_iter(), self.settings.chunk_bytes) {
            let ops: Vec<_> = ops.by_ref().take(end - start).collect();
            let message = Ops { life, from, ops };
            (from, start) = (message.to(), end);
            messages.push(message);
        }
        messages
    }

    fn no_ops(&self) -> Ops {
        let Position { life, seq } = self.own.at();
        Ops {
            life,
            from: seq,
            ops: Vec::new(),
        }
    }

    fn send_vector(&mut self) {
        if self.left || self.linked().next().is_none() {
            return;
        }
        let heard = self.next_hints();
        self.hinted = heard
            .last()
            .and_then(|heard| NodeName::new(&heard.node).ok());
        let at = self.own.at();
        self.stats.vectors_sent += 1;
        self.outbox
            .push_back(Effect::Broadcast(Message::Vector(Vector { at, heard })));
    }

    /// How far some of those are that are heard directly: the next ones after the last vector's, round and round.
    fn next_hints(&self) -> Vec<Heard> {
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

    fn renumber(&mut self, life: Life) {
        if life <= self.own.at().life || self.left {
            return;
        }
        self.stats.renumbered += 1;
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
            self.send_hello(node);
        }
    }
}

/// How many others a vector tells of. More peers take turns.
const HINTS_PER_VECTOR: usize = 16;

#[cfg(any(test, feature = "test-util"))]
mod inspect;
#[cfg(test)]
mod tests;
