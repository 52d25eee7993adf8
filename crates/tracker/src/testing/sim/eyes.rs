//! What one simulated node sees of the others, for the checkers.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;

use matryoshka_pubsub::{LinkId, NodeName};

use super::checker::View;
use super::network::{Index, Network};
use crate::life::Life;
use crate::message::Position;
use crate::shard::Shard;

/// A link as one end was told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkView {
    pub(super) link: LinkId,
    /// The step in which it came to be.
    pub(super) born: u64,
    /// For what properties make up.
    #[cfg(test)]
    pub(super) incarnation: u64,
}

/// The copy that there is of a node, and the link to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) copy: Option<Position>,
    pub(super) link: Option<LinkId>,
}

impl Seen {
    /// What a shard sees of each node.
    pub(super) fn all(
        names: &[NodeName],
        shard: &Shard,
        links: &BTreeMap<Index, LinkView>,
    ) -> Vec<Self> {
        let nodes = names.iter().enumerate();
        nodes
            .map(|(index, name)| Self {
                copy: shard.have(name),
                link: links.get(&index).map(|view| view.link),
            })
            .collect()
    }

    /// The life that is heard, over a link.
    pub(super) fn heard(self) -> Option<Life> {
        self.link.and(self.life())
    }

    fn life(self) -> Option<Life> {
        self.copy.map(|at| at.life)
    }
}

/// What one node sees of the others.
pub(super) struct Eyes<'a> {
    pub(super) viewer: Index,
    pub(super) network: &'a Network,
    pub(super) names: &'a [NodeName],
    pub(super) generations: &'a BTreeMap<(Index, Life), u64>,
    pub(super) shard: &'a Shard,
    pub(super) links: &'a BTreeMap<Index, LinkView>,
    /// Before the input that it reacts to.
    pub(super) before: &'a [Seen],
    pub(super) after: &'a [Seen],
}

impl Eyes<'_> {
    fn is_of(&self, node: Index, life: Life, generation: u64) -> bool {
        self.generations.get(&(node, life)) == Some(&generation)
    }
}

impl View for Eyes<'_> {
    fn link_born(&self, node: Index) -> Option<u64> {
        self.links.get(&node).map(|view| view.born)
    }

    fn steady(&self, node: Index) -> bool {
        let (before, after) = (self.before[node], self.after[node]);
        (before.life(), before.link) == (after.life(), after.link)
    }

    fn shows(&self, node: Index, generation: u64) -> bool {
        let shown = self.shard.shown_life(&self.names[node]);
        shown.is_some_and(|life| self.is_of(node, life, generation))
    }

    fn is_reached_by(&self, node: Index) -> bool {
        let link = self.links.get(&node).map(|view| view.link);
        let connection = self.network.connection(self.viewer, node);
        let connected = connection.map(|connection| connection.link) == link;
        connected && !self.network.is_silent(node, self.viewer)
    }

    fn hides(&self, node: Index, generation: u64) -> bool {
        let life = self.after[node].life();
        life.is_some_and(|life| self.is_of(node, life, generation)) && !self.shows(node, generation)
    }

    fn said_over(&self, node: Index, generation: u64) -> bool {
        let mut lives = self.shard.lives_said_over(&self.names[node]);
        lives.any(|life| self.is_of(node, life, generation))
    }
}
