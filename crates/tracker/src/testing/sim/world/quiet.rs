//! The end of a history: faults cease, and then every list is whole and nobody has anything to say.

use super::super::{QUIET, SETTLING};
use super::*;

impl World {
    /// No more faults: all that is alive is connected, and stays so.
    pub(in crate::testing::sim) fn become_quiet(&mut self) {
        self.step += 1;
        self.random = Random::new(self.seed);
        self.weather = Weather::Fair;
        for node in 0..self.nodes.len() {
            if self.nodes[node].draining.is_some() && self.nodes[node].running.is_some() {
                self.restart_as_announced(node);
            }
        }
        self.pass(Duration::from_secs(6));
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = Duration::ZERO;
        }
        self.heal_all();
        self.pass(SETTLING);
        self.heal_all();
        self.pass(SETTLING);
        self.noise.clear();
        self.pass(QUIET);
        let remembrance = (0..self.nodes.len()).map(|node| self.remembrance(node));
        let remembrance = remembrance.max().unwrap_or_default();
        let ends = self.ended.values();
        let forgotten = ends
            .filter(|ended| self.now >= **ended + remembrance)
            .count();
        self.report
            .add_to("life that is over forgotten", forgotten as u64);
    }

    pub(in crate::testing::sim) fn finish(mut self) -> Report {
        assert_eq!(
            self.noise,
            Vec::<&str>::new(),
            "I22: quiet, yet these were sent"
        );
        let truth = self.truth.now();
        let mut positions = BTreeMap::new();
        for node in &self.nodes {
            if let Some(running) = &node.running {
                positions.insert(node.name.clone(), running.shard.at());
            }
        }
        for index in 0..self.nodes.len() {
            let Some(running) = &self.nodes[index].running else {
                continue;
            };
            assert_eq!(
                running.watcher.by_reference(),
                &truth,
                "I1, I9: node {index} lists something else"
            );
            for (name, at) in &positions {
                if *name != self.nodes[index].name {
                    assert_eq!(running.shard.have(name), Some(*at), "I1: positions");
                }
            }
            let stats = running.shard.stats();
            self.forgotten(index, &running.shard);
            assert_eq!(stats.held_sets_now, 0, "the grace is over");
            self.report.count_stats(&stats);
        }
        self.report.trace = self.trace.value();
        std::mem::take(&mut self.report)
    }

    /// I18: the memory of what is over has an end.
    fn forgotten(&self, node: Index, shard: &Shard) {
        let recent = |of: &(Index, u64)| {
            let ended = self.ended.get(of);
            ended.is_none_or(|ended| self.now < *ended + self.remembrance(node))
        };
        let lives = self.generations.iter();
        let recent_lives = lives.filter(|((of, _), generation)| recent(&(*of, **generation)));
        let recent_lives: Vec<(Index, Life)> = recent_lives.map(|(of, _)| *of).collect();
        // A process that left and was forgotten has an end of its own, beside those of its trackers.
        let processes = recent_lives
            .iter()
            .map(|(of, life)| (*of, life.incarnation));
        let processes: BTreeSet<(Index, u64)> = processes.collect();
        // Besides those that run there are as many as ended not long ago, however many there were before.
        let (lives, most) = (shard.ended_lives(), recent_lives.len() + processes.len());
        assert!(
            lives <= most,
            "I18: n{node} remembers {lives} ends, of {most} that it may"
        );
        for (other, of) in self.nodes.iter().enumerate() {
            // Whose tracker was closed is linked as long as its process lives.
            let linked = self.network.connection(node, other).is_some();
            if other != node && !linked && of.running.is_none() && !recent(&(other, of.generation))
            {
                assert!(
                    !shard.remembers(&of.name),
                    "I18: n{node} remembers n{other}"
                );
            }
        }
    }

    /// For so long may a node remember a life that is over: until the last one has noticed its end, and two permdown periods of its own
    /// from there.
    pub(super) fn remembrance(&self, node: Index) -> Duration {
        NOTICE
            + self.nodes[node]
                .rate
                .takes(2 * self.settings.permdown_period)
    }
}

/// So long after the end of a tracker the last node has noticed it: who says nothing over a link that is up is taken for closed after six
/// vector periods, links are found to be over within 2.5 s, pauses last up to 5 s, what is passed on takes its way, and a grace may have
/// 20 s.
const NOTICE: Duration = Duration::from_secs(26 + 17);
