//! What can be set about sockets and their channels.

use std::time::Duration;

use crate::pubsub::mailbox::{Bound, Overflow};
use crate::transport::{HttpConfig, Rate};

/// How long a join waits for the channel that it replaces to be gone: 5 seconds. A channel that blocks its thread
/// longer than that runs beside its successor until it returns.
pub const REPLACED_CHANNEL_WAIT: Duration = Duration::from_secs(5);

/// The settings of [`Sockets`](crate::Sockets).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketsConfig {
    /// How many topics one connection may have joined at a time; default 100. One more join gets the error reply
    /// `too many channels joined`.
    pub max_channels: usize,
    /// How many joins one client may send; default 50 a second, and 200 at once. None is no limit. One more gets the error reply
    /// `too many joins`, and then the connection is closed with 1008. Messages of all kinds have a limit of their own,
    /// [`Limits::inbound`](crate::transport::Limits::inbound).
    pub joins: Option<Rate>,
    /// How many messages wait for one channel; default 1,024. When it is full, no further frame is read from this
    /// client until there is room; intercepted broadcasts and messages from [`Mailbox`](crate::Mailbox)es are dropped
    /// and counted.
    pub inbox_messages: usize,
    /// The same in bytes of payload, event and ref; default 4 MiB.
    pub inbox_bytes: usize,
    /// How long a callback may keep its thread, between two `.await`s that wait, before the log warns of it; default 100
    /// milliseconds. Meanwhile nothing else runs on that thread, other clients' channels included. It is told once: while the callback
    /// still has the thread, at the latest after twice the time or a second more, or when it gives the thread back before that.
    /// What is read for it from its client's message, by `Deserialize`, counts as part of it. A thread of each mount's own looks after that,
    /// from its first channel on; beyond 24 days there is none.
    pub blocking_warning: Duration,
    /// The carrier: origins, timeouts, sizes.
    pub http: HttpConfig,
}

impl SocketsConfig {
    pub(crate) fn inbox(&self) -> Bound {
        Bound {
            messages: self.inbox_messages,
            bytes: self.inbox_bytes,
            overflow: Overflow::DropNewest,
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
            blocking_warning: Duration::from_millis(100),
            http: HttpConfig::default(),
        }
    }
}
