//! What can be set about sockets and their channels.

use std::time::Duration;

use crate::inbox::Bound;
use crate::transport::{HttpConfig, LONGPOLL, Rate};

/// How long a join waits for the channel that it replaces to be gone: 5 seconds. A channel that blocks its thread
/// longer than that runs beside its successor until it returns. One whose client had left works off what came before the leave in that time;
/// then it is cut off where it waits, and has as long again for its `terminate` and its [leave hooks](crate::LeaveHook).
pub const REPLACED_CHANNEL_WAIT: Duration = Duration::from_secs(5);

/// The settings of [`Sockets`](crate::Sockets).
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct SocketsConfig {
    /// How many topics one connection may have joined at a time; default 100. One more join gets the error reply
    /// `too many channels joined`. A client that connects again joins all of its topics at once, so raise [`joins`](Self::joins) with it.
    pub max_channels: usize,
    /// How many joins one client may send; default 50 a second, and 200 at once. None is no limit. One more gets the error reply
    /// `too many joins`, and then the connection is closed with 1008. Messages of all kinds have a limit of their own,
    /// [`Limits::inbound`](crate::transport::Limits::inbound).
    pub joins: Option<Rate>,
    /// How many messages of its client wait for one channel, and how many from elsewhere; default 1,024 each. When its client's are too
    /// many, no further frame is read from this client until there is room. What comes from elsewhere is dropped then and counted, and
    /// nobody misses it without knowing: whoever sends to a [`Mailbox`](crate::Mailbox) is told, for a broadcast that is
    /// [intercepted](crate::Channel::INTERCEPT) the channel ends, and [`handle_lagged`](crate::Channel::handle_lagged) is called for messages of
    /// subscribed topics.
    pub inbox_messages: usize,
    /// The same in bytes of payload, event and ref; default 4 MiB each. Of what is sent to a [`Mailbox`](crate::Mailbox) nobody knows the
    /// size: each counts 64 bytes, and more only if its sender says so ([`send_sized`](crate::Mailbox::send_sized)).
    pub inbox_bytes: usize,
    /// How many bytes of one client's messages may be in the inboxes of all its channels, at work there, and in joins that are not
    /// answered, their answers included while those have no room to be sent; default 8 MiB. When it is more, no further frame is read from this
    /// client until it is less. One message is never too much by itself, as large as it may be.
    pub waiting_bytes: usize,
    /// How long nothing may be read from a client because a channel of its has no room for what it sent, or all of them together hold more
    /// than [`waiting_bytes`](Self::waiting_bytes); default 20 seconds.
    ///
    /// Then the channel in the way ends where it stands, without its `terminate` unless its client had left it: the one that has no room, or
    /// holds most, or is the oldest join for which others of its topic wait ([`MAX_SUPERSEDED_JOINS`](crate::MAX_SUPERSEDED_JOINS)). What waits
    /// for it is answered with `error`, its client gets `phx_error` (or the error reply `join crashed`), and the connection's other channels
    /// and its heartbeats go on. A client that does not read is not helped by that, and waits on.
    ///
    /// It is at least a millisecond, and at most half of [`idle_timeout`](crate::transport::Limits::idle_timeout), or over long polling of
    /// [`window`](crate::transport::LongPollConfig::window): beyond it a post is answered 408, and official clients drop the connection with
    /// all its channels.
    pub stall_timeout: Duration,
    /// How long a channel's [`terminate`](crate::Channel::terminate) may take; default 5 seconds. Beyond, it is dropped where it waits, and
    /// what follows it goes on: the client of a channel that crashed is told so.
    ///
    /// As long may a channel go on whose connection has ended, with its join, with the callback that it runs and with what waits for it, and
    /// then comes its `terminate`.
    pub terminate_timeout: Duration,
    /// How long a callback may keep its thread, between two `.await`s that wait, before the log warns of it; default 100
    /// milliseconds. Meanwhile nothing else runs on that thread, other clients' channels included.
    ///
    /// It is told once: while the callback still has the thread, at the latest after twice the time or a second more, or when it gives the
    /// thread back before that. What is read for it from its client's message, by `Deserialize`, counts as part of it. A thread of each
    /// mount's own looks after that, from its first channel on; beyond 24 days there is none.
    pub blocking_warning: Duration,
    /// The carrier: origins, timeouts, sizes.
    pub http: HttpConfig,
}

impl SocketsConfig {
    /// Sets [`max_channels`](Self::max_channels).
    pub fn with_max_channels(mut self, most: usize) -> Self {
        self.max_channels = most;
        self
    }

    /// Sets [`joins`](Self::joins).
    pub fn with_joins(mut self, rate: Option<Rate>) -> Self {
        self.joins = rate;
        self
    }

    /// Sets [`inbox_messages`](Self::inbox_messages).
    pub fn with_inbox_messages(mut self, most: usize) -> Self {
        self.inbox_messages = most;
        self
    }

    /// Sets [`inbox_bytes`](Self::inbox_bytes).
    pub fn with_inbox_bytes(mut self, most: usize) -> Self {
        self.inbox_bytes = most;
        self
    }

    /// Sets [`waiting_bytes`](Self::waiting_bytes).
    pub fn with_waiting_bytes(mut self, most: usize) -> Self {
        self.waiting_bytes = most;
        self
    }

    /// Sets [`stall_timeout`](Self::stall_timeout).
    pub fn with_stall_timeout(mut self, time: Duration) -> Self {
        self.stall_timeout = time;
        self
    }

    /// Sets [`terminate_timeout`](Self::terminate_timeout).
    pub fn with_terminate_timeout(mut self, time: Duration) -> Self {
        self.terminate_timeout = time;
        self
    }

    /// Sets [`blocking_warning`](Self::blocking_warning).
    pub fn with_blocking_warning(mut self, time: Duration) -> Self {
        self.blocking_warning = time;
        self
    }

    /// Sets [`http`](Self::http).
    pub fn with_http(mut self, http: HttpConfig) -> Self {
        self.http = http;
        self
    }

    /// Tells of what would keep a client out that does what it may.
    pub(crate) fn warn(&self) {
        let Some(rate) = self.joins else { return };
        if (rate.at_once() as usize) < self.max_channels {
            tracing::warn!(
                max_channels = self.max_channels,
                joins_at_once = rate.at_once(),
                "SocketsConfig::joins lets fewer joins through at once than max_channels: a client that joins as many topics when it \
                 connects again is closed each time; raise joins as well"
            );
        }
    }

    /// How long a connection over that carrier stalls before a channel ends for it.
    pub(crate) fn stall(&self, transport: &str) -> Duration {
        let polling = self.http.long_polling.as_ref();
        let polling = polling.filter(|_| transport == LONGPOLL);
        // Official clients drop the connection at the first post that is late.
        let limit = polling.map_or(self.http.limits.idle_timeout, |polling| {
            polling.config().window
        });
        // One that asks again in no time would do nothing else.
        self.stall_timeout
            .min(limit / 2)
            .max(Duration::from_millis(1))
    }

    pub(crate) fn inbox(&self) -> Bound {
        Bound {
            messages: self.inbox_messages,
            bytes: self.inbox_bytes,
        }
    }
}

impl Default for SocketsConfig {
    fn default() -> Self {
        Self {
            max_channels: 100,
            joins: Rate::new(50, 200),
            inbox_messages: 1024,
            inbox_bytes: 4 * 1024 * 1024,
            waiting_bytes: 8 * 1024 * 1024,
            stall_timeout: Duration::from_secs(20),
            terminate_timeout: Duration::from_secs(5),
            blocking_warning: Duration::from_millis(100),
            http: HttpConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_in_the_way_always_has_some_time() {
        let mut config = SocketsConfig::default();
        config.http.limits.idle_timeout = Duration::from_nanos(1);
        assert_eq!(config.stall("websocket"), Duration::from_millis(1));
    }
}
