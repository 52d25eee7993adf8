//! Looking into a shard, for tests and the simulator.
//!
//! Pure: no clock, no I/O, no tasks.

#[cfg(test)]
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use matryoshka_pubsub::NodeName;

use super::Shard;
use crate::entries::Entries;
use crate::entry::Entry;
use crate::held::HeldSet;
use crate::life::Life;
use crate::message::Position;
#[cfg(test)]
use crate::replica::Kept;
use crate::replica::Replica;
use crate::visible::ShownHeld;

impl Shard {
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.visible.iter()
    }

    /// What is listed as held, and by what.
    pub(crate) fn held_places(&self) -> impl Iterator<Item = &ShownHeld> {
        self.visible.held()
    }

    /// How many held sets the next tick finds to be over whose node is heard again, and of how many it is not.
    pub(crate) fn held_sets_due(&self, now: Duration) -> (u64, u64) {
        let due = self.held.iter().filter(|(_, set)| set.deadline <= now);
        due.fold((0, 0), |(heard, unheard), ((node, life), _)| {
            let is_heard = u64::from(self.hears(node, *life));
            (heard + is_heard, unheard + 1 - is_heard)
        })
    }

    /// The held sets that the next tick finds to be over.
    pub(crate) fn sets_due(&self, now: Duration) -> impl Iterator<Item = (NodeName, Life)> {
        let due = self.held.iter().filter(move |(_, set)| set.deadline <= now);
        due.map(|(of, _)| of.clone())
    }

    /// What is held of that life of a node.
    pub(crate) fn held_set(&self, node: &NodeName, life: Life) -> Option<&HeldSet> {
        self.held.get(&(node.clone(), life))
    }

    /// Which held set a node is being asked for.
    pub(crate) fn asks_for(&self, node: &NodeName) -> Option<(NodeName, Life)> {
        let link = self.peers.get(node)?.link.as_ref()?;
        let taking = link.taking.as_ref()?;
        Some((taking.node.clone(), taking.life))
    }

    /// Whether it has said goodbye.
    pub(crate) fn has_left(&self) -> bool {
        self.left
    }

    pub(crate) fn entries(&self, topic: &str) -> Entries {
        self.visible.entries(topic)
    }

    pub(crate) fn at(&self) -> Position {
        self.own.at()
    }

    /// The life of a node's copy, if it is shown.
    pub(crate) fn shown_life(&self, node: &NodeName) -> Option<Life> {
        let peer = self.peers.get(node).filter(|peer| peer.shown)?;
        peer.replica.as_ref().map(Replica::life)
    }

    /// Whether the end of a node's link will be taken for a restart because of what the link said alone.
    pub(crate) fn awaits_restart_by_link(&self, node: &NodeName) -> bool {
        let peer = self.peers.get(node);
        peer.is_some_and(|peer| {
            let said = peer
                .link
                .as_ref()
                .is_some_and(|link| link.restarting.is_some());
            said && peer.shown && peer.restarting.is_none()
        })
    }

    /// Lives that are held because their node said that they are over.
    pub(crate) fn lives_said_over(&self, node: &NodeName) -> impl Iterator<Item = Life> {
        let confirmed = self.held.iter().filter(|(_, set)| set.is_confirmed());
        confirmed
            .filter(move |((of, _), _)| of == node)
            .map(|((_, life), _)| *life)
    }

    /// All that the copy of a node has, listed or not.
    #[cfg(test)]
    pub(crate) fn contents_of(&self, node: &NodeName) -> Vec<Kept> {
        let copy = self.peers.get(node).and_then(|peer| peer.replica.as_ref());
        let contents = copy.into_iter().flat_map(Replica::contents);
        contents.cloned().collect()
    }

    /// How many of the entries that are listed are held.
    #[cfg(test)]
    pub(crate) fn held_listed(&self) -> usize {
        self.visible.held().count()
    }

    /// Whether that life of a node is held.
    #[cfg(test)]
    pub(crate) fn holds(&self, node: &NodeName, life: Life) -> bool {
        self.held.contains_key(&(node.clone(), life))
    }

    /// How many lives are remembered to be over.
    pub(crate) fn ended_lives(&self) -> usize {
        self.ended.len()
    }

    /// Whether anything of a node is kept as of a peer.
    pub(crate) fn remembers(&self, node: &NodeName) -> bool {
        self.peers.contains_key(node)
    }

    /// All lives that are named anywhere in here, in whatever field: read from what the shard says of itself, which nothing is left
    /// out of.
    #[cfg(test)]
    pub(crate) fn lives_named(&self) -> BTreeSet<Life> {
        let said = format!("{self:?}");
        let lives = said.split("Life { incarnation: ").skip(1);
        let number = |text: &str| text.parse().expect("a life is two numbers");
        let life = |text: &str| {
            let (incarnation, rest) = text.split_once(", started: ").expect("and so it is said");
            let (started, _) = rest.split_once(' ').expect("and nothing else");
            Life {
                incarnation: number(incarnation),
                started: number(started),
            }
        };
        lives.map(life).collect()
    }

    /// Whether anything in here, in whatever field, names that node.
    #[cfg(test)]
    pub(crate) fn names(&self, node: &NodeName) -> bool {
        format!("{self:?}").contains(&format!("{node:?}"))
    }

    /// Whether a timer is due.
    pub(crate) fn due(&self, now: Duration) -> bool {
        self.poll_timeout() <= now
    }

    /// Checks what must hold between any two inputs.
    pub(crate) fn assert_consistent(&self) {
        self.own.assert_consistent();
        assert!(
            self.outbox.is_empty(),
            "the outbox is emptied before the next input"
        );
        for (node, peer) in &self.peers {
            assert!(node != self.own.node(), "a node is no peer of its own");
            assert!(
                !peer.shown || peer.link.is_some(),
                "{node} is shown without a link"
            );
            assert!(
                !peer.shown || peer.caught_up(),
                "{node} is shown before it caught up"
            );
            peer.replica.iter().for_each(Replica::assert_consistent);
        }
        let shown = self.peers.values().filter(|peer| peer.shown);
        let copies: Vec<&Replica> = shown.filter_map(|peer| peer.replica.as_ref()).collect();
        let live = copies.iter().flat_map(|copy| copy.live());
        let live: Vec<&Arc<Entry>> = self.own.live().chain(live).collect();
        let held = copies.iter().flat_map(|copy| copy.held());
        let sets = self.held.values().flat_map(HeldSet::iter);
        let held: Vec<&Arc<Entry>> = self.own.held().chain(held).chain(sets).collect();
        self.visible.assert_consistent();
        assert_eq!(
            held.len(),
            self.visible.held().count(),
            "all that is held and not gone is listed as such"
        );
        let mut expected: Vec<&Arc<Entry>> = live.into_iter().chain(held).collect();
        let mut listed: Vec<&Arc<Entry>> = self.visible.iter().collect();
        let order = |a: &&Arc<Entry>, b: &&Arc<Entry>| {
            let by_reference = a.reference.cmp(&b.reference);
            by_reference.then_with(|| a.node.cmp(&b.node))
        };
        expected.sort_unstable_by(order);
        listed.sort_unstable_by(order);
        assert_eq!(
            expected, listed,
            "I21: the list is what the copies that are shown hold"
        );
    }
}
