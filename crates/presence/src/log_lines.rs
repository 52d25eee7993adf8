//! How many lines of each kind go into the log: whoever joins many topics gives cause for many.

use matryoshka_channel::transport::LogLimit;

/// The limits of one presence.
#[derive(Debug)]
pub(crate) struct LogLines {
    pub(crate) fell_behind: LogLimit,
    pub(crate) not_fetched: LogLimit,
    pub(crate) not_sent: LogLimit,
    pub(crate) panicked: LogLimit,
    pub(crate) unfit: LogLimit,
}

impl Default for LogLines {
    fn default() -> Self {
        Self {
            fell_behind: LogLimit::of("presence fell_behind"),
            not_fetched: LogLimit::of("presence not_fetched"),
            not_sent: LogLimit::of("presence not_sent"),
            panicked: LogLimit::of("presence panicked"),
            unfit: LogLimit::of("presence unfit"),
        }
    }
}
