//! What connections may cost, and for how long one may be silent. Every default stands here once.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use crate::rate::Rate;

/// The largest message from a client unless a carrier's configuration says otherwise: 8,000,000 bytes.
pub const MAX_MESSAGE_BYTES: usize = 8_000_000;

/// Limits of one connection, the same over every carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Limits {
    /// How long a client may take to be connected: the handler's part in it, and the upgrade; default 15 s. Then it is refused
    /// with 503.
    pub handshake_timeout: Duration,
    /// How long the client may send nothing before the connection closes with 1001; default 60 s.
    ///
    /// Any byte from the client counts, nothing the server sends does. Official clients send a heartbeat every 30 s,
    /// and browsers slow hidden pages down to one per minute. A client whose writes to us are held back because the
    /// session is not ready is not idle, as long as it reads what it is sent and the session takes something within the same time.
    pub idle_timeout: Duration,
    /// How long a message may take to come, counted from its first 64 KiB; default 120 s. Then the connection is closed with 1008. Time in
    /// which the session was not ready does not count, as long as the client reads.
    pub message_timeout: Duration,
    /// How long the closing handshake may take before the connection is dropped; default 5 s.
    pub close_timeout: Duration,
    /// How many messages one client may send; default 500 a second, and 1,000 at once. None is no limit. One more is answered by
    /// the session ([`refuse_in`](crate::Session::refuse_in)), and then the connection is closed with 1008. Of a WebSocket, pings, pongs and
    /// pieces of a message below 1 KiB count as messages do; for one of these too many there is no answer before the close.
    pub inbound: Option<Rate>,
    /// How many bytes of messages one client may send; default 1 MiB a second, and 1 MiB at once. None is no limit. Of whoever has sent more nothing
    /// large is read until that is made up for, so that its own network slows it: no message is refused, none is lost, and one always passes whole,
    /// however large. It never waits longer than 20 s between two messages, nor than half of
    /// [`idle_timeout`](Self::idle_timeout): what would take longer is let off, so neither that nor a client's own wait for the answer to a
    /// heartbeat ends one that is only slowed, but by what it has sent ahead of the heartbeat itself. Over long polling a post waits longer than its
    /// [`window`](crate::LongPollConfig::window) for that, but not twice as long: then it is answered 408, and the rest of it is lost. So let as many bytes a
    /// second be read that [`max_body_bytes`](crate::LongPollConfig::max_body_bytes) take less than the window, as they do by default. Messages of a WebSocket up to 1 KiB are read all the same, 16 KiB of them, and so are heartbeats and
    /// its close, unless something larger stands before them.
    pub inbound_bytes: Option<Rate>,
    /// How many bytes may wait in a connection's outbox behind the first frame there; default 1 MiB. A larger frame fits into an
    /// empty outbox. Overflow closes the connection with 1008, or loses what may be dropped ([`WhenSlow`](crate::WhenSlow)).
    /// More than 1 GiB is as 1 GiB.
    pub outbox_bytes: usize,
    /// How many bytes of large frames may wait beside that; default 8,000,000. Of each frame it is what goes beyond
    /// [`LARGE_FRAME_BYTES`](crate::LARGE_FRAME_BYTES): a client that reads is not slow for a few large answers.
    /// More than 1 GiB is as 1 GiB.
    pub outbox_large_bytes: usize,
    /// How many frames and mails may wait in a connection's outbox; default 16,384. Overflow is as that of bytes.
    pub outbox_items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            message_timeout: Duration::from_secs(120),
            close_timeout: Duration::from_secs(5),
            inbound: Rate::per_second(500),
            inbound_bytes: Rate::new(1024 * 1024, 1024 * 1024),
            outbox_bytes: 1024 * 1024,
            outbox_large_bytes: MAX_MESSAGE_BYTES,
            outbox_items: 16_384,
        }
    }
}

impl Limits {
    /// Sets [`handshake_timeout`](Self::handshake_timeout).
    pub fn with_handshake_timeout(mut self, handshake_timeout: Duration) -> Self {
        self.handshake_timeout = handshake_timeout;
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Sets [`message_timeout`](Self::message_timeout).
    pub fn with_message_timeout(mut self, message_timeout: Duration) -> Self {
        self.message_timeout = message_timeout;
        self
    }

    /// Sets [`close_timeout`](Self::close_timeout).
    pub fn with_close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }

    /// Sets [`inbound`](Self::inbound).
    pub fn with_inbound(mut self, inbound: Option<Rate>) -> Self {
        self.inbound = inbound;
        self
    }

    /// Sets [`inbound_bytes`](Self::inbound_bytes).
    pub fn with_inbound_bytes(mut self, inbound_bytes: Option<Rate>) -> Self {
        self.inbound_bytes = inbound_bytes;
        self
    }

    /// Sets [`outbox_bytes`](Self::outbox_bytes).
    pub fn with_outbox_bytes(mut self, outbox_bytes: usize) -> Self {
        self.outbox_bytes = outbox_bytes;
        self
    }

    /// Sets [`outbox_large_bytes`](Self::outbox_large_bytes).
    pub fn with_outbox_large_bytes(mut self, outbox_large_bytes: usize) -> Self {
        self.outbox_large_bytes = outbox_large_bytes;
        self
    }

    /// Sets [`outbox_items`](Self::outbox_items).
    pub fn with_outbox_items(mut self, outbox_items: usize) -> Self {
        self.outbox_items = outbox_items;
        self
    }
}

/// The times that a connection needs for as long as it lives, in a quarter of their room: to the millisecond, and up to 49 days.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    idle: u32,
    message: u32,
    close: u32,
}

impl Times {
    pub(crate) fn of(limits: &Limits) -> Self {
        let millis = |time: Duration| {
            let millis = time.as_nanos().div_ceil(1_000_000);
            u32::try_from(millis).unwrap_or(u32::MAX)
        };
        Self {
            idle: millis(limits.idle_timeout),
            message: millis(limits.message_timeout),
            close: millis(limits.close_timeout),
        }
    }

    pub(crate) fn idle(self) -> Duration {
        Duration::from_millis(self.idle.into())
    }

    pub(crate) fn message(self) -> Duration {
        Duration::from_millis(self.message.into())
    }

    pub(crate) fn close(self) -> Duration {
        Duration::from_millis(self.close.into())
    }
}

/// How many connections there may be at a time, and what they may hold together. None is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct ConnectionLimits {
    /// In all; default 100,000. One more is refused with 503.
    pub max_connections: Option<usize>,
    /// From one address, if the carrier knows it; default 10,000, since many clients may be behind one. One more is refused with
    /// 429. Addresses of IPv6 count by their first 64 bits; loopback is not counted, since what comes from there comes through
    /// a proxy or from a tool.
    pub max_per_address: Option<usize>,
    /// Of one user, if the session knows one ([`Session::user`](crate::Session::user)); default 1,000. One more is refused with 429.
    pub max_per_user: Option<usize>,
    /// What large messages hold that have not come whole, in bytes and of all connections together; default 256 MiB. When it is full one
    /// connection [gives way](crate#who-gives-way): it is closed with 1013.
    ///
    /// A message is large from 64 KiB on. With less than the largest message, none of that size gets in.
    pub max_unfinished_bytes: Option<usize>,
    /// What clients have not read, in bytes and of all connections together; default 512 MiB. When it is full one
    /// connection [gives way](crate#who-gives-way): it ends without a close frame, and what waited for it is let go of.
    ///
    /// Each large frame counts, beyond [`LARGE_FRAME_BYTES`](crate::LARGE_FRAME_BYTES), and of small ones and mails each 64 KiB that wait for one client,
    /// with 64 bytes for each place in its outbox. What a broadcast left with many clients counts once, as far as they took nothing when it came.
    pub max_unread_bytes: Option<usize>,
    /// What sessions keep of messages that they are not done with, in bytes and of all connections together; default 256 MiB. Where it is
    /// more, a connection that keeps 64 KiB or more is [not read](crate#who-gives-way) for a while, and none is closed. What a connection keeps below that counts for nothing.
    ///
    /// A session says it by [`Unhandled`](crate::Unhandled), as those of `matryoshka-channel` do.
    pub max_unhandled_bytes: Option<usize>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: Some(100_000),
            max_per_address: Some(10_000),
            max_per_user: Some(1_000),
            max_unfinished_bytes: Some(256 * 1024 * 1024),
            max_unread_bytes: Some(512 * 1024 * 1024),
            max_unhandled_bytes: Some(256 * 1024 * 1024),
        }
    }
}

impl ConnectionLimits {
    /// Sets [`max_connections`](Self::max_connections).
    pub fn with_max_connections(mut self, most: Option<usize>) -> Self {
        self.max_connections = most;
        self
    }

    /// Sets [`max_per_address`](Self::max_per_address).
    pub fn with_max_per_address(mut self, most: Option<usize>) -> Self {
        self.max_per_address = most;
        self
    }

    /// Sets [`max_per_user`](Self::max_per_user).
    pub fn with_max_per_user(mut self, most: Option<usize>) -> Self {
        self.max_per_user = most;
        self
    }

    /// Sets [`max_unfinished_bytes`](Self::max_unfinished_bytes).
    pub fn with_max_unfinished_bytes(mut self, most: Option<usize>) -> Self {
        self.max_unfinished_bytes = most;
        self
    }

    /// Sets [`max_unread_bytes`](Self::max_unread_bytes).
    pub fn with_max_unread_bytes(mut self, most: Option<usize>) -> Self {
        self.max_unread_bytes = most;
        self
    }

    /// Sets [`max_unhandled_bytes`](Self::max_unhandled_bytes).
    pub fn with_max_unhandled_bytes(mut self, most: Option<usize>) -> Self {
        self.max_unhandled_bytes = most;
        self
    }
}
