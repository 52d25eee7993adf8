//! Whether this node wants traffic: starting, ready, draining. Never goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where the node is in its life. Later phases are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not every listener accepts yet, or the first peer's snapshot is awaited.
    Starting,
    /// Clients are welcome.
    Ready,
    /// The node is going away; clients are sent elsewhere.
    Draining,
}

/// The node's phase, shared by all that ask. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// A node that is starting.
    pub(crate) fn starting() -> Self {
        Self(Arc::new(AtomicU8::new(Phase::Starting as u8)))
    }

    /// Moves on to `phase`; a phase that lies behind changes nothing.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// The phase now.
    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_never_undone() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.advance(Phase::Draining);
        readiness.advance(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}
