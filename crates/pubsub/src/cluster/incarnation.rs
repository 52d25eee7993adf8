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

/// What a refused node is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The later incarnation known under its name.
    pub newest: Incarnation,
    /// Whether there is a link to that one now.
    pub up: bool,
}

/// Whether a hello that offers `offered` is believed, given the latest incarnation `known` under that name and whether it is
/// `up` now. An equal incarnation is the same life, on a new link.
pub fn accept(known: Option<Incarnation>, up: bool, offered: Incarnation) -> Acceptance {
    match known {
        Some(newest) if newest > offered => Acceptance::Refuse(Refusal { newest, up }),
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
    first_refused: Option<Instant>,
}

impl Renumbering {
    /// How long a refused node asks on while the other is up.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Of a node that has not been refused.
    pub fn new(own: Incarnation) -> Self {
        Self {
            own,
            first_refused: None,
        }
    }

    /// The incarnation to offer.
    pub fn own(&self) -> Incarnation {
        self.own
    }

    /// A peer refused our hello at `now`.
    pub fn handle_refusal(&mut self, refusal: Refusal, now: Instant) -> Step {
        if refusal.newest < self.own {
            return Step::AskAgain;
        }
        if !refusal.up {
            self.own = refusal.newest.next();
            self.first_refused = None;
            return Step::Renumber(self.own);
        }
        let since = *self.first_refused.get_or_insert(now);
        match now.saturating_duration_since(since) {
            waited if waited < Self::PATIENCE => Step::AskAgain,
            _ => Step::Leave,
        }
    }

    /// A peer accepted our hello.
    pub fn handle_accepted(&mut self) {
        self.first_refused = None;
    }
}

#[cfg(test)]
mod tests;
