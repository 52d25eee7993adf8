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
            assert!(stats.remembered_peers < 2 * self.nodes.len() as u64, "I18");
            let lives = running.shard.ended_lives();
            assert!(lives <= 16 * self.nodes.len(), "I18: {lives} lives");
            assert_eq!(stats.held_sets_now, 0, "the grace is over");
            self.report.count_stats(&stats);
        }
        std::mem::take(&mut self.report)
    }
}
