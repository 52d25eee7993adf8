//! How many lines of each kind go into the log: what one client can give cause for, a thousand can at the same time.

use crate::transport::LogLimit;

/// The limits of all connections of a mount together.
#[derive(Debug)]
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
    pub(crate) bad_order: LogLimit,
}

impl Default for LogLines {
    fn default() -> Self {
        Self {
            no_message: LogLimit::of("channel no_message"),
            odd_topic: LogLimit::of("channel odd_topic"),
            unmatched: LogLimit::of("channel unmatched"),
            unusable_id: LogLimit::of("channel unusable_id"),
            over_limit: LogLimit::of("channel over_limit"),
            join_crashed: LogLimit::of("channel join_crashed"),
            crashed: LogLimit::of("channel crashed"),
            failed: LogLimit::of("channel failed"),
            panicked: LogLimit::of("channel panicked"),
            when_slow: LogLimit::of("channel when_slow"),
            stalled: LogLimit::of("channel stalled"),
            cut_off: LogLimit::of("channel cut_off"),
            missed: LogLimit::of("channel missed"),
            overrun: LogLimit::of("channel overrun"),
            given_way: LogLimit::of("channel given_way"),
            before_answer: LogLimit::of("channel before_answer"),
            bad_token: LogLimit::of("channel bad_token"),
            answered_error: LogLimit::of("channel answered_error"),
            misfit: LogLimit::of("channel misfit"),
            bad_order: LogLimit::of("channel bad_order"),
        }
    }
}
