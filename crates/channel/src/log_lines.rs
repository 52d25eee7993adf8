//! How many lines of each kind go into the log: what one client can give cause for, a thousand can at the same time.

use crate::transport::LogLimit;

/// The limits of all connections of a mount together.
#[derive(Debug, Default)]
pub(crate) struct LogLines {
    pub(crate) no_message: Line,
    pub(crate) odd_topic: Line,
    pub(crate) unmatched: Line,
    pub(crate) unusable_id: Line,
    pub(crate) over_limit: Line,
    pub(crate) join_crashed: Line,
    pub(crate) crashed: Line,
    pub(crate) failed: Line,
    pub(crate) panicked: Line,
    pub(crate) when_slow: Line,
    pub(crate) stalled: Line,
    pub(crate) cut_off: Line,
    pub(crate) missed: Line,
    pub(crate) overrun: Line,
    pub(crate) given_way: Line,
    pub(crate) before_answer: Line,
    pub(crate) bad_token: Line,
    pub(crate) answered_error: Line,
    pub(crate) misfit: Line,
}

/// The limit of one kind.
#[derive(Debug, Default)]
pub(crate) struct Line(LogLimit);

impl Line {
    /// Whether a line may be written now, and then how many were left out since the last one.
    pub(crate) fn pass(&self) -> Option<u64> {
        self.0.pass(tokio::time::Instant::now().into_std())
    }
}
