//! What one connection may cost, and for how long it may be silent. Every default stands here once.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

/// The largest message from a client unless a carrier's configuration says otherwise: 8,000,000 bytes.
pub const MAX_MESSAGE_BYTES: usize = 8_000_000;

/// Limits of one connection, the same over every carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long the client may send nothing before the connection closes with 1001; default 60 s.
    ///
    /// Any byte from the client counts, nothing the server sends does. Official clients send a heartbeat every 30 s,
    /// and browsers slow hidden pages down to one per minute. A client whose writes to us are held back because the
    /// session is not ready is not idle, as long as it reads what it is sent.
    pub idle_timeout: Duration,
    /// How long the closing handshake may take before the connection is dropped; default 5 s.
    pub close_timeout: Duration,
    /// How many bytes of frames may wait in a connection's outbox; default 1 MiB. A frame larger than that fits
    /// into an empty outbox. Overflow closes the connection with 1008.
    pub outbox_bytes: usize,
    /// How many frames and mails may wait in a connection's outbox; default 16,384. Overflow closes the connection
    /// with 1008.
    pub outbox_items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            outbox_bytes: 1024 * 1024,
            outbox_items: 16_384,
        }
    }
}

impl Limits {
    /// Sets [`idle_timeout`](Self::idle_timeout).
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Sets [`close_timeout`](Self::close_timeout).
    pub fn with_close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }

    /// Sets [`outbox_bytes`](Self::outbox_bytes) and [`outbox_items`](Self::outbox_items).
    pub fn with_outbox(mut self, bytes: usize, items: usize) -> Self {
        self.outbox_bytes = bytes;
        self.outbox_items = items;
        self
    }
}
