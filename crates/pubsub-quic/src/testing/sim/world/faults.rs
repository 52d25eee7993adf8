//! What goes wrong.

use std::time::Duration;

use matryoshka_pubsub::NodeName;
use rand::Rng;

use super::{Moment, World};
use crate::proto::mesh::Ended;
use crate::proto::notice::Level;
use crate::proto::trouble::Trouble;
use crate::testing::sim::network::NodeIndex;
use crate::testing::sim::node::State;
use crate::testing::sim::tally::Seen;
use crate::testing::sim::world::judge::NOTICED;

impl World {
    /// As SIGKILL: the others hear nothing.
    pub(crate) fn kill(&mut self, index: NodeIndex) {
        if self.nodes[index].state == State::Dead {
            return;
        }
        self.tally.count(Seen::Killed);
        self.end(index);
    }

    /// The process is no more.
    pub(super) fn end(&mut self, index: NodeIndex) {
        self.count_traffic(index);
        let node = &mut self.nodes[index];
        node.state = State::Dead;
        node.died = self.now;
        node.mesh = None;
        node.backlog.clear();
        node.alarm = None;
        let subs: Vec<usize> = node.registry.all().map(|(_, sub)| sub).collect();
        for sub in subs {
            self.ledger.unsubscribe(sub);
        }
        let node = &mut self.nodes[index];
        node.dials.clear();
        node.by_link.clear();
        for link in std::mem::take(&mut node.links).into_values() {
            let end = &mut self.net.cables[link.cable].ends[link.side];
            end.open = false;
        }
        self.note(index, &Moment::End);
    }

    /// What the traffic of a life counted.
    pub(in crate::testing::sim) fn count_traffic(&mut self, index: NodeIndex) {
        let sent = self.nodes[index].traffic.totals().sent;
        let routing = sent.routing;
        for (seen, times) in [
            (Seen::RingOverflow, routing.flooded_full),
            (Seen::Replayed, routing.replayed),
            (Seen::Trimmed, routing.trimmed),
            (Seen::Flushed, routing.flushed),
            (Seen::FloodedAtStart, routing.flooded_start),
            (Seen::FloodedToOld, routing.flooded_old_peer),
            (Seen::Lingered, routing.arrived_for_nobody),
            (Seen::TooLarge, sent.too_large),
        ] {
            self.tally.add(seen, times);
        }
    }

    /// The same name again, by a clock that is right.
    pub(crate) fn restart(&mut self, index: NodeIndex) {
        if self.nodes[index].state != State::Dead {
            self.kill(index);
        }
        self.tally.count(Seen::Restarted);
        let incarnation = self.wall_clock();
        self.start(index, incarnation);
    }

    /// As SIGSTOP.
    pub(crate) fn pause(&mut self, index: NodeIndex) {
        let node = &mut self.nodes[index];
        if node.is_running() {
            node.state = State::Paused;
            self.tally.count(Seen::Paused);
            self.note(index, &Moment::Fault("pause", 0));
        }
    }

    /// As SIGCONT: what has come meanwhile is read, and the clock may tick before that.
    pub(crate) fn resume(&mut self, index: NodeIndex) {
        let node = &mut self.nodes[index];
        if node.state != State::Paused {
            return;
        }
        node.state = State::Running;
        node.awake_since = self.now;
        let backlog = std::mem::take(&mut node.backlog);
        self.note(index, &Moment::Fault("resume", backlog.len()));
        if !backlog.is_empty() {
            self.tally.count(Seen::Backlog);
        }
        if self.rng.random() {
            self.tally.count(Seen::JudgedFirst);
            self.tick_now(index);
        }
        for packet in backlog {
            self.arrive(index, packet);
        }
        self.nodes[index].alarm = None;
        if self.nodes[index].is_running() {
            self.set_alarm(index);
        }
    }

    /// A reader that does not come to reading users' messages.
    pub(in crate::testing::sim) fn set_slow(&mut self, index: NodeIndex, slow: bool) {
        let node = &mut self.nodes[index];
        if std::mem::replace(&mut node.slow, slow) == slow {
            return;
        }
        self.note(index, &Moment::Fault("slow", usize::from(slow)));
        if slow {
            return self.tally.count(Seen::SlowReader);
        }
        let links: Vec<_> = self.nodes[index].links.keys().copied().collect();
        for id in links {
            if self.nodes[index].is_running() {
                self.read_on(index, id);
            }
        }
    }

    /// Cuts both ways between two nodes.
    pub(crate) fn cut(&mut self, one: NodeIndex, other: NodeIndex) {
        self.tally.count(Seen::CutBothWays);
        self.net.cut(one, other);
        self.net.cut(other, one);
        self.note(one, &Moment::Fault("cut", other));
        self.note_partition();
    }

    pub(crate) fn cut_one_way(&mut self, from: NodeIndex, to: NodeIndex) {
        self.tally.count(Seen::CutOneWay);
        self.net.cut(from, to);
        self.note(from, &Moment::Fault("cut one way", to));
    }

    /// Whether somebody reaches two that do not reach each other.
    fn note_partition(&mut self) {
        let cuts = self.net.cuts();
        let Some((one, other)) = cuts.last().copied() else {
            return;
        };
        let reaches = |third: NodeIndex, node| {
            third != node && !self.net.is_cut(third, node) && !self.net.is_cut(node, third)
        };
        let thirds = 0..self.nodes.len();
        if thirds.into_iter().any(|third| {
            third != one && third != other && reaches(third, one) && reaches(third, other)
        }) {
            self.tally.count(Seen::NonTransitive);
        }
    }

    /// On every link, both ways, the next two heartbeats are lost.
    pub(crate) fn lose_two_heartbeats(&mut self) {
        let links = |node: &super::Node| node.links.len();
        let links = self.nodes.iter().map(links).sum::<usize>();
        self.tally.add(Seen::HeartbeatsLost, links as u64);
        self.lose_heartbeats(2);
    }

    /// On every link, both ways, the next `count` heartbeats are lost.
    pub(crate) fn lose_heartbeats(&mut self, count: u8) {
        for node in &mut self.nodes {
            node.links.values_mut().for_each(|end| end.loses = count);
        }
        self.note(0, &Moment::Fault("lose heartbeats", count.into()));
    }

    /// Mends everything. What streams had under way arrives late.
    pub(crate) fn heal_all(&mut self) {
        for (from, to) in self.net.cuts() {
            self.mend(from, to);
        }
    }

    pub(in crate::testing::sim) fn mend(&mut self, from: NodeIndex, to: NodeIndex) {
        self.note(from, &Moment::Fault("mend", to));
        for packet in self.net.mend(from, to) {
            self.post(from, to, packet);
        }
    }

    /// Breaks one connection of `index`, at both ends or at its own only.
    pub(crate) fn break_one(&mut self, index: NodeIndex, both_ends: bool) {
        let node = &self.nodes[index];
        let ids: Vec<_> = node
            .links
            .iter()
            .map(|(id, end)| (*id, end.cable))
            .collect();
        if ids.is_empty() || !node.is_running() {
            return;
        }
        let (id, cable) = ids[self.rng.random_range(0..ids.len())];
        let broken = || Ended::Failed(Trouble::new("connection", "broken on purpose"));
        self.note(index, &Moment::Fault("break", cable));
        let side = self.nodes[index].links[&id].side;
        if both_ends {
            self.tally.count(Seen::BrokenAtBothEnds);
            let other = self.net.cables[cable].ends[1 - side].node;
            let packet = crate::testing::sim::network::Packet::Ended(cable, 1 - side, broken());
            let at = self.now;
            let happening = crate::testing::sim::network::Happening::Packet(other, packet);
            self.net.at(at, happening);
        } else {
            self.tally.count(Seen::BrokenAtOneEnd);
        }
        self.handle_ended(index, id, broken());
    }

    /// A second node that bears the name of `index`.
    pub(in crate::testing::sim) fn add_twin(&mut self, index: NodeIndex) -> NodeIndex {
        self.tally.count(Seen::Twin);
        let name = self.nodes[index].name.to_string();
        let others: Vec<NodeIndex> = (0..self.setup.nodes)
            .filter(|node| *node != index)
            .collect();
        self.add(&name, &others)
    }

    /// Somebody who must not be let in; what is wrong with it is told by `kind`.
    pub(crate) fn add_intruder(&mut self, kind: u32) -> NodeIndex {
        let index = self.add(&format!("stranger{}", self.nodes.len()), &[0]);
        let node = &mut self.nodes[index];
        match kind {
            0 => node.secret += 1,
            1 => node.cluster = "another",
            2 => node.stalls = true,
            _ => node.name = NodeName::new("impostor").expect("a valid name"),
        }
        self.end(index);
        let incarnation = self.wall_clock();
        self.start(index, incarnation);
        index
    }

    pub(super) fn has_left(&mut self, index: NodeIndex, reason: String) {
        self.note(index, &Moment::Left(reason.clone()));
        self.tally.count(Seen::TwinLeft);
        let name = &self.nodes[index].name;
        let is_twin = |(other, node): (NodeIndex, &super::Node)| {
            let lives = node.state != State::Dead || self.now < node.died + NOTICED;
            other != index && node.name == *name && lives && node.left.is_none()
        };
        if !self.nodes.iter().enumerate().any(is_twin) {
            self.fail(index, format!("it left without a living twin: {reason}"));
        }
        let lines = self.nodes[index].notices.iter();
        let errors = lines.filter(|(level, _)| *level == Level::Error).count();
        if errors != 1 {
            self.fail(index, format!("{errors} lines of it when it left"));
        }
        self.nodes[index].left = Some(reason);
    }

    /// How long ago, for a fault that is to have lasted a while.
    pub(in crate::testing::sim) fn since(&self, then: Duration) -> Duration {
        self.now.saturating_sub(then)
    }
}
