//! Histories that were shortened while a rule was broken that little else shows. All of them are replayed by the tests, for ever.
//!
//! Stored are the steps, not a seed alone: what a seed stands for changes with the simulator. A step keeps its meaning, and its
//! chance decides the same choices as long as that step asks for them in the same order.
//!
//! Pure: no clock, no I/O, no tasks.

use super::action::{Action, NoAction};

/// A stored history.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Which rule was broken when it failed and was shortened.
    pub shows: &'static str,
    /// Decides settings, weather and what becomes quiet in the end.
    pub seed: u64,
    /// How many nodes it has.
    pub nodes: usize,
    steps: &'static str,
}

impl Stored {
    /// Its steps; [`play`](super::play) runs them.
    ///
    /// # Errors
    ///
    /// For a line that is no step.
    pub fn actions(&self) -> Result<Vec<Action>, NoAction> {
        self.steps.lines().map(str::parse).collect()
    }
}

/// All stored histories.
pub const CORPUS: &[Stored] = &[
    Stored {
        shows: "that a life has ended is ignored when a message of it comes",
        seed: 1038,
        nodes: 4,
        steps: include_str!("corpus/ended_life.txt"),
    },
    Stored {
        shows: "what is held of a tracker outlives that it is heard under a later number",
        seed: 2063,
        nodes: 5,
        steps: include_str!("corpus/held_under_a_former_number.txt"),
    },
    Stored {
        shows: "a copy is shown before it is as far as its node was when the link came up",
        seed: 47,
        nodes: 5,
        steps: include_str!("corpus/shown_too_early.txt"),
    },
    Stored {
        shows: "operations are applied over a gap",
        seed: 2137,
        nodes: 3,
        steps: include_str!("corpus/over_a_gap.txt"),
    },
];
