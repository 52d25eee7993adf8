//! What the HTTP handlers share: handles to the parts of this node.

use std::sync::Arc;

use matryoshka_presence::Presence;
use matryoshka_presence::channel::Sockets;
use matryoshka_presence::channel::pubsub::{NodeName, PubSub};
use matryoshka_presence::channel::transport::{
    LogLimit, LongPolling, OriginPolicy, TrustedProxies,
};
use matryoshka_pubsub_quic::QuicAdapter;

use crate::page::Page;
use crate::readiness::Readiness;
use crate::user::App;

/// Handles to every part. A cheap clone.
#[derive(Clone)]
pub(crate) struct Server {
    /// This node's name.
    pub(crate) name: NodeName,
    /// Topics, on this node and the others.
    pub(crate) pubsub: PubSub,
    /// Who is here.
    pub(crate) presence: Presence,
    /// The sockets, and their connections.
    pub(crate) sockets: Sockets<App>,
    /// The sockets' long-poll sessions.
    pub(crate) long_polling: LongPolling,
    /// The links to other nodes; none when the node stands alone.
    pub(crate) mesh: Option<QuicAdapter>,
    /// The chat page.
    pub(crate) page: Page,
    /// Starting, ready or draining.
    pub(crate) readiness: Readiness,
    /// Whose pages may open sockets and post.
    pub(crate) origins: OriginPolicy,
    /// Who is believed about the scheme that a client used.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Limits the lines on clients that look for a socket where there is none.
    pub(crate) lost_sockets: Arc<LogLimit>,
}
