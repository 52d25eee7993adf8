//! Held sets between nodes: who has one offers it to the others, and who lacks it asks for it, part by part.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::NodeName;

use super::Shard;
use super::restarts::Says;
use crate::entry::Entry;
use crate::held::{HeldSet, Taken, Taking};
use crate::life::Life;
use crate::message::{HeldPart, HeldPull, Message, Offer, Position};
use crate::owner_log::FORMER_LIVES;
use crate::visible::SharedNames;

impl Shard {
    /// Not what is only shown until the copy of a life that is heard again has caught up: that is not over. Its own node may be closed by
    /// then, which is noticed late, and meanwhile whoever took the set would hold it for longer than its grace.
    pub(super) fn offers(&self, now: Duration) -> Vec<Offer> {
        let over = self.held.iter();
        let over = over.filter(|((node, life), _)| !self.hears(node, *life));
        over.take(MAX_SETS)
            .map(|((node, life), set)| set.offer(node, *life, now))
            .collect()
    }

    pub(super) fn handle_offers(&mut self, from: &NodeName, offers: &[Offer], now: Duration) {
        for offer in offers.iter().take(MAX_SETS) {
            let Ok(node) = NodeName::new(&offer.node) else {
                continue;
            };
            if self.lacks(&node, offer, from, now)
                && let Some(link) = self.link_mut(from)
                && !link.is_taking(&node, offer.at.life)
                && link.wanted.len() < MAX_SETS
            {
                link.wanted.insert((node, offer.at.life));
            }
        }
        if let Some(link) = self.link_mut(from)
            && let Some(taking) = &mut link.taking
            && taking.ask_again(now)
        {
            let (node, life, after) = (taking.node.clone(), taking.life, taking.last());
            self.stats.held_sets_asked += 1;
            return self.ask_for_part(from, &node, life, after);
        }
        self.ask_for_sets(from, now);
    }

    /// Whether what another one offers has to be asked for.
    fn lacks(&mut self, node: &NodeName, offer: &Offer, from: &NodeName, now: Duration) -> bool {
        let Position { life, seq } = offer.at;
        if !self.may_hold(node, life) {
            return false;
        }
        let held = |before: &Life| *before < life && self.ended.was_held(node, *before);
        if offer.formerly.iter().any(held) {
            // Who saw the end of a later number counts its grace from later: here it is over.
            self.ended.insert_told_held(node, life, from, now);
            return false;
        }
        self.renumber_sets(node, &offer.formerly, life, Says::Another(from), now);
        let deadline = self.deadline(offer, now);
        if let Some(set) = self.held.get_mut(&(node.clone(), life)) {
            set.shorten(deadline);
            set.was(&offer.formerly);
            return set.seq < seq;
        }
        if self.copy_seq(node, offer).is_some_and(|here| here >= seq) {
            self.take_copy(node, offer, from, now);
            return false;
        }
        self.held.len() < MAX_SETS
    }

    fn deadline(&self, offer: &Offer, now: Duration) -> Duration {
        let left = Duration::from_millis(offer.left);
        now + left.min(self.settings.permdown_period)
    }

    /// Whether a held set of that life may be shown: not of one that is over, nor of one that is heard itself.
    fn may_hold(&self, node: &NodeName, life: Life) -> bool {
        if self.is_over(node, life) {
            return false;
        }
        if node == self.own.node() {
            return life < self.own.at().life;
        }
        let heard = self.peers.get(node).and_then(|peer| peer.heard());
        heard.is_none_or(|(_, replica)| life < replica.life())
    }

    /// How far the hidden copy of that life is, or of one that its tracker had before, if there is one.
    fn copy_seq(&self, node: &NodeName, offer: &Offer) -> Option<u64> {
        let peer = self.peers.get(node)?;
        let replica = peer.replica.as_ref()?;
        let (to, of) = (offer.at.life, replica.life());
        let formerly = offer.formerly.iter().take(FORMER_LIVES);
        let former = || formerly.filter(|life| **life < to).any(|life| *life == of);
        (of == to || former()).then(|| replica.seq())
    }

    /// What was only out of reach has ended in a restart, as a peer knows.
    fn take_copy(&mut self, node: &NodeName, offer: &Offer, from: &NodeName, now: Duration) {
        let deadline = self.deadline(offer, now);
        let replica = self.peers.get_mut(node).and_then(|p| p.replica.take());
        if let Some(replica) = replica {
            let set = HeldSet::of(replica, deadline).unlisted();
            let mut set = set.heard_from(from);
            // The copy may be of one of these.
            set.was(&offer.formerly);
            self.keep_set(node, offer.at.life, set, now);
        }
    }

    fn ask_for_sets(&mut self, from: &NodeName, now: Duration) {
        let Some(link) = self.link_mut(from) else {
            return;
        };
        if link.taking.is_some() {
            return;
        }
        let Some((node, life)) = link.wanted.pop_first() else {
            return self.check_caught_up();
        };
        link.taking = Some(Taking::new(node.clone(), life, now));
        self.stats.held_sets_asked += 1;
        self.ask_for_part(from, &node, life, None);
    }

    fn ask_for_part(&mut self, from: &NodeName, node: &NodeName, life: Life, after: Option<u64>) {
        let node = node.as_str().to_owned();
        let pull = HeldPull { node, life, after };
        self.send(from, Message::HeldPull(pull));
    }

    pub(super) fn serve_held(&mut self, from: &NodeName, pull: &HeldPull, now: Duration) {
        let step = self.step;
        if !self
            .link_mut(from)
            .is_some_and(|link| link.may_serve_held(step))
        {
            return;
        }
        let set = NodeName::new(&pull.node)
            .ok()
            .and_then(|node| Some((self.held.get(&(node.clone(), pull.life))?, node)));
        let part = match set {
            Some((set, node)) => {
                let offer = set.offer(&node, pull.life, now);
                let beside = |entry: &Entry| self.visible.beside(entry);
                set.part(offer, pull.after, self.settings.chunk_bytes, beside)
            }
            None => nothing_of(pull),
        };
        self.send(from, Message::HeldPart(part));
    }

    pub(super) fn handle_held_part(&mut self, from: &NodeName, part: &HeldPart, now: Duration) {
        let Some(link) = self.peers.get_mut(from).and_then(|p| p.link.as_mut()) else {
            return;
        };
        let of = |taking: &mut Taking| {
            taking.node == part.set.node.as_str() && taking.life == part.set.at.life
        };
        let Some(mut taking) = link.taking.take_if(of) else {
            return;
        };
        let mut names = SharedNames::new(&self.visible);
        match taking.add(part, |topic| names.share(topic)) {
            Taken::Ask(after) => {
                taking.ask(now);
                let (node, life) = (taking.node.clone(), taking.life);
                link.taking = Some(taking);
                self.ask_for_part(from, &node, life, after);
            }
            Taken::Complete => {
                self.take_set(taking, &part.set, from, now);
                self.ask_for_sets(from, now);
            }
            Taken::Old => link.taking = Some(taking),
            Taken::Dropped => self.ask_for_sets(from, now),
        }
    }

    fn take_set(&mut self, taking: Taking, offer: &Offer, from: &NodeName, now: Duration) {
        let Taking {
            node,
            life,
            entries,
            told,
            ..
        } = taking;
        // Much may have happened since it was asked for.
        if !self.lacks(&node, offer, from, now) {
            return;
        }
        let deadline = self.deadline(offer, now);
        let set = HeldSet::taken(offer, entries, told, deadline).heard_from(from);
        self.stats.held_sets_taken += 1;
        if self.copy_seq(&node, offer).is_some() {
            // What the copy lacks of the numbers that it covers was deleted: that shows in a merge.
            self.take_copy(&node, offer, from, now);
        }
        self.keep_set(&node, life, set, now);
    }
}

fn nothing_of(pull: &HeldPull) -> HeldPart {
    HeldPart {
        set: Offer {
            node: pull.node.clone(),
            at: Position {
                life: pull.life,
                seq: 0,
            },
            left: 0,
            formerly: Vec::new(),
        },
        after: Some(pull.after.unwrap_or(0)),
        entries: Vec::new(),
        more: false,
    }
}

/// Held sets that a node keeps. There is one for each restart within a grace; more are not taken over from others.
const MAX_SETS: usize = 256;
