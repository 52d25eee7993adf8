//! A history: a setup and a plan drawn from one seed, then rest, then judgement.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use matryoshka_pubsub::{Goodbye, TrafficClass};
use rand::Rng;

use super::network::NodeIndex;
use super::node::State;
use super::random::Random;
use super::setup::Setup;
use super::tally::{Seen, Tally};
use super::world::World;
use super::world::judge::is_honest;
use super::world::people::Audience;

const SECOND: Duration = Duration::from_secs(1);
/// Whoever can meet has met within this.
const HEALED: Duration = Duration::from_secs(3);
/// As [`HEALED`] where incarnations have to be settled first: patience, what is unsure before it, and a redial.
const SETTLED: Duration = Duration::from_secs(20);
/// Longer than a linger, three heartbeats and what they set off.
const REST: Duration = Duration::from_secs(5);

/// What became of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The same for two runs of one seed.
    pub hash: u64,
    /// What was seen.
    pub tally: Tally,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// What happened, if it was to be kept.
    pub lines: Vec<String>,
}

/// Plays the history of that seed; with its `lines` if they are to be read.
#[must_use]
pub fn play(seed: u64, nodes: Option<usize>, lines: bool) -> Outcome {
    let mut rng = Random::new(seed);
    let nodes = nodes.unwrap_or_else(|| rng.random_range(3..6));
    let setup = Setup::random(&mut rng, nodes);
    let mut history = History::new(setup, rng, lines);
    history.play();
    history.outcome()
}

/// Enough for everybody to be found whoever dies: of those with a quarrelling name, all; else two.
fn seeds(world: &mut World, index: NodeIndex, nodes: usize) -> Vec<NodeIndex> {
    if world.setup.quarrels && nodes < 10 {
        return (0..nodes).filter(|other| *other != index).collect();
    }
    let random = world.rng.random_range(1..nodes);
    vec![(index + 1) % nodes, (index + random) % nodes]
}

struct History {
    world: World,
    nodes: usize,
    steps: usize,
}

impl History {
    fn new(setup: Setup, rng: Random, lines: bool) -> Self {
        let (nodes, steps) = (setup.nodes, setup.steps);
        let mut world = World::with(setup, rng, lines);
        for index in 0..nodes {
            let join = seeds(&mut world, index, nodes);
            world.add(&format!("n{}", index + 1), &join);
        }
        Self {
            world,
            nodes,
            steps,
        }
    }

    fn play(&mut self) {
        for _ in 0..self.steps {
            self.world.tally.count(Seen::Step);
            self.step();
            let pace = self.world.setup.pace;
            let wait = match self.world.rng.random_range(0..100) {
                0..2 => pace * 20,
                2..12 => pace * 4,
                _ => pace,
            };
            let wait = wait.mul_f64(self.world.rng.random());
            self.world.run(wait);
            if self.world.broken.is_some() {
                return;
            }
        }
        self.come_to_rest();
    }

    fn step(&mut self) {
        let node = self.world.rng.random_range(0..self.nodes);
        let topic = self.world.rng.random_range(0..self.world.setup.topics);
        let is_running = self.world.nodes[node].state == State::Running;
        match self.world.rng.random_range(0..100) {
            0..50 if is_running => self.publish(node),
            50..66 if is_running => {
                self.world.subscribe(node, topic);
            }
            66..76 if is_running => self.world.unsubscribe(node),
            76..80 => self.slow(node),
            80..100 if !self.world.setup.calm => self.disturb(node),
            _ => {}
        }
    }

    fn publish(&mut self, node: NodeIndex) {
        let rng = &mut self.world.rng;
        let class = match rng.random_range(0..20) {
            0 => TrafficClass::Bulk,
            1 => TrafficClass::Tracker,
            _ => TrafficClass::User,
        };
        let audience = match rng.random_range(0..20) {
            0 => Audience::Peer,
            1 | 2 => Audience::AllBut,
            _ => Audience::All,
        };
        let topic = rng.random_range(0..self.world.setup.topics);
        let bytes = match rng.random_range(0..200) {
            0 => rng.random_range(60_000..180_000),
            1..20 => rng.random_range(100..3_000),
            _ => rng.random_range(8..60),
        };
        let times = match rng.random_range(0..10) {
            0 => 12,
            1..4 => 3,
            _ => 1,
        };
        for _ in 0..if bytes > 60_000 { 1 } else { times } {
            self.world.publish(node, topic, class, bytes, audience);
        }
    }

    fn slow(&mut self, node: NodeIndex) {
        let slow = self.world.rng.random::<bool>() && !self.world.setup.prompt;
        self.world.set_slow(node, slow);
    }

    fn disturb(&mut self, node: NodeIndex) {
        let all = self.world.nodes.len();
        let rng = &mut self.world.rng;
        let other = (node + rng.random_range(1..self.nodes)) % self.nodes;
        let kind = rng.random_range(0..24);
        match (kind, self.world.nodes[node].state) {
            (0..14, State::Paused) => self.world.resume(node),
            (0..14, State::Dead) => self.bring_back(node),
            (0..2, _) => self.world.kill(node),
            (2, _) => self.bring_back(node),
            (3..5, _) => self.world.pause(node),
            (5..8, _) => self.world.break_one(node, kind == 5),
            (8..10, _) => self.world.cut(node, other),
            (10..12, _) => self.world.cut_one_way(node, other),
            (12, _) => self.leave(node),
            (13, _) if all < self.nodes + 3 => {
                let kind = self.world.rng.random_range(0..4);
                self.world.add_intruder(kind);
            }
            // The first one's name is safe: somebody must be where the others look for somebody.
            (14, _) if self.world.setup.quarrels && node > 0 => self.quarrel(node),
            (15..20, _) => self.mend_one(),
            (20, _) => self.world.heal_all(),
            _ => {}
        }
    }

    /// The same name again, at times by a clock that was set.
    fn bring_back(&mut self, node: NodeIndex) {
        if self.world.nodes[node].left.is_some() {
            return;
        }
        self.world.kill(node);
        let clock = self.world.wall_clock();
        let jump = self.world.rng.random_range(1_000..60_000_000);
        let clock = match self.world.rng.random_range(0..4) {
            0 if self.world.setup.quarrels => {
                self.world.tally.count(Seen::ClockBack);
                clock - jump
            }
            1 if self.world.setup.quarrels => {
                self.world.tally.count(Seen::ClockForward);
                clock + jump
            }
            _ => clock,
        };
        self.world.tally.count(Seen::Restarted);
        self.world.start(node, clock);
    }

    fn quarrel(&mut self, node: NodeIndex) {
        let name = self.world.nodes[node].name.clone();
        let twins = self.nodes..self.world.nodes.len();
        let twin = twins
            .clone()
            .find(|twin| self.world.nodes[*twin].name == name);
        match twin {
            Some(twin) => self.world.kill(twin),
            None if twins.len() < 3 => {
                self.world.add_twin(node);
            }
            None => {}
        }
    }

    fn leave(&mut self, node: NodeIndex) {
        let goodbye = match self.world.rng.random() {
            true => Goodbye::Leaving,
            false => Goodbye::Restarting { grace: SECOND },
        };
        if self.world.nodes[node].state == State::Running {
            self.world.leave(node, goodbye);
        }
    }

    fn mend_one(&mut self) {
        let cuts = self.world.net.cuts();
        if !cuts.is_empty() {
            let (from, to) = cuts[self.world.rng.random_range(0..cuts.len())];
            self.world.mend(from, to);
        }
    }

    /// Everything is mended, everybody runs, and time passes.
    fn come_to_rest(&mut self) {
        self.world.heal_all();
        self.world.setup.loss = 0;
        for index in 0..self.world.nodes.len() {
            self.world.resume(index);
            self.world.set_slow(index, false);
        }
        for index in self.nodes..self.world.nodes.len() {
            if !is_honest(&self.world.nodes[index]) {
                self.world.kill(index);
            }
        }
        for index in 0..self.nodes {
            let node = &self.world.nodes[index];
            if (node.state == State::Dead || node.flushing) && node.left.is_none() {
                self.world.restart(index);
            }
        }
        let limit = if self.world.setup.quarrels {
            SETTLED
        } else {
            HEALED
        };
        let mut healed = self.world.now;
        while let Err(text) = self.world.is_settled() {
            if self.world.broken.is_some() {
                return;
            }
            if self.world.since(healed) >= limit {
                return self
                    .world
                    .fail(0, format!("{limit:?} after all is mended {text}"));
            }
            self.world.run(SECOND / 10);
            if self.world.has_stale_links() {
                // Silence has to be noticed first, which has a limit of its own.
                healed = self.world.now;
            }
        }
        self.rest();
        if let Err(text) = self.is_left_alone() {
            return self.world.fail(0, format!("it did not last: {text}"));
        }
        self.world.judge();
    }

    /// Time passes. Two heartbeats in a row are lost on every link, which is no reason to give anybody up.
    fn rest(&mut self) {
        // What was lost or paused just before is no loss of these.
        self.world.run(2 * SECOND);
        let silent = self.world.tally.of(Seen::Silent);
        self.world.lose_two_heartbeats();
        self.world.run(REST);
        let given_up = self.world.tally.of(Seen::Silent) - silent;
        if given_up > 0 {
            let text = format!("{given_up} links ended after two lost heartbeats");
            self.world.fail(0, text);
        }
    }

    /// Those that left, or died with a name that another bears, are still dialled.
    fn is_left_alone(&self) -> Result<(), String> {
        match self.world.nodes.len() == self.nodes {
            true => self.world.is_settled_with_nothing_besides(),
            false => self.world.is_settled(),
        }
    }

    fn outcome(mut self) -> Outcome {
        for index in 0..self.world.nodes.len() {
            if self.world.nodes[index].state != State::Dead {
                self.world.count_traffic(index);
            }
        }
        let early = self.world.ledger.early;
        self.world.tally.add(Seen::Early, early);
        if self.world.setup.prompt {
            self.world.tally.add(Seen::EarlyInTime, early);
        }
        Outcome {
            hash: self.world.trace.hash(),
            tally: self.world.tally,
            broken: self.world.broken,
            lines: self.world.trace.take_lines(),
        }
    }
}
