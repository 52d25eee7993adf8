//! What other shards say, and what becomes of it here.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::NodeName;

use super::restarts::Says;
use super::{Effect, Shard};
use crate::life::Life;
use crate::message::{Farewell, Goodbye, Heard, Hello, Ops, Part, PartTaken, Position, Vector};
use crate::peer::Floor;
use crate::replica::{Applied, Assembled, Assembly, Change, Replica, State};
use crate::visible::{Beside, HeldBy, SharedNames};

impl Shard {
    /// Whether a message of that life counts. The first of a higher life ends what was known of the one before.
    pub(super) fn hear(&mut self, node: &NodeName, life: Life, now: Duration) -> bool {
        self.raise_floor(node, life);
        let Some(peer) = self.peers.get(node) else {
            return false;
        };
        if !peer.floor.admits(life) || self.said_over(node, life) {
            self.stats.refused_lives += 1;
            return false;
        }
        let before = peer.replica.as_ref().map(Replica::life);
        if before == Some(life) {
            return true;
        }
        if let Some(before) = before {
            self.supersede(node, before, now);
        }
        self.begin_copy(node, life, now);
        true
    }

    /// Whether entries of that life count. A life is introduced by a hello or a vector, which say what it was before: who took
    /// its entries without that would list what it has dropped for good under a former number. If those were lost, they are
    /// asked for.
    pub(super) fn is_introduced(&mut self, node: &NodeName, life: Life, now: Duration) -> bool {
        let Some(peer) = self.peers.get(node) else {
            return false;
        };
        let known = peer.replica.as_ref().map(Replica::life);
        if known == Some(life) {
            return self.hear(node, life, now);
        }
        if !peer.floor.admits(life) || self.said_over(node, life) {
            self.stats.refused_lives += 1;
        } else if !peer.link.as_ref().is_none_or(|link| link.waiting(now)) {
            self.ask(node, now);
        }
        false
    }

    /// A life that is remembered to be over speaks, though it may never have been heard here: nothing up to it counts. What is here of an
    /// earlier one is hidden, and goes on if that tracker takes a higher number, as it is told to.
    fn raise_floor(&mut self, node: &NodeName, life: Life) {
        let admitted = self
            .peers
            .get(node)
            .is_some_and(|peer| peer.floor.admits(life));
        if !admitted || !self.ended.is_over_for_link(node, life) {
            return;
        }
        self.hide(node);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.floor = Floor { life, ended: true };
        }
        if let Some(link) = self.link_mut(node) {
            link.restart();
        }
    }

    /// The life before is over: held if it had announced that, else dropped.
    fn supersede(&mut self, node: &NodeName, before: Life, now: Duration) {
        if !self.retire(node, now) {
            self.hide(node);
            self.life_over(node, before, now);
        }
        if let Some(link) = self.link_mut(node) {
            link.restart();
        }
    }

    fn begin_copy(&mut self, node: &NodeName, life: Life, now: Duration) {
        let replica = Replica::new(node.clone(), self.settings.shard, life);
        // If a set of it is here it was not over, only out of reach during its drain: that is shown until the copy is as far, and then says
        // what is gone.
        let set = self.held.get(&(node.clone(), life));
        let at_least = set.map_or(0, |set| set.seq);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.replica = Some(replica);
            peer.at_least = at_least;
            // Its hello may be an old one, its second vector is not.
            peer.believed_at = now + 2 * self.settings.vector_period;
            peer.floor = Floor { life, ended: false };
        }
    }

    pub(super) fn handle_hello(&mut self, node: &NodeName, hello: &Hello, now: Duration) {
        if !self.is_plausible(node, hello.at.life, now) {
            return;
        }
        if let Some(least) = hello.least {
            self.rise_to(node, least, now);
        }
        if hello.goodbye.is_some_and(Farewell::is_leaving) {
            return self.end_life(node, hello.at.life, now);
        }
        self.follow_renumbering(node, hello.at.life, &hello.formerly, now);
        // First what is held: whoever waits for this peer's first word waits for that too.
        self.handle_offers(node, &hello.held, now);
        if self.hear(node, hello.at.life, now) {
            self.know_former(node, hello.at.life, &hello.formerly);
            if self.heard_farewell(node, hello.at.life, hello.goodbye, now) {
                return;
            }
            self.announced(node, hello.at.seq);
            self.told_whom_it_hears(node, hello.hears.iter().map(String::as_str));
            self.serve(node, hello.have, None, now);
            self.show(node);
            self.ask_if_behind(node, now);
        } else {
            self.tell_refused(node, hello.at.life, now);
        }
    }

    /// A peer needs a higher number to hear this tracker. The incarnation is the link's matter, which tells of a higher one itself.
    /// And whatever is further ahead than a clock may be wrong is no number that a tracker of this node ever had: who took it would
    /// keep the node's next trackers from being heard.
    fn rise_to(&mut self, node: &NodeName, least: Life, now: Duration) {
        let own = self.own.at().life;
        if least <= own {
            return;
        }
        let limit = self.clock(now).saturating_add(CLOCK_ERROR_MICROS);
        if least.incarnation > own.incarnation || least.started > limit {
            return self.refuse_number(node);
        }
        // All peers are told of each number, and all entries looked at for it. Who still refuses this one asks again in a while.
        if let Some(life) = least.above(own)
            && self.rise_at <= now
        {
            self.rise_at = now + self.settings.vector_period;
            self.renumber(life, now);
        }
    }

    /// The wall clock as it was when this tracker was started, and has gone on since, in microseconds.
    fn clock(&self, now: Duration) -> u64 {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.born.saturating_add(micros)
    }

    fn refuse_number(&mut self, node: &NodeName) {
        self.stats.refused_numbers += 1;
        if self.stats.refused_numbers == 1 {
            self.outbox.push_back(Effect::Implausible(node.clone()));
        }
    }

    /// Whether a tracker can have the number that it names as its own. A life that is heard keeps all lower ones from being heard, so
    /// one that is far in the future would silence whoever has its node's name later. A peer may have been made to take a number that
    /// was a year ahead of its clock, and that may be ahead of this one: what the link says when it was started counts as well.
    fn is_plausible(&mut self, node: &NodeName, life: Life, now: Duration) -> bool {
        let started = self.link_mut(node).map_or(0, |link| link.incarnation);
        let limit = self.clock(now).max(started);
        let limit = limit.saturating_add(3 * CLOCK_ERROR_MICROS);
        let plausible = life.incarnation.max(life.started) <= limit;
        if !plausible {
            self.refuse_number(node);
        }
        plausible
    }

    /// A peer that took a higher number is the same tracker with the same entries: nothing leaves because of it.
    fn follow_renumbering(
        &mut self,
        node: &NodeName,
        life: Life,
        formerly: &[Life],
        now: Duration,
    ) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if !peer.floor.admits(life) {
            return;
        }
        let former = |at: Position| formerly.contains(&at.life);
        if peer.have().is_some_and(former) {
            peer.renumber(life, formerly);
        }
        self.renumber_sets(node, formerly, life, Says::Itself, now);
    }

    /// Those who are told of the peer's end have to know which of its numbers were the same tracker.
    fn know_former(&mut self, node: &NodeName, life: Life, formerly: &[Life]) {
        let peer = self.peers.get_mut(node);
        if let Some(replica) = peer.and_then(|peer| peer.replica.as_mut())
            && replica.life() == life
        {
            replica.set_formerly(formerly);
        }
    }

    /// Tells a peer which life it needs to be heard. It takes a higher one, and says hello again.
    pub(super) fn tell_refused(&mut self, node: &NodeName, life: Life, now: Duration) {
        let floor = self.peers.get(node).map(|peer| peer.floor);
        if floor
            .and_then(Floor::least)
            .is_some_and(|least| life < least)
        {
            self.answer_hello(node, now);
        }
    }

    pub(super) fn handle_vector(&mut self, node: &NodeName, vector: &Vector, now: Duration) {
        if !self.is_plausible(node, vector.at.life, now) {
            return;
        }
        self.follow_renumbering(node, vector.at.life, &vector.formerly, now);
        self.handle_offers(node, &vector.held, now);
        if !self.hear(node, vector.at.life, now) {
            // Its hello was lost, or the answer to it.
            return self.tell_refused(node, vector.at.life, now);
        }
        self.know_former(node, vector.at.life, &vector.formerly);
        if self.heard_farewell(node, vector.at.life, vector.goodbye, now) {
            return;
        }
        self.announced(node, vector.at.seq);
        let heard: Vec<&str> = vector.heard.iter().map(|heard| &*heard.node).collect();
        self.told_of_some_it_hears(node, &heard);
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
                link.suspect(at.seq, due);
            }
        }
    }

    pub(super) fn handle_ops(&mut self, node: &NodeName, ops: Ops, now: Duration) {
        if !self.is_introduced(node, ops.life, now) {
            return;
        }
        self.told_of(node, ops.to());
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let Some(replica) = &mut peer.replica else {
            return;
        };
        let names = &mut SharedNames::new(&self.visible);
        if let Some(link) = &mut peer.link
            && let Some(assembly) = &mut link.assembly
            && ops.from > replica.seq()
        {
            // Behind a state that is on its way. As long as they follow it nothing was lost, slow as the parts may be.
            let patient = now < assembly.fed + PARTS_PATIENCE;
            if !assembly.follow(ops, replica, names) {
                self.stats.gaps += 1;
            } else if patient {
                link.fed(now);
            }
            return self.ask_if_behind(node, now);
        }
        match replica.apply_ops(ops, names) {
            Applied::Old => self.stats.old_ops += 1,
            Applied::Gap => {
                self.stats.gaps += 1;
                self.ask_if_behind(node, now);
            }
            Applied::Changed(changes) => self.copied(node, changes, now),
        }
        self.show(node);
    }

    pub(super) fn handle_part(&mut self, node: &NodeName, part: Part, now: Duration) {
        if !self.is_introduced(node, part.at.life, now) {
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
            link.assembly.take_if(|assembly| assembly.is_of(part.at));
            self.stats.old_states += 1;
            self.send_part_taken(node, part.at, part.parts - 1);
            return self.show(node);
        }
        if let Some(assembly) = link
            .assembly
            .as_ref()
            .filter(|assembly| assembly.has(&part))
        {
            // Asked for again, when it was only slow.
            let taken = assembly.taken();
            link.fed(now);
            if let Some(PartTaken { at, part }) = taken {
                self.send_part_taken(node, at, part);
            }
            return;
        }
        let mut names = SharedNames::new(&self.visible);
        let assembly = match link.assembly.take() {
            Some(assembly) if part.part > 0 => assembly,
            _ => Assembly::new(&part),
        };
        let (at, index) = (part.at, part.part);
        let (assembled, assembly) = assembly.add(part, replica, &mut names);
        link.assembly = assembly.map(|assembly| assembly.fed_at(now));
        match assembled {
            Assembled::Broken => {
                self.stats.broken_states += 1;
                self.ask_if_behind(node, now);
            }
            Assembled::Waiting => {
                link.fed(now);
                self.send_part_taken(node, at, index);
            }
            Assembled::Complete(state) => {
                self.send_part_taken(node, at, index);
                self.take_state(node, state, now);
            }
        }
    }

    pub(super) fn take_state(&mut self, node: &NodeName, state: State, now: Duration) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if let Some(link) = &mut peer.link {
            // The answer is complete. What came after it is another question.
            link.answered();
        }
        let replica = peer.replica.as_mut();
        if let Some(changes) = replica.and_then(|replica| replica.apply_state(state)) {
            self.stats.states_taken += 1;
            self.copied(node, changes, now);
            self.show(node);
        }
    }

    /// A copy has moved on: list what came of it, and ask for the rest, if there is one.
    pub(super) fn copied(&mut self, node: &NodeName, changes: Vec<Change>, now: Duration) {
        if self.peers.get(node).is_some_and(|peer| peer.shown) {
            changes.iter().for_each(|change| self.list(node, change));
        }
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let behind = peer.behind();
        if let Some(link) = &mut peer.link {
            // What was asked for has come, or a piece of it.
            match behind && link.asked.is_some() {
                true => link.fed(now),
                false => link.answered(),
            }
        }
        self.confirm(node);
        self.ask_if_behind(node, now);
    }

    fn list(&mut self, node: &NodeName, change: &Change) {
        match change {
            Change::Joined(entry) => self.show_entry(entry),
            Change::Left(entry) => {
                self.visible.remove(entry);
            }
            Change::Held(entry) => {
                let beside = Beside::those_of(self.visible.remove(entry));
                self.show_held(entry, HeldBy::Copy(node.clone()), beside);
            }
        }
    }

    pub(super) fn handle_part_taken(&mut self, node: &NodeName, taken: &PartTaken) {
        let link = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut());
        if let Some(sending) = link.and_then(|link| link.sending.as_mut())
            && sending.at == taken.at
        {
            sending.taken(taken.part);
            self.send_parts(node);
        }
    }

    pub(super) fn handle_goodbye(&mut self, node: &NodeName, goodbye: &Goodbye, now: Duration) {
        if !self.is_plausible(node, goodbye.life, now) {
            return;
        }
        if goodbye.farewell.is_leaving() {
            self.end_life(node, goodbye.life, now);
        } else if self.is_introduced(node, goodbye.life, now) {
            self.heard_farewell(node, goodbye.life, Some(goodbye.farewell), now);
        }
    }

    /// A peer that is heard has told how it ends. Whether that life is over now: whoever speaks next over this link is another one.
    fn heard_farewell(
        &mut self,
        node: &NodeName,
        life: Life,
        farewell: Option<Farewell>,
        now: Duration,
    ) -> bool {
        let Some(farewell) = farewell else {
            return false;
        };
        self.remember_farewell(node, life, farewell);
        let is_over = farewell.is_over() && self.retire(node, now);
        if is_over {
            self.confirm_set(node, life);
            if let Some(link) = self.link_mut(node) {
                link.restart();
            }
        }
        is_over
    }

    /// The peer has told of operations up to `seq`. It may have been further when it did, since operations come in
    /// several messages: so this does not say how far a copy has to be to be shown.
    pub(super) fn told_of(&mut self, node: &NodeName, seq: u64) {
        let link = self.peers.get_mut(node).and_then(|peer| peer.link.as_mut());
        if let Some(link) = link {
            link.known = link.known.max(seq);
        }
    }

    /// The peer has said how far it is.
    pub(super) fn announced(&mut self, node: &NodeName, seq: u64) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let held = peer.replica.as_ref().map_or(0, Replica::seq);
        if let Some(link) = &mut peer.link {
            link.announced(seq);
            if held >= link.known {
                // There was nothing to answer.
                link.answered();
            }
        }
    }
}

/// So long nobody asks anew for a state of which no part comes, while operations do.
const PARTS_PATIENCE: Duration = Duration::from_secs(10);

/// A year: further ahead than this no clock is that anybody runs a server with.
const CLOCK_ERROR_MICROS: u64 = 365 * 24 * 60 * 60 * 1_000_000;
