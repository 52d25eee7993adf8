//! A deterministic simulator of a whole cluster of shards.
//!
//! The shipped shards talk through the shipped encoder over a simulated network and clock, while nodes crash, restart,
//! leave, pause and lose their news, links break on one side first, and messages are late, doubled, swapped or lost. Checkers
//! that know what really happened look at every step of every node. A seed decides everything: the same seed gives the
//! same history, to the last byte.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::stats::Stats;
use world::World;

mod checker;
mod network;
mod random;
mod world;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many nodes; at least 2.
    pub nodes: usize,
    /// How many random steps before the quiet phase.
    pub steps: usize,
}

/// What happened in a history, by name, and a hash of all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How often each fault and each path was taken.
    pub counts: BTreeMap<&'static str, u64>,
    /// Two runs of one seed have the same.
    pub trace: u64,
}

impl Report {
    /// Adds what happened in another history.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
        self.trace = self.trace.rotate_left(1) ^ other.trace;
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    fn count_stats(&mut self, stats: &Stats) {
        let paths = [
            ("gap noticed", stats.gaps),
            ("pull", stats.pulls_sent),
            ("operations served", stats.ops_served),
            ("state served", stats.states_served),
            ("state taken", stats.states_taken),
            ("state broken", stats.broken_states),
            ("stale message dropped", stats.stale_messages),
            ("life refused", stats.refused_lives),
            ("renumbered", stats.renumbered),
            ("reset", stats.resets),
        ];
        for (name, count) in paths {
            *self.counts.entry(name).or_default() += count;
        }
    }
}

/// Runs one history: `plan.steps` random steps with faults, then quiet.
///
/// # Panics
///
/// When a checker finds something wrong; the message names the seed and the step.
pub fn run(seed: u64, plan: Plan) -> Report {
    let mut world = World::new(seed, plan);
    for _ in 0..plan.steps {
        world.random_step();
    }
    world.become_quiet();
    world.finish()
}

/// After so much time without faults, every list is complete.
const SETTLING: Duration = Duration::from_secs(12);

/// For so long, only vectors may flow after that.
const QUIET: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
