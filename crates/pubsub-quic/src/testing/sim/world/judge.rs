//! Watchers: what must hold at any time, and what must hold once everything has come to rest.

use std::time::Duration;

use rand::Rng;

use super::World;
use crate::proto::lane::LANES;
use crate::proto::liveness::{DOWN_AFTER, TICK};
use crate::proto::mesh::MAX_DIALS;
use crate::proto::outbox::CONTROL_STREAM_BYTES;
use crate::proto::peer::{ConnectionId, HELLO_LIMIT};
use crate::testing::sim::cable::Cable;
use crate::testing::sim::network::NodeIndex;
use crate::testing::sim::node::Node;

/// A silent peer is told of within this.
pub(super) const NOTICED: Duration = Duration::from_secs(3);
/// The largest message that is published.
pub(in crate::testing::sim) const LARGEST: usize = 200_000;

impl World {
    /// At any time, of a node that has just been ticked.
    pub(super) fn watch(&mut self, index: NodeIndex) {
        let noticed = self.notices_silence(index);
        self.keep(index, noticed);
        if self.rng.random_ratio(1, 8) {
            let within = self.is_within_bounds(index);
            self.keep(index, within);
        }
    }

    /// Whoever has been awake for so long knows of every peer that has been silent for so long.
    fn notices_silence(&self, index: NodeIndex) -> Result<(), String> {
        let node = &self.nodes[index];
        for end in node.links.values().filter(|end| end.routed) {
            let raised = end.raised.as_ref().expect("what is routed is up");
            let since = end.heard_at.max(node.awake_since).max(raised.since);
            if self.now > since + NOTICED {
                let silent = self.now - since;
                return Err(format!("{} is silent for {silent:?} and up", raised.name));
            }
        }
        Ok(())
    }

    /// Nobody is given up who was heard.
    pub(super) fn may_be_given_up(&self, index: NodeIndex, id: ConnectionId) -> Result<(), String> {
        let node = &self.nodes[index];
        match node.links.get(&id) {
            Some(end) if self.now < end.heard_at + DOWN_AFTER - TICK => {
                let silent = self.now - end.heard_at;
                Err(format!("false alarm: a peer silent for {silent:?} is down"))
            }
            _ => Ok(()),
        }
    }

    /// Q6: whoever does not read costs so much and no more.
    fn is_within_bounds(&self, index: NodeIndex) -> Result<(), String> {
        let node = &self.nodes[index];
        let totals = node.traffic.totals();
        if totals.ring_bytes > self.setup.ring_bytes
            || totals.ring_entries > self.setup.ring_entries
        {
            return Err(format!("Q6: the ring holds {} bytes", totals.ring_bytes));
        }
        if node.dials.len() > MAX_DIALS {
            return Err(format!("{} dials are under way", node.dials.len()));
        }
        let most = usize::from(LANES) * (self.setup.lane_bytes + LARGEST);
        for end in node.links.values() {
            let since = end.since.max(node.awake_since);
            if end.raised.is_none() && self.now > since + HELLO_LIMIT + 2 * TICK {
                let open = self.now - since;
                return Err(format!("a connection is not settled for {open:?}"));
            }
            let queued = end.outbox.queued();
            if queued.user > most
                || queued.tracker > self.setup.tracker_bytes + LARGEST
                || queued.control > CONTROL_STREAM_BYTES
            {
                return Err(format!("Q6: {queued:?} wait for one peer"));
            }
        }
        Ok(())
    }

    fn members(&self) -> Vec<NodeIndex> {
        let is_member = |index: &NodeIndex| {
            let node = &self.nodes[*index];
            node.is_member() && is_honest(node)
        };
        (0..self.nodes.len()).filter(is_member).collect()
    }

    /// Whether all living nodes have exactly one link to each other, the same one at both ends.
    pub(crate) fn is_settled(&self) -> Result<(), String> {
        let members = self.members();
        for &one in &members {
            let node = &self.nodes[one];
            let up = node.links.values().filter(|end| end.routed).count();
            if up != members.len() - 1 {
                let many = members.len() - 1;
                return Err(format!("{} has {up} links of {many}", node.name));
            }
            for &other in &members {
                if one != other {
                    self.are_linked(one, other)?;
                }
            }
        }
        Ok(())
    }

    /// As [`is_settled`](Self::is_settled), with no connection besides.
    pub(crate) fn is_settled_with_nothing_besides(&self) -> Result<(), String> {
        self.is_settled()?;
        let members = self.members();
        for index in &members {
            let node = &self.nodes[*index];
            let connections = node.mesh.as_ref().map_or(0, |mesh| mesh.connections());
            if connections != members.len() - 1 || node.links.len() != connections {
                return Err(format!("{} has {connections} connections", node.name));
            }
        }
        Ok(())
    }

    /// Whether a node has a link whose other end is no more.
    pub(in crate::testing::sim) fn has_stale_links(&self) -> bool {
        self.members().into_iter().any(|index| {
            let mut links = self.nodes[index].links.values().filter(|end| end.routed);
            links.any(|end| {
                let far = &self.net.cables[end.cable].ends[1 - end.side];
                self.is_another_life(far.node, far.life) || !far.open
            })
        })
    }

    fn are_linked(&self, one: NodeIndex, other: NodeIndex) -> Result<(), String> {
        let (node, peer) = (&self.nodes[one], &self.nodes[other]);
        let link = node.links.values().find(|end| {
            let raised = end.raised.as_ref();
            end.routed && raised.is_some_and(|raised| raised.name == peer.name)
        });
        let Some(link) = link else {
            return Err(format!("{} misses {}", node.name, peer.name));
        };
        let cable = &self.net.cables[link.cable];
        let far = &cable.ends[1 - link.side];
        if far.node != other || far.life != peer.life || !cable.is_whole() {
            return Err(format!("{} has a stale link to {}", node.name, peer.name));
        }
        let told = node.table.get(&peer.name);
        if !told.is_some_and(|member| member.state.is_linked()) {
            return Err(format!("{} says {told:?} of {}", node.name, peer.name));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn assert_settled(&self) {
        assert_eq!(self.broken, None);
        assert_eq!(self.is_settled(), Ok(()));
    }

    #[cfg(test)]
    pub(crate) fn assert_settled_with_nothing_besides(&self) {
        assert_eq!(self.broken, None);
        assert_eq!(self.is_settled_with_nothing_besides(), Ok(()));
    }

    /// At rest: nothing is missing, nothing waits, and every loss was told.
    pub(in crate::testing::sim) fn judge(&mut self) {
        for index in 0..self.net.cables.len() {
            let verdict = self.judge_cable(index);
            self.keep(0, verdict);
        }
        for index in self.members() {
            let verdict = self.judge_node(index);
            self.keep(index, verdict);
        }
    }

    fn judge_cable(&self, index: usize) -> Result<(), String> {
        let cable = &self.net.cables[index];
        if !cable.is_whole() || !self.is_up(cable) {
            return Ok(());
        }
        for side in [0, 1] {
            let far = &cable.ends[1 - side];
            self.ledger.gaps_are_told((index, side))?;
            for (_, sub) in self.nodes[far.node].registry.all() {
                self.ledger.is_even((index, side), sub)?;
            }
        }
        Ok(())
    }

    fn is_up(&self, cable: &Cable) -> bool {
        cable.ends.iter().all(|end| {
            let link = end.id.and_then(|id| self.nodes[end.node].links.get(&id));
            self.nodes[end.node].life == end.life && link.is_some_and(|link| link.routed)
        })
    }

    fn judge_node(&self, index: NodeIndex) -> Result<(), String> {
        let node = &self.nodes[index];
        let totals = node.traffic.totals();
        if totals.ring_entries > 0 {
            return Err(format!("{} entries wait for ever", totals.ring_entries));
        }
        if node.offer.routes_by_interest() && totals.topics_wanted != node.registry.len() {
            let (wanted, has) = (totals.topics_wanted, node.registry.len());
            return Err(format!("it wants {wanted} topics and has {has}"));
        }
        Ok(())
    }
}

/// Whether it has what one needs to be let in.
pub(in crate::testing::sim) fn is_honest(node: &Node) -> bool {
    let belongs = node.secret == super::SECRET && node.cluster == "sim";
    belongs && node.certified == node.name && !node.stalls
}
