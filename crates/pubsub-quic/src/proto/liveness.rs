//! Is the other side alive: silence, measured only while this node was listening.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::{Duration, Instant};

/// How often the machine wants to be ticked.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// How often a node says that it is there.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(700);
/// The silence after which a node is suspected.
pub(crate) const SUSPECT_AFTER: Duration = Duration::from_millis(1500);
/// The silence after which a node counts as gone.
pub(crate) const DOWN_AFTER: Duration = Duration::from_millis(2500);
/// A tick that comes later than this after the one before means that this node itself stood still. What the
/// others sent meanwhile is still to be read, so that time is nobody's silence.
const STOOD_STILL: Duration = Duration::from_millis(500);

/// How much of the passing time this node was listening.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    last: Option<Instant>,
}

impl Attention {
    /// The time since the last tick that may be counted as silence.
    pub(crate) fn tick(&mut self, now: Instant) -> Duration {
        let passed = match self.last.replace(now) {
            Some(last) => now.saturating_duration_since(last),
            None => Duration::ZERO,
        };
        if passed > STOOD_STILL {
            Duration::ZERO
        } else {
            passed
        }
    }
}

/// What silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing new.
    Unchanged,
    /// Quiet for so long that one should look out.
    Suspect,
    /// Quiet for so long that it counts as dead.
    Down,
}

/// One link's silence.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    silence: Duration,
    /// Something arrived since the last time that was listened: how late in it is not known.
    heard: bool,
    suspect: bool,
}

impl Liveness {
    /// Something arrived. True if the link was suspected until now.
    pub(crate) fn heard(&mut self) -> bool {
        self.silence = Duration::ZERO;
        self.heard = true;
        std::mem::take(&mut self.suspect)
    }

    /// Whether something arrived since [`silent`](Self::silent) was called last.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard
    }

    /// Whether it has been silent for so long that it counts as gone.
    pub(crate) fn is_down(&self) -> bool {
        self.silence >= DOWN_AFTER
    }

    /// So much more listening is over. In which something was heard, that is no silence, however long it was: ticks may be late.
    pub(crate) fn silent(&mut self, listened: Duration) -> Verdict {
        if std::mem::take(&mut self.heard) {
            return Verdict::Unchanged;
        }
        self.silence += listened;
        if self.silence >= DOWN_AFTER {
            Verdict::Down
        } else if self.silence >= SUSPECT_AFTER && !std::mem::replace(&mut self.suspect, true) {
            Verdict::Suspect
        } else {
            Verdict::Unchanged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_suspect_once_and_then_down() {
        let mut link = Liveness::default();
        let verdicts: Vec<Verdict> = (0..25).map(|_| link.silent(TICK)).collect();
        let suspect = verdicts.iter().position(|v| *v == Verdict::Suspect);
        let down = verdicts.iter().position(|v| *v == Verdict::Down);
        assert_eq!((suspect, down), (Some(14), Some(24)));
        assert!(link.heard());
        assert!(!link.heard());
        assert_eq!(link.silent(TICK), Verdict::Unchanged);
    }

    #[test]
    fn a_late_tick_in_whose_time_something_came_is_no_silence() {
        let mut link = Liveness::default();
        link.heard();
        assert_eq!(link.silent(STOOD_STILL), Verdict::Unchanged);
        let quiet = (DOWN_AFTER - TICK).as_millis() / TICK.as_millis();
        for _ in 0..quiet {
            assert_ne!(link.silent(TICK), Verdict::Down);
        }
        assert_eq!(link.silent(TICK), Verdict::Down);
    }

    #[test]
    fn i30_two_lost_heartbeats_in_a_row_kill_nobody() {
        let mut link = Liveness::default();
        let mut quiet = Duration::ZERO;
        while quiet < 3 * HEARTBEAT + TICK {
            assert_ne!(link.silent(TICK), Verdict::Down);
            quiet += TICK;
        }
    }

    #[test]
    fn time_in_which_this_node_stood_still_is_nobodys_silence() {
        let mut attention = Attention::default();
        let start = Instant::now();
        assert_eq!(attention.tick(start), Duration::ZERO);
        assert_eq!(attention.tick(start + TICK), TICK);
        let after_a_pause = start + Duration::from_secs(30);
        assert_eq!(attention.tick(after_a_pause), Duration::ZERO);
        assert_eq!(attention.tick(after_a_pause + TICK), TICK);
    }
}
