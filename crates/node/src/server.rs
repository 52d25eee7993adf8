//! The parts of this node, and the handles to them that the HTTP handlers share.

use std::sync::Arc;

use matryoshka_presence::Presence;
use matryoshka_presence::channel::Sockets;
use matryoshka_presence::channel::pubsub::{NodeName, PubSub};
use matryoshka_presence::channel::transport::{
    LogLimit, LongPolling, OriginPolicy, TrustedProxies,
};
use matryoshka_pubsub_quic::QuicAdapter;

use crate::flags::Flags;
use crate::page::Page;
use crate::readiness::Readiness;
use crate::user::{self, App};

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

impl Server {
    /// All parts, as the flags have them, on the links to other nodes if there are any.
    pub(crate) fn assemble(flags: &Flags, page: Page, mesh: Option<QuicAdapter>) -> Self {
        let pubsub = match &mesh {
            Some(mesh) => PubSub::with(mesh.clone()),
            None => PubSub::local(),
        };
        let presence = Presence::start(&pubsub, flags.presence.config())
            .expect("all was checked with the flags, and no other presence is here");
        let long_polling = LongPolling::with_config(&pubsub, flags.limits.long_polling())
            .expect("nothing else of this node uses long polling's name");
        Self {
            name: flags.name.clone(),
            sockets: user::sockets(&pubsub, &presence, flags.sockets(&long_polling)),
            long_polling,
            pubsub,
            presence,
            mesh,
            page,
            readiness: Readiness::starting(),
            origins: flags.origins.policy(),
            trusted_proxies: flags.trusted_proxies(),
            lost_sockets: Arc::new(LogLimit::of("no socket at this path")),
        }
    }
}
