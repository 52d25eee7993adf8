//! A deterministic simulator of a whole cluster of shards.
//!
//! The shipped shards talk through the shipped encoder over a simulated network and clock, while nodes crash, restart,
//! leave, pause and lose their news, links break on one side first, and messages are late, doubled, swapped or lost. Checkers
//! that know what really happened look at every step of every node. A seed decides everything: the same seed gives the
//! same history, to the last byte.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::stats::Stats;
use random::Random;
use world::World;

mod action;
mod checker;
mod clock;
mod corpus;
mod eyes;
mod many;
mod network;
mod random;
mod shrink;
mod trace;
mod world;

pub use action::{Action, NoAction};
pub use corpus::{CORPUS, Stored};
pub use many::{ENOUGH, Search, Searched};
pub use shrink::{Failure, examine};

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many nodes; at least 2.
    pub nodes: usize,
    /// How many random steps before the quiet phase.
    pub steps: usize,
}

impl Plan {
    /// The plan that a seed has when nobody says otherwise: 2 to 5 nodes, 200 steps.
    pub fn usual(seed: u64) -> Self {
        Self {
            nodes: 2 + (seed % 4) as usize,
            steps: 200,
        }
    }

    /// What happens, step by step. Each step has chance of its own, so that the others stay what they are without it.
    pub fn actions(self, seed: u64) -> Vec<Action> {
        let mut random = Random::new(seed);
        let numbers = (0..self.steps).map(|_| random.next());
        numbers
            .map(|number| Action::of(number, self.nodes))
            .collect()
    }
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
        // In whatever order histories are added.
        self.trace = self.trace.wrapping_add(other.trace);
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    fn add_to(&mut self, name: &'static str, times: u64) {
        *self.counts.entry(name).or_default() += times;
    }

    fn count_stats(&mut self, stats: &Stats) {
        let paths = [
            ("gap noticed", stats.gaps),
            ("pull", stats.pulls_sent),
            ("operations served", stats.ops_served),
            ("state served", stats.states_served),
            ("state resumed", stats.states_resumed),
            ("state taken", stats.states_taken),
            ("state broken", stats.broken_states),
            ("operations heard again", stats.old_ops),
            ("state heard again", stats.old_states),
            ("stale message dropped", stats.stale_messages),
            ("life refused", stats.refused_lives),
            ("silence noticed", stats.silent_peers),
            ("renumbered", stats.renumbered),
            ("reset", stats.resets),
            ("log truncated", stats.log_truncated),
            ("held set made", stats.held_sets),
            ("held set asked for", stats.held_sets_asked),
            ("held set taken from a peer", stats.held_sets_taken),
            ("hold not confirmed", stats.holds_unconfirmed),
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
    play(seed, plan.nodes, &plan.actions(seed))
}

/// Runs a history of these steps, then quiet.
///
/// # Panics
///
/// As [`run`].
pub fn play(seed: u64, nodes: usize, actions: &[Action]) -> Report {
    play_with(seed, nodes, actions, Voice::Fails)
}

fn play_with(seed: u64, nodes: usize, actions: &[Action], voice: Voice) -> Report {
    let mut world = World::new(seed, nodes);
    world.voice = voice;
    for action in actions {
        world.take(*action);
    }
    world.become_quiet();
    world.finish()
}

/// As [`play`], and prints what every node hears, sends and lists.
///
/// # Panics
///
/// As [`run`].
pub fn tell(seed: u64, nodes: usize, actions: &[Action]) {
    play_with(seed, nodes, actions, Voice::Tells);
}

/// What a world prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// Nothing.
    Silent,
    /// Where it was, if a checker fails.
    Fails,
    /// That, and whatever happens.
    Tells,
}

/// What a run of many histories did not do at all: then it proves less than it should.
pub fn never_happened(report: &Report) -> Vec<&'static str> {
    let happened = |name: &&str| report.counts.get(*name).is_some_and(|count| *count > 0);
    let all = EVERYTHING.iter().copied();
    all.filter(|name| !happened(name)).collect()
}

/// Faults and paths that many histories must have had.
const EVERYTHING: &[&str] = &[
    "clock runs fast",
    "clock runs slow",
    "clock set back",
    "clock set forward",
    "clock went back",
    "connection ended",
    "copy dropped: away for the permdown period",
    "copy dropped: its node was forgotten",
    "copy dropped: its tracker announced a restart",
    "copy dropped: its tracker is over",
    "copy moved on",
    "copy of a later life",
    "crash",
    "gap noticed",
    "grace ended: in the own log",
    "grace ended: of a held set",
    "grace outlasted: its node is heard",
    "grace used: in a copy",
    "grace used: in a held set",
    "grace used: in the own log",
    "heard by one that is not heard",
    "held set asked for",
    "held set asked for again",
    "held set in several parts",
    "held set made",
    "held set taken as a whole",
    "held set taken as a whole, in several parts",
    "held set taken from a peer",
    "hold confirmed",
    "hold not confirmed",
    "life refused",
    "life that is over forgotten",
    "link broken",
    "log truncated",
    "message doubled",
    "message late, its way was cut",
    "message lost",
    "message lost, its way was cut",
    "message overtaken",
    "node left",
    "operations heard again",
    "operations served",
    "owner died",
    "partition",
    "partition that is not transitive",
    "partition, one-sided",
    "partition, one-sided: the deaf side gave up first",
    "partition, one-sided: healed in time",
    "pause",
    "permdown period passed",
    "place changed in one diff",
    "pull",
    "renumbered",
    "reset",
    "restart announced",
    "restart at once",
    "restart told by the link alone",
    "restarted as announced",
    "silence noticed",
    "stale message dropped",
    "start",
    "started at an earlier time than before",
    "state broken",
    "state heard again",
    "state resumed",
    "state served",
    "state taken",
    "told that a node restarts",
    "told to forget: down for long",
    "told to forget: it left for good",
    "track refused: tracked already",
    "tracker closed",
    "tracker restarted",
    "tracker said goodbye",
    "untrack refused: not the owner",
    "update refused: not the owner",
];

/// After so much time without faults, every list is complete.
const SETTLING: Duration = Duration::from_secs(9);

/// For so long, only vectors may flow after that.
const QUIET: Duration = Duration::from_secs(9);

#[cfg(test)]
mod tests;
