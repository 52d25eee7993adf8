//! What happened, as a hash that two runs of one seed share, and as lines for whoever replays it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(super) struct Trace {
    /// Its keys are fixed.
    hash: DefaultHasher,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// One that keeps the lines too, if they are to be read.
    pub(super) fn new(readable: bool) -> Self {
        Self {
            hash: DefaultHasher::new(),
            lines: readable.then(Vec::new),
        }
    }

    /// `what` happened to `node` at `now`.
    pub(super) fn note(&mut self, now: Duration, node: usize, what: &(impl Hash + Debug)) {
        (now, node).hash(&mut self.hash);
        what.hash(&mut self.hash);
        if let Some(lines) = &mut self.lines {
            let seconds = now.as_secs_f64();
            lines.push(format!("{seconds:>10.4} #{node:<2} {what:?}"));
        }
    }

    /// Something that only a reader wants.
    pub(super) fn remark(&mut self, now: Duration, node: usize, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let seconds = now.as_secs_f64();
            lines.push(format!("{seconds:>10.4} #{node:<2}   {}", what()));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
