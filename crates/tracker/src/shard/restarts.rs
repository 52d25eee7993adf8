//! Restarts that were announced: what a node tracked stays listed for a while after its end, until its users are back.
//!
//! Whoever was told of the restart and sees the life end turns its copy into a held set, and offers it to the others, the
//! node's own next life among them. A held entry is listed until an entry comes under its topic and key that is new: that one takes
//! the place of all that is held there, for good and in the same diff. What stood beside the held entry when it came to be held is not
//! new, nor is an update of that: it is another place of the same user (`visible/held_key.rs`).
//!
//! Two breaks of one link within a drain: the second one hides a copy that has not caught up yet, if nobody here has a
//! held set of that life. Its entries come back with the set of a peer that saw the end, as they come back after a
//! partition. They were hidden, not over.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::NodeName;

use super::{Effect, Shard};
use crate::entry::Entry;
use crate::held::{HeldSet, Told};
use crate::life::Life;
use crate::message::{Farewell, Goodbye, Message};
use crate::owner_log::FORMER_LIVES;
use crate::peer::{Floor, Peer, RETRY_PERIOD};
use crate::reference::Writer;
use crate::replica::Replica;
use crate::slot::Slot;
use crate::visible::{Beside, HeldBy};

impl Shard {
    // This node.

    /// This node will end soon and be back. From now on what loses its connection is held, here and for that long after
    /// the end on the other nodes.
    pub(crate) fn restart(&mut self, grace: Duration) {
        if self.left {
            return;
        }
        self.restarting = Some(grace);
        self.say_goodbye(Farewell::restarting(grace));
    }

    pub(super) fn say_goodbye(&mut self, farewell: Farewell) {
        let life = self.own.at().life;
        let goodbye = Message::Goodbye(Goodbye { life, farewell });
        self.outbox.push_back(Effect::Broadcast(goodbye));
    }

    /// The goodbye that was said.
    pub(super) fn farewell(&self) -> Option<Farewell> {
        match (self.left, self.restarting) {
            (false, None) => None,
            (false, Some(grace)) => Some(Farewell::restarting(grace)),
            (true, Some(grace)) => Some(Farewell::restarted(grace)),
            (true, None) => Some(Farewell::leaving()),
        }
    }

    // What is listed.

    /// Lists an entry: if it is new, in place of the held ones under its topic and key.
    pub(super) fn show_entry(&mut self, entry: &Arc<Entry>) {
        self.evict(entry);
        let displaced = self.visible.insert(entry, &wrote_as(&self.peers));
        for held in displaced {
            self.stats.grace_used += 1;
            self.mark_gone(&held.of, &held.entry);
        }
    }

    /// Lists a held entry, or marks it as gone if its user is back.
    pub(super) fn show_held(&mut self, entry: &Arc<Entry>, of: HeldBy, beside: Beside<'_>) {
        if matches!(of, HeldBy::Set(..)) {
            if self.is_known(entry) {
                return self.mark_gone(&of, entry);
            }
        } else {
            self.evict(entry);
        }
        let visible = &mut self.visible;
        let is_held = visible.insert_held(entry, of.clone(), beside, &wrote_as(&self.peers));
        if !is_held {
            self.mark_gone(&of, entry);
        }
    }

    /// A held entry was updated where it is not seen from here, and comes in place of the earlier value, which may be listed: so it stands
    /// beside the same. Whether it is.
    fn follow_update(&mut self, before: &Arc<Entry>, entry: &Arc<Entry>, of: HeldBy) -> bool {
        if !entry.came_of(before.reference.put_seq()) {
            return false;
        }
        match of {
            HeldBy::Set(..) if self.is_known(entry) => return false,
            HeldBy::Set(..) => {}
            HeldBy::Own | HeldBy::Copy(_) => self.evict(entry),
        }
        self.visible.hand_over(before, entry, of)
    }

    /// Whether the reference of an entry of a set is one that this node gave, that the set's node is heard to have itself, listed or not,
    /// or that is listed already, of whatever node. A set of another life has none of those, unless somebody made it up: and whoever reads
    /// a list tells entries apart by nothing else.
    fn is_known(&self, entry: &Entry) -> bool {
        let peer = self.peers.get(&entry.node).filter(|peer| peer.shown);
        let put_seq = entry.reference.put_seq();
        let there = peer.and_then(|peer| peer.replica.as_ref()?.entry_at(put_seq));
        let is_it = |other: &Arc<Entry>| other.reference == entry.reference;
        self.own.wrote(entry.reference) || there.is_some_and(is_it) || self.visible.has(entry)
    }

    /// Where a node itself has an entry, none of a set with the same reference stays, of whatever node that is said to be.
    pub(super) fn evict(&mut self, entry: &Entry) {
        if let Some((held, of)) = self.visible.held_of_set(entry) {
            self.visible.remove(&held);
            self.mark_gone(&of, &held);
        }
    }

    fn mark_gone(&mut self, of: &HeldBy, entry: &Entry) {
        let put_seq = entry.reference.put_seq();
        match of {
            HeldBy::Own => self.own.mark_gone(put_seq),
            HeldBy::Copy(node) => {
                let peer = self.peers.get_mut(node);
                if let Some(replica) = peer.and_then(|peer| peer.replica.as_mut()) {
                    replica.mark_gone(put_seq);
                }
            }
            HeldBy::Set(node, life) => {
                if let Some(set) = self.held.get_mut(&(node.clone(), *life)) {
                    set.mark_gone(put_seq);
                }
            }
        }
    }

    // Lives that end.

    /// A peer has said how it ends.
    pub(super) fn remember_farewell(&mut self, node: &NodeName, life: Life, farewell: Farewell) {
        let most = self.settings.permdown_period;
        if let (Some(grace), Some(peer)) = (farewell.grace(), self.peers.get_mut(node)) {
            peer.restarting = Some((life, grace.min(most)));
        }
    }

    /// What the link said of its end is about the life that is heard to the last, if that said nothing itself. While the link is up it is
    /// about none: the news may overtake the first word of a later tracker of the same process, and the one before is over without it.
    pub(super) fn remember_link_farewell(&mut self, node: &NodeName) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        let said = peer.link.as_ref().and_then(|link| link.restarting);
        if let (Some((incarnation, grace)), Some(at)) = (said, peer.have())
            && at.life.incarnation == incarnation
            && peer.restarting.is_none_or(|(life, _)| life != at.life)
        {
            self.remember_farewell(node, at.life, Farewell::restarting(grace));
        }
    }

    /// Turns the copy of a life that is over, and that had announced a restart, into a held set. A copy that is not shown is
    /// not: it may still have what was deleted long ago.
    pub(super) fn retire(&mut self, node: &NodeName, now: Duration) -> bool {
        let Some(peer) = self.peers.get_mut(node) else {
            return false;
        };
        let (Some((life, grace)), true) = (peer.restarting, peer.shown) else {
            return false;
        };
        if peer.replica.as_ref().map(Replica::life) != Some(life) {
            return false;
        }
        self.hide(node);
        let replica = self.peers.get_mut(node).and_then(|peer| {
            peer.restarting = None;
            peer.replica.take()
        });
        if let Some(replica) = replica {
            let set = HeldSet::of(replica, now + grace);
            self.stats.held_sets += 1;
            self.keep_set(node, life, set, now);
        }
        true
    }

    /// A life is over without an announcement, or that is over too.
    pub(super) fn life_over(&mut self, node: &NodeName, life: Life, now: Duration) {
        self.ended.insert(node, life, now);
        if let Some(peer) = self.peers.get_mut(node)
            && peer.floor.life == life
        {
            peer.floor.ended = true;
        }
    }

    /// The owner of a held set said that this life is over.
    pub(super) fn confirm_set(&mut self, node: &NodeName, life: Life) {
        if let Some(set) = self.held.get_mut(&(node.clone(), life)) {
            set.confirm();
        }
    }

    /// Whether that life is held here because its node said that it is over: whatever it seems to say comes late.
    pub(super) fn said_over(&self, node: &NodeName, life: Life) -> bool {
        let set = self.held.get(&(node.clone(), life));
        set.is_some_and(HeldSet::is_confirmed)
    }

    pub(super) fn is_over(&self, node: &NodeName, life: Life) -> bool {
        let ended = |floor: Floor| {
            floor.ended && life.incarnation == floor.life.incarnation && life <= floor.life
        };
        self.ended.contains(node, life) || self.peers.get(node).is_some_and(|p| ended(p.floor))
    }

    // Held sets.

    pub(super) fn keep_set(
        &mut self,
        node: &NodeName,
        life: Life,
        mut set: HeldSet,
        now: Duration,
    ) {
        let told = set.take_told();
        let says = set.told_by().map_or(Says::Itself, Says::Another);
        self.renumber_sets(node, set.formerly(), life, says, now);
        if self.held.contains_key(&(node.clone(), life)) {
            return self.add_to_set(node, life, set, &told);
        }
        let entries: Vec<Arc<Entry>> = set.iter().cloned().collect();
        self.held.insert((node.clone(), life), set);
        for entry in &entries {
            self.show_held(entry, HeldBy::Set(node.clone(), life), told.beside(entry));
        }
        // Who may never have met the node is offered it at once.
        self.vector_at = self.vector_at.min(now);
    }

    /// Ends a held set.
    pub(super) fn drop_set(&mut self, node: &NodeName, life: Life) {
        if let Some(set) = self.held.remove(&(node.clone(), life)) {
            for entry in set.iter() {
                self.visible.remove(entry);
            }
        }
    }

    /// A copy comes in the place of a held set, if there is one. What is held in both stays where it is listed, and what is only held
    /// in the set is held no longer: it may be tracked in the copy. Gives what is held in the copy and not listed.
    pub(super) fn replace_set(
        &mut self,
        node: &NodeName,
        life: Life,
        mut held: Vec<Arc<Entry>>,
    ) -> Vec<Arc<Entry>> {
        let Some(set) = self.held.remove(&(node.clone(), life)) else {
            return held;
        };
        let slots: BTreeMap<Slot, &Arc<Entry>> = set.iter().map(|e| (Slot::of(e), e)).collect();
        let mut stay = BTreeSet::new();
        held.retain(|entry| {
            let by = HeldBy::Copy(node.clone());
            let before = slots.get(&Slot::of(entry));
            let is_listed = self.visible.hand_over(entry, entry, by.clone())
                || before.is_some_and(|before| self.follow_update(before, entry, by));
            stay.extend(is_listed.then_some(entry.reference));
            !is_listed
        });
        for entry in set.iter().filter(|entry| !stay.contains(&entry.reference)) {
            self.visible.remove(entry);
        }
        held
    }

    /// That life and those before it in the same process left for good: what is held of them goes too.
    pub(super) fn drop_sets_of(&mut self, node: &NodeName, life: Life, now: Duration) {
        let of = |(name, held): &(NodeName, Life)| {
            name == node && held.incarnation == life.incarnation && *held <= life
        };
        let sets: Vec<Life> = self
            .held
            .keys()
            .filter(|key| of(key))
            .map(|key| key.1)
            .collect();
        for life in sets {
            self.drop_set(node, life);
            self.ended.insert(node, life, now);
        }
    }

    /// A peer took a higher number during its drain: what is held of the old one is of the new one now.
    pub(super) fn renumber_sets(
        &mut self,
        node: &NodeName,
        from: &[Life],
        to: Life,
        says: Says<'_>,
        now: Duration,
    ) {
        for before in from.iter().take(FORMER_LIVES).filter(|life| **life < to) {
            self.renumber_set(node, *before, from, to, says, now);
        }
    }

    fn renumber_set(
        &mut self,
        node: &NodeName,
        before: Life,
        from: &[Life],
        to: Life,
        says: Says<'_>,
        now: Duration,
    ) {
        if says != Says::Itself && self.said_over(node, before) {
            // Its own word was that it ends under that number: it took no later one.
            return;
        }
        // Who was told of the old number only must not bring it back.
        match says {
            Says::Itself => self.ended.insert(node, before, now),
            Says::Another(teller) => self.ended.insert_told(node, before, teller, now),
        }
        let (key, period) = ((node.clone(), before), self.settings.vector_period);
        let set = self.held.get_mut(&key);
        if !set.is_some_and(|set| set.may_move(now, period)) {
            return;
        }
        let Some(mut set) = self.held.remove(&key) else {
            return;
        };
        for entry in set.iter() {
            self.visible.remove(entry);
        }
        set.was(from);
        if let Says::Another(teller) = says {
            set = set.heard_from(teller);
        }
        let shown = self.peers.get(node).is_some_and(|peer| peer.shown);
        if shown && self.hears(node, to) {
            return;
        }
        if self.held.contains_key(&(node.clone(), to)) {
            self.add_to_set(node, to, set, &Told::default());
        } else {
            self.keep_set(node, to, set, now);
        }
    }

    /// Another state of the same held set: whichever is further has what the other one lacks.
    fn add_to_set(&mut self, node: &NodeName, life: Life, set: HeldSet, told: &Told) {
        let Some(here) = self.held.get_mut(&(node.clone(), life)) else {
            return;
        };
        let merged = here.merge(set);
        for entry in &merged.fresh {
            let of = HeldBy::Set(node.clone(), life);
            if let Some(before) = merged.replaced.get(&entry.reference.put_seq()) {
                if self.follow_update(before, entry, of.clone()) {
                    continue;
                }
                self.visible.remove(before);
            }
            self.show_held(entry, of, told.beside(entry));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.held.values().map(|set| set.deadline).min()
    }

    /// Ends the grace of those whose users did not come back.
    pub(super) fn end_graces(&mut self, now: Duration) {
        let over: Vec<(NodeName, Life)> = self
            .held
            .iter()
            .filter(|(_, set)| set.deadline <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for (node, life) in over {
            if self.hears(&node, life) {
                self.outlast(&node, life, now);
            } else {
                self.stats.grace_ended += 1;
                self.grace_over(&node, life, now);
            }
        }
        let before = self.own.at().seq;
        for entry in self.own.expire(now) {
            self.stats.grace_ended += 1;
            self.visible.remove(&entry);
        }
        if self.own.at().seq > before {
            self.written(now);
        }
    }

    /// A life and all the numbers that its tracker had before are over here.
    fn grace_over(&mut self, node: &NodeName, life: Life, now: Duration) {
        let set = self.held.get(&(node.clone(), life));
        let told_by = set.and_then(HeldSet::told_by).cloned();
        self.drop_set(node, life);
        if let Some(teller) = told_by {
            // Its node may live: only others say that it does not.
            return self.ended.insert_told_held(node, life, &teller, now);
        }
        self.life_over(node, life, now);
        self.ended.insert_held(node, life, now);
    }

    /// A life that was thought to be over is heard again, so its set is only shown until the copy has caught up as usual.
    fn outlast(&mut self, node: &NodeName, life: Life, now: Duration) {
        if let Some(set) = self.held.get_mut(&(node.clone(), life)) {
            set.deadline = now + RETRY_PERIOD;
        }
        if let Some(peer) = self.peers.get_mut(node) {
            peer.at_least = 0;
        }
        self.show(node);
    }

    /// Whoever is heard again has told by now how far it is: that it should be further is only what others say.
    pub(super) fn believe_owners(&mut self, now: Duration) {
        let due = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.believed_at().is_some_and(|at| at <= now));
        let due: Vec<NodeName> = due.map(|(node, _)| node.clone()).collect();
        for node in due {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.believe();
            }
            self.show(&node);
        }
    }

    /// Whether that life of a node is heard directly.
    pub(super) fn hears(&self, node: &NodeName, life: Life) -> bool {
        let heard = self.peers.get(node).and_then(|peer| peer.heard());
        heard.is_some_and(|(_, replica)| replica.life() == life)
    }
}

/// Whether the tracker of another node that has an entry wrote as that one under a former number.
fn wrote_as(peers: &BTreeMap<NodeName, Peer>) -> impl Fn(&Entry, Writer) -> bool {
    |entry, writer| {
        let copy = peers
            .get(&entry.node)
            .and_then(|peer| peer.replica.as_ref());
        copy.is_some_and(|copy| copy.wrote_as(writer))
    }
}

/// Who says that a node took another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says<'a> {
    Itself,
    Another(&'a NodeName),
}
