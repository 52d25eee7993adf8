//! Who is there: links that come up and end, lives that end, copies that are shown and hidden.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::cluster::Member;
use matryoshka_pubsub::{LinkId, NodeName};

use super::telling::HINTS_PER_VECTOR;
use super::{Effect, Shard};
use crate::entry::Entry;
use crate::held::HeldSet;
use crate::life::Life;
use crate::peer::{ASKED_PERIODS, Floor, Link, Peer, SILENT_PERIODS};
use crate::replica::Replica;
use crate::visible::{Beside, HeldBy};

impl Shard {
    pub(super) fn current_link(&self, node: &NodeName) -> Option<LinkId> {
        let link = self.peers.get(node)?.link.as_ref()?;
        Some(link.id)
    }

    pub(super) fn linked(&self) -> impl Iterator<Item = &NodeName> {
        let linked = self.peers.iter().filter(|(_, peer)| peer.link.is_some());
        linked.map(|(node, _)| node)
    }

    pub(super) fn link_up(&mut self, member: &Member, now: Duration) {
        let node = &member.node;
        // A link that is current already has recovered; one that is older was told late.
        if node == self.own.node() || self.current_link(node) >= Some(member.link) {
            return;
        }
        if self.is_lower(member) {
            if let Some(peer) = self.peers.get_mut(node) {
                peer.refused = Some(member.clone());
            }
            self.stats.refused_lives += 1;
            self.outbox.push_back(Effect::Refused(member.clone()));
            return;
        }
        // Two links at once do not exist: the one that was not said to be down is.
        self.link_down(node, now);
        let peer = self
            .peers
            .entry(node.clone())
            .or_insert_with(|| Peer::new(member.incarnation.0));
        let first = Life::first_of(member.incarnation.0);
        peer.link = Some(Link::new(member.link, member.incarnation.0, now));
        peer.refused = None;
        if peer.floor.life < first {
            // What is left of an earlier copy is hidden. Whether it is of the same tracker, the first word over the link says.
            peer.floor = Floor {
                life: first,
                ended: false,
            };
        }
        self.send_hello(node, now);
        self.ask_to_confirm(node);
    }

    /// Whether a later life of that node is known.
    pub(super) fn is_lower(&self, member: &Member) -> bool {
        let peer = self.peers.get(&member.node);
        peer.is_some_and(|peer| member.incarnation.0 < peer.floor.life.incarnation)
    }

    pub(super) fn link_down(&mut self, node: &NodeName, now: Duration) {
        self.remember_link_farewell(node);
        self.lose_sight(node, now);
        if let Some(peer) = self.peers.get_mut(node)
            && peer.link.take().is_some()
        {
            peer.since = now;
        }
        self.check_caught_up();
    }

    /// A node is not heard any more: held if it had announced that, else hidden.
    fn lose_sight(&mut self, node: &NodeName, now: Duration) {
        if !self.retire(node, now) {
            self.hide(node);
            self.drop_copy_of_held(node);
        }
    }

    /// A link that was not taken is over.
    pub(super) fn forget_refused(&mut self, node: &NodeName, link: LinkId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.refused.take_if(|member| member.link == link);
        }
    }

    /// A tracker that is closed says goodbye, and that may be lost while its node goes on, and the link with it. Who says nothing for
    /// several vector periods is asked, and who does not answer either is hidden as at the end of its link. What comes of that life from
    /// then on may have been said before it was closed, so it does not count: who was only silent takes a higher number, as it is told to
    /// when it speaks, and is listed again. A period in which this node itself stood still is one, however long it was.
    pub(super) fn notice_silence(&mut self, now: Duration) {
        let (mut asked, mut silent) = (Vec::new(), Vec::new());
        let longest = self.settings.permdown_period;
        for (node, peer) in &mut self.peers {
            let (Some(link), Some(_)) = (&mut peer.link, &peer.replica) else {
                continue;
            };
            link.unheard = link.unheard.saturating_add(1);
            match link.unheard {
                SILENT_PERIODS => silent.push(node.clone()),
                ASKED_PERIODS..SILENT_PERIODS => asked.push(node.clone()),
                // Who was hidden before that, and by no means sooner, however short the permdown period is.
                SILENT_PERIODS.. if self.settings.vector_period * link.unheard >= longest => {
                    peer.replica = None;
                }
                _ => {}
            }
        }
        for node in &asked {
            self.ask(node, now);
        }
        for node in &silent {
            self.stats.silent_peers += 1;
            self.lose_sight(node, now);
            if let Some(peer) = self.peers.get_mut(node) {
                // Of whom nothing was here yet nothing left: its first words may only take very long.
                peer.floor.ended |= peer.have().is_none_or(|at| at.seq > 0);
            }
            if let Some(link) = self.link_mut(node) {
                link.restart();
            }
        }
    }

    /// A copy that was to take the place of a held set, and did not get as far.
    fn drop_copy_of_held(&mut self, node: &NodeName) {
        if let Some(peer) = self.peers.get_mut(node)
            && let Some(life) = peer.replica.as_ref().map(Replica::life)
            && self.held.contains_key(&(node.clone(), life))
        {
            peer.replica = None;
        }
    }

    /// That life and all before it are over.
    pub(super) fn end_life(&mut self, node: &NodeName, life: Life, now: Duration) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        if peer.floor.life > life {
            return;
        }
        self.hide(node);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.floor = Floor { life, ended: true };
            peer.restarting = None;
            peer.since = now;
            if let Some(link) = &mut peer.link {
                link.restart();
            }
            if let Some(before) = peer.replica.take() {
                self.ended.insert(node, before.life(), now);
            }
        }
        self.drop_sets_of(node, life, now);
    }

    /// The pubsub has forgotten a node without a link. It may come back with any number, even a lower one if its clock was set back, so
    /// nothing is kept that would refuse it but that a life is over.
    pub(super) fn forget(&mut self, node: &NodeName, now: Duration) {
        if self.current_link(node).is_none()
            && let Some(Peer { floor, .. }) = self.peers.remove(node)
            && floor.ended
        {
            self.ended.insert(node, floor.life, now);
        }
    }

    /// What was absent for the permdown period is dropped; what was dropped that long ago is not even remembered.
    pub(super) fn forget_absent(&mut self, now: Duration) {
        let period = self.settings.permdown_period;
        let mut refused = Vec::new();
        self.peers.retain(|_, peer| {
            if peer.link.is_some() || now < peer.since + period {
                return true;
            }
            peer.since = now;
            let had_copy = peer.replica.take().is_some();
            if !had_copy {
                refused.extend(peer.refused.take());
            }
            had_copy
        });
        // Whoever was heard later than these is forgotten: they are there, and have not been heard yet.
        for member in &refused {
            self.link_up(member, now);
        }
    }

    pub(super) fn show(&mut self, node: &NodeName) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if peer.shown || !peer.caught_up() {
            return;
        }
        peer.shown = true;
        let Some(replica) = &mut peer.replica else {
            return;
        };
        let life = replica.life();
        for before in replica.formerly() {
            self.ended.went_on(node, *before);
        }
        let set = self.held.get(&(node.clone(), life));
        if let Some(gone) = set.and_then(HeldSet::gone_for_good) {
            replica.shown_after(gone);
        }
        let live: Vec<Arc<Entry>> = replica.live().cloned().collect();
        let held: Vec<Arc<Entry>> = replica.held().cloned().collect();
        let gone: Vec<Arc<Entry>> = replica.gone().cloned().collect();
        let held = self.replace_set(node, life, held);
        for entry in &gone {
            self.evict(entry);
        }
        for entry in &live {
            self.show_entry(entry);
        }
        for entry in &held {
            self.show_held(entry, HeldBy::Copy(node.clone()), Beside::Told(&[]));
        }
        self.check_caught_up();
    }

    /// A peer says whom else it hears: they are there, and a node that starts is to have their entries, too.
    pub(super) fn told_whom_it_hears<'a>(
        &mut self,
        node: &NodeName,
        others: impl Iterator<Item = &'a str>,
    ) {
        if self.caught_up_once {
            return;
        }
        let own = self.own.node().as_str().to_owned();
        if let Some(link) = self.link_mut(node) {
            let others = others.filter(|other| *other != own);
            link.hears = others.map(Box::from).collect();
        }
        self.check_caught_up();
    }

    /// A vector names all whom its sender hears, or the next ones in the order of their names, round and round: who would stand between two
    /// of these and does not is heard no more.
    pub(super) fn told_of_some_it_hears(&mut self, node: &NodeName, some: &[&str]) {
        let mut all: Vec<String> = some.iter().map(|other| (*other).to_owned()).collect();
        if let (Some(first), Some(last)) = (some.first(), some.last())
            && some.len() >= HINTS_PER_VECTOR
            && let Some(link) = self.link_mut(node)
        {
            let is_told = |other: &str| match first <= last {
                true => (*first..=*last).contains(&other),
                false => other >= *first || other <= *last,
            };
            let others = link.hears.iter().filter(|other| !is_told(other));
            all.extend(others.map(ToString::to_string));
        }
        self.told_whom_it_hears(node, all.iter().map(String::as_str));
    }

    /// Whether there is all that a node which starts waits for: what at least one peer has, and what all have who are heard by those
    /// that have told everything. Nobody is waited for who is only claimed by a peer that tells nothing.
    pub(super) fn check_caught_up(&mut self) {
        if self.caught_up_once {
            return;
        }
        let told: BTreeMap<&str, &Link> = self.told_all().collect();
        let mut awaited = told.values().flat_map(|link| &link.hears);
        let all_told = awaited.all(|other| told.contains_key(&**other));
        self.caught_up_once = !told.is_empty() && all_told;
        if self.caught_up_once {
            // Nobody is waited for any more, and these names may be of nodes that do not come back.
            let links = self
                .peers
                .values_mut()
                .filter_map(|peer| peer.link.as_mut());
            links.for_each(|link| link.hears.clear());
        }
    }

    /// The peers whose whole state is here, and all held sets that they have.
    fn told_all(&self) -> impl Iterator<Item = (&str, &Link)> {
        let shown = self.peers.iter().filter(|(_, peer)| peer.shown);
        let linked = shown.filter_map(|(node, peer)| Some((node.as_str(), peer.link.as_ref()?)));
        linked.filter(|(_, link)| link.wanted.is_empty() && link.taking.is_none())
    }

    pub(super) fn hide(&mut self, node: &NodeName) {
        if let Some(peer) = self.peers.get_mut(node)
            && std::mem::take(&mut peer.shown)
            && let Some(replica) = &peer.replica
        {
            for entry in replica.live().chain(replica.held()) {
                self.visible.remove(entry);
            }
        }
    }

    pub(super) fn link_mut(&mut self, node: &NodeName) -> Option<&mut Link> {
        self.peers.get_mut(node)?.link.as_mut()
    }
}
