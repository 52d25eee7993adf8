//! Two nodes that bear one name: which of them is believed, and what the other does.
//!
//! The later life wins, since it is the node that was started last. A clock set back must not lock a restarted node out, and
//! two nodes with one name must not take turns: hence the refused one asks on for a short while, and then either finds the
//! other gone and numbers itself above it, or leaves.
//! Pure: no clock, no I/O, no tasks.

use std::time::{Duration, Instant};

use crate::Incarnation;

/// What a node answers to a hello of a certain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Take the link. An older incarnation of that name, or an older link of this one, is down now.
    Accept,
    /// Close it, and say so: that name has a later life.
    Refuse(Refusal),
}

/// Whether the later life of a name lives, as far as the node knows that refuses the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alive {
    /// There is a link to it, and it is heard.
    Yes,
    /// It said that it goes, or was silent for so long that it is down.
    No,
    /// Its link is in doubt, or ended a moment ago for another reason: it may be back at once.
    Unsure,
}

/// What a refused node is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The later incarnation known under its name.
    pub newest: Incarnation,
    /// Whether that one lives.
    pub alive: Alive,
}

/// Whether a hello that offers `offered` is believed, given the latest incarnation `known` under that name and whether it is
/// `alive`. An equal incarnation is the same life, on a new link.
pub fn accept(known: Option<Incarnation>, alive: Alive, offered: Incarnation) -> Acceptance {
    match known {
        Some(newest) if newest > offered => Acceptance::Refuse(Refusal { newest, alive }),
        _ => Acceptance::Accept,
    }
}

/// What a refused node does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take this incarnation, and say hello again.
    Renumber(Incarnation),
    /// Say hello again, soon: the other may be dying.
    AskAgain,
    /// Leave the cluster and do not dial again: another node lives under this name.
    Leave,
}

/// A refused node's patience.
#[derive(Clone, Debug)]
pub struct Renumbering {
    own: Incarnation,
    /// When it was first said that the other lives, of refusals that came one soon after another.
    alive_since: Option<Instant>,
    /// When that was said last.
    alive_at: Option<Instant>,
    refused_at: Option<Instant>,
}

impl Renumbering {
    /// How long a refused node asks on while the other is up.
    pub const PATIENCE: Duration = Duration::from_secs(5);
    /// So long after one peer said that the other lives, it is not believed of another peer that it is gone: between those two
    /// only the link may be gone. Longer than a refused node takes to ask the same peer again.
    pub const CONTRADICTED: Duration = Duration::from_millis(1_500);

    /// Refusals further apart than this have nothing to do with each other: a refused node asks each second. One that was paused
    /// reads what was said before, and must not leave for it.
    pub const FORGOTTEN: Duration = Duration::from_secs(3);

    /// Of a node that has not been refused.
    pub fn new(own: Incarnation) -> Self {
        Self {
            own,
            alive_since: None,
            alive_at: None,
            refused_at: None,
        }
    }

    /// The incarnation to offer.
    pub fn own(&self) -> Incarnation {
        self.own
    }

    /// A peer refused our hello at `now`. That others accept it says nothing: they have not heard of the later life.
    pub fn handle_refusal(&mut self, refusal: Refusal, now: Instant) -> Step {
        if refusal.newest < self.own {
            return Step::AskAgain;
        }
        let passed = |since: Instant| now.saturating_duration_since(since);
        if self
            .refused_at
            .is_none_or(|at| passed(at) > Self::FORGOTTEN)
        {
            (self.alive_since, self.alive_at) = (None, None);
        }
        self.refused_at = Some(now);
        match refusal.alive {
            Alive::Unsure => Step::AskAgain,
            Alive::No
                if self
                    .alive_at
                    .is_some_and(|at| passed(at) < Self::CONTRADICTED) =>
            {
                Step::AskAgain
            }
            Alive::No => {
                *self = Self::new(refusal.newest.next());
                Step::Renumber(self.own)
            }
            Alive::Yes => {
                self.alive_at = Some(now);
                match passed(*self.alive_since.get_or_insert(now)) {
                    waited if waited < Self::PATIENCE => Step::AskAgain,
                    _ => Step::Leave,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
