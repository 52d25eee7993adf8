//! Everything that the connections of one [`Sockets`](crate::Sockets) share, and how a connection begins.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use bytestring::ByteString;
use futures::future::BoxFuture;
use tracing::Instrument;

use crate::assigns::Assigns;
use crate::backlog::Backlog;
use crate::by_id::ById;
use crate::config::SocketsConfig;
use crate::expiry::Expiry;
use crate::link::{Link, Mail};
use crate::pubsub::{PubSub, SinkSubscription};
use crate::router::Router;
use crate::server::Route;
use crate::session::SocketSession;
use crate::spans::{kept, socket_span};
use crate::stats::Counters;
use crate::transport::{ConnectInfo, Handler, Outbox, Rejection};
use crate::watch::Watch;
use matryoshka_transport::excerpt;

/// What a connection is known by and hands to its channels; the good answer of
/// [`on_connect`](crate::Sockets::on_connect).
#[derive(Clone, Debug, Default)]
pub struct Connected {
    id: Option<ByteString>,
    assigns: Assigns,
    expires_at: Option<SystemTime>,
}

impl Connected {
    /// A connection without an id and without assigns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the connection an id, by which [`disconnect`](crate::disconnect) finds it. Many may share one, such as all of one user's, up to
    /// [`max_per_user`](crate::transport::ConnectionLimits::max_per_user), 1,000 on each node: one more is refused with 429. So an id is for a
    /// user, and not for all who share a name or have none.
    #[must_use]
    pub fn id(mut self, id: impl Into<ByteString>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Hands a value to all channels of the connection, in place of an older one of its type: see
    /// [`Socket::get`](crate::Socket::get).
    #[must_use]
    pub fn assign<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.assigns.put(value);
        self
    }

    /// Gives the connection an end, such as that of the token it was opened with. It closes with 1008 and the reason
    /// `expired` then, unless a channel moves the end by [`Socket::renew_until`](crate::Socket::renew_until) before.
    /// Official clients connect again, with whatever token their parameters are then.
    ///
    /// `None` is no end, as is usual.
    #[must_use]
    pub fn expires_at(mut self, at: impl Into<Option<SystemTime>>) -> Self {
        self.expires_at = at.into();
        self
    }
}

pub(crate) type OnConnect =
    Arc<dyn Fn(ConnectInfo) -> BoxFuture<'static, Result<Connected, Rejection>> + Send + Sync>;

/// Makes the sessions of one [`Sockets`](crate::Sockets).
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<Shared>);

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) pubsub: PubSub,
    pub(crate) router: Router<Arc<dyn Route>>,
    pub(crate) on_connect: Option<OnConnect>,
    pub(crate) config: Arc<SocketsConfig>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) watch: Arc<Watch>,
    /// Answers other nodes that ask who is there.
    pub(crate) _census: Arc<Option<SinkSubscription>>,
}

impl Endpoint {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// A copy to change.
    pub(crate) fn shared(&self) -> Shared {
        Shared::clone(&self.0)
    }

    pub(crate) fn pubsub(&self) -> &PubSub {
        &self.0.pubsub
    }

    pub(crate) fn config(&self) -> &SocketsConfig {
        &self.0.config
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// What serves a topic. A topic that nothing serves is worth a line in the log: it is a client's or a route's mistake.
    pub(crate) fn route(&self, topic: &str) -> Option<Arc<dyn Route>> {
        let route = self.0.router.find(topic).cloned();
        if route.is_none()
            && let Some(left_out) = self.counters().lines.unmatched.pass_now()
        {
            tracing::warn!(
                topic = excerpt(topic),
                patterns = self.0.router.patterns(),
                left_out,
                "a join was refused: no channel serves its topic; Sockets::channel declares one"
            );
        }
        route
    }
}

impl Handler for Endpoint {
    type Session = SocketSession;

    async fn connect(
        &self,
        info: ConnectInfo,
        outbox: Outbox<Mail>,
    ) -> Result<SocketSession, Rejection> {
        let (serializer, transport, peer_addr) = (info.serializer, info.transport, info.peer_addr);
        let unhandled = info.unhandled.clone();
        let span = socket_span(&info);
        let connecting = async {
            match &self.0.on_connect {
                Some(on_connect) => on_connect(info).await,
                None => Ok(Connected::new()),
            }
        };
        let Connected {
            id,
            assigns,
            expires_at,
        } = connecting.instrument(span.clone()).await?;
        span.record("id", id.as_deref().map(excerpt));
        let link = Arc::new(Link {
            outbox,
            serializer,
            transport,
            pubsub: self.0.pubsub.clone(),
            id,
            config: Arc::clone(&self.0.config),
            waiting: Backlog::among(unhandled),
            counters: Arc::clone(&self.0.counters),
            watch: Arc::clone(&self.0.watch),
            expiry: Expiry::default(),
            is_disconnected: AtomicBool::new(false),
            span: kept(span),
        });
        let by_id = link.id.as_ref().map(|id| {
            let sink = ById {
                link: Arc::clone(&link),
                peer_addr,
                connected_at: SystemTime::now(),
            };
            self.0.pubsub.subscribe_sink(id, Arc::new(sink))
        });
        let by_id = by_id.transpose().map_err(|error| {
            if let Some(left_out) = self.counters().lines.unusable_id.pass_now() {
                tracing::warn!(%error, left_out, "a connection was refused: its id is no topic");
            }
            Rejection::forbidden()
        })?;
        link.expire_at(expires_at);
        link.counters.connected.add_one();
        Ok(SocketSession::new(self.clone(), link, assigns, by_id))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
