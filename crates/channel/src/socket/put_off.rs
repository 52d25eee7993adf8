//! What a channel's callbacks leave for later.

use std::sync::Arc;

use bytestring::ByteString;
use tokio::time::Instant;

use crate::PayloadError;
use crate::channel::LeaveHook;
use crate::fastlane::Lane;
use crate::inbox::Info;
use crate::timers::Timers;
use crate::transport::Payload;

/// What is to be done later; boxed, since most channels have nothing most of the time.
#[derive(Default)]
pub(super) struct PutOff {
    /// Nothing to be done, but here it takes no room where there was none.
    pub(super) earlier_join_ended: Option<Instant>,
    pub(super) join_reply: Option<Result<Payload, PayloadError>>,
    pub(super) after_join: Vec<Info>,
    /// Events whose broadcasts wait for that; taken when the join is accepted.
    pub(super) held_events: Vec<ByteString>,
    /// What holds them from then on.
    pub(super) holding: Option<Arc<Lane>>,
    pub(super) leave_hooks: Vec<Arc<dyn LeaveHook>>,
    pub(super) timers: Timers,
}

impl PutOff {
    pub(super) fn is_done(&self) -> bool {
        self.earlier_join_ended.is_none()
            && self.holding.is_none()
            && self.leave_hooks.is_empty()
            && self.timers.are_unused()
    }
}
