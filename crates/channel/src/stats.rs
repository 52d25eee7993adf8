//! What the sockets of one service have done, as numbers.

use std::time::Duration;

use crate::log_lines::LogLines;
use crate::transport::Counter;

/// A snapshot of the counters of [`Sockets`](crate::Sockets), all since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were accepted.
    pub connected: u64,
    /// Connections that ended, whatever the reason, after they were accepted.
    pub disconnected: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Frames that were no message and closed their connection.
    pub malformed_frames: u64,
    /// Channels started, which is joins that had a route.
    pub joins: u64,
    /// Joins that closed their connection, being more than [`joins`](crate::SocketsConfig::joins) allows.
    pub joins_over_rate: u64,
    /// Channels whose join was accepted.
    pub joined: u64,
    /// Channels that ended, whatever the reason, after their join was accepted.
    pub ended: u64,
    /// Callbacks that panicked, failed, or were sent what they cannot read.
    pub crashes: u64,
    /// Times that a callback kept its thread longer than
    /// [`SocketsConfig::blocking_warning`](crate::SocketsConfig::blocking_warning).
    pub blocking: u64,
    /// Messages that wait in the inboxes of channels, now.
    pub inbox_waiting: u64,
    /// Intercepted broadcasts and other messages that were dropped because a channel's inbox was full, and broadcasts because too
    /// much waited for the answer to a join.
    pub inbox_dropped: u64,
    /// Deliveries of a broadcast that a client's version of the wire cannot carry.
    pub unencodable: u64,
    /// How long callbacks took, from their call to their end, with what was read for them from their client's message.
    pub handler_time: HandlerTime,
}

/// How long callbacks took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerTime {
    /// How many took up to each of [`BOUNDS`](Self::BOUNDS) and longer than the one before; the last, longer than all.
    pub counts: [u64; HandlerTime::BOUNDS.len() + 1],
    /// All of it together.
    pub total: Duration,
}

impl HandlerTime {
    /// The upper bounds of [`counts`](Self::counts).
    pub const BOUNDS: [Duration; 6] = [
        Duration::from_micros(10),
        Duration::from_micros(100),
        Duration::from_millis(1),
        Duration::from_millis(10),
        Duration::from_millis(100),
        Duration::from_secs(1),
    ];
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// How often the log may tell of what they count.
    pub(crate) lines: LogLines,
    pub(crate) connected: Counter,
    pub(crate) disconnected: Counter,
    pub(crate) malformed_frames: Counter,
    pub(crate) joins: Counter,
    pub(crate) joins_over_rate: Counter,
    pub(crate) joined: Counter,
    pub(crate) ended: Counter,
    pub(crate) crashes: Counter,
    pub(crate) blocking: Counter,
    pub(crate) inbox_dropped: Counter,
    pub(crate) unencodable: Counter,
    // Each message touches these, which is why they stand together.
    pub(crate) messages_in: Counter,
    pub(crate) inbox_in: Counter,
    pub(crate) inbox_out: Counter,
    pub(crate) handler_time: Stopwatch,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        // In this order: what goes out in between has come in before.
        let inbox_out = self.inbox_out.get();
        let inbox_waiting = self.inbox_in.get().saturating_sub(inbox_out);
        Stats {
            connected: self.connected.get(),
            disconnected: self.disconnected.get(),
            messages_in: self.messages_in.get(),
            malformed_frames: self.malformed_frames.get(),
            joins: self.joins.get(),
            joins_over_rate: self.joins_over_rate.get(),
            joined: self.joined.get(),
            ended: self.ended.get(),
            crashes: self.crashes.get(),
            blocking: self.blocking.get(),
            inbox_waiting,
            inbox_dropped: self.inbox_dropped.get(),
            unencodable: self.unencodable.get(),
            handler_time: self.handler_time.get(),
        }
    }
}

/// Adds up [`HandlerTime`].
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    nanos: Counter,
    counts: [Counter; HandlerTime::BOUNDS.len() + 1],
}

impl Stopwatch {
    pub(crate) fn add(&self, took: Duration) {
        let longer = HandlerTime::BOUNDS.iter().filter(|bound| took > **bound);
        self.counts[longer.count()].add_one();
        self.nanos
            .add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn get(&self) -> HandlerTime {
        HandlerTime {
            counts: std::array::from_fn(|index| self.counts[index].get()),
            total: Duration::from_nanos(self.nanos.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_counted_under_the_first_bound_that_holds_it() {
        let watch = Stopwatch::default();
        for micros in [0, 10, 11, 100, 2_000_000] {
            watch.add(Duration::from_micros(micros));
        }
        let time = watch.get();
        assert_eq!(time.counts, [2, 2, 0, 0, 0, 0, 1]);
        assert_eq!(time.total, Duration::from_micros(2_000_121));
    }
}
