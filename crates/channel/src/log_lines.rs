//! How many lines of each kind go into the log: what one client can give cause for, a thousand can at the same time.

use crate::transport::LogLimit;

/// The limits of all connections of a mount together.
#[derive(Debug, Default)]
pub(crate) struct LogLines {
    pub(crate) no_message: LogLimit,
    pub(crate) odd_topic: LogLimit,
    pub(crate) unmatched: LogLimit,
    pub(crate) unusable_id: LogLimit,
    pub(crate) over_limit: LogLimit,
    pub(crate) join_crashed: LogLimit,
    pub(crate) crashed: LogLimit,
    pub(crate) failed: LogLimit,
    pub(crate) panicked: LogLimit,
    pub(crate) when_slow: LogLimit,
    pub(crate) stalled: LogLimit,
    pub(crate) cut_off: LogLimit,
    pub(crate) missed: LogLimit,
    pub(crate) overrun: LogLimit,
    pub(crate) given_way: LogLimit,
    pub(crate) before_answer: LogLimit,
    pub(crate) bad_token: LogLimit,
    pub(crate) answered_error: LogLimit,
    pub(crate) misfit: LogLimit,
}
