//! What long polling has done, as numbers.

use crate::stats::Counter;

/// A snapshot of the counters of a [`LongPolling`](crate::LongPolling): sessions now, and the rest since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LongPollStats {
    /// Sessions on this node now.
    pub sessions: usize,
    /// Sessions opened.
    pub opened: u64,
    /// Clients that found all sessions in use.
    pub full: u64,
    /// Clients whose address had as many sessions as it may
    /// ([`max_sessions_per_address`](crate::LongPollConfig::max_sessions_per_address)).
    pub full_address: u64,
    /// Posts that were refused since too many bytes of posts were here already
    /// ([`max_posted_bytes`](crate::LongPollConfig::max_posted_bytes), [`max_forwarded_bytes`](crate::LongPollConfig::max_forwarded_bytes)), or
    /// too many requests were under way between nodes ([`max_forwarded`](crate::LongPollConfig::max_forwarded)).
    pub posts_refused: u64,
    /// Requests of clients whose session is on another node, and was asked for there.
    pub forwarded: u64,
    /// Of these, those that found no session there, or no answer in time.
    pub forwarded_in_vain: u64,
    /// Requests of other nodes for sessions of this one.
    pub served: u64,
    /// Binary frames that were dropped, since no client of long polling can read them.
    pub binary_dropped: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opened: Counter,
    pub(super) full: Counter,
    pub(super) full_address: Counter,
    pub(super) posts_refused: Counter,
    pub(super) forwarded: Counter,
    pub(super) forwarded_in_vain: Counter,
    pub(super) served: Counter,
    pub(super) binary_dropped: Counter,
}

impl Counters {
    pub(super) fn snapshot(&self, sessions: usize) -> LongPollStats {
        LongPollStats {
            sessions,
            opened: self.opened.get(),
            full: self.full.get(),
            full_address: self.full_address.get(),
            posts_refused: self.posts_refused.get(),
            forwarded: self.forwarded.get(),
            forwarded_in_vain: self.forwarded_in_vain.get(),
            served: self.served.get(),
            binary_dropped: self.binary_dropped.get(),
        }
    }
}
