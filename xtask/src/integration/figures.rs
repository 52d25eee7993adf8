//! Small figures that scenarios print.

use std::fmt;
use std::time::Duration;

use crate::integration::voices::Account;

/// The last of several times, and the longest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Worst {
    pub(crate) last: Duration,
    pub(crate) worst: Duration,
}

impl Worst {
    pub(crate) fn note(&mut self, time: Duration) {
        self.last = time;
        self.worst = self.worst.max(time);
    }
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account {
            said,
            heard,
            told_missing,
        } = self;
        write!(
            out,
            "messages: {said} said, {heard} heard, {told_missing} missing and told"
        )
    }
}
