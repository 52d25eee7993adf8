//! The sockets of one mount: which channels there are, who may connect, and the service that a server mounts.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::Full;

use crate::assigns::Assigns;
use crate::broadcast::KIND;
use crate::census::{ANSWER, answer_questions};
use crate::channel::Channel;
use crate::config::SocketsConfig;
use crate::endpoint::{Connected, Endpoint, Shared};
use crate::fastlane::Fastlane;
use crate::link::Mail;
use crate::order::ORDER;
use crate::pubsub::PubSub;
use crate::router::{PatternError, Router};
use crate::server::{ChannelRoute, Route};
use crate::session::SocketSession;
use crate::stats::{Counters, Stats};
use crate::transport::http::{Request, Response};
use crate::transport::{
    ConnectInfo, Connections, Handler, HttpService, Outbox, Rejection, RequestBody,
};
#[cfg(feature = "test-util")]
use crate::transport::{Limits, Serializers};
use crate::watch::Watch;

/// All sockets of one mount: a tower service for axum or hyper, and a [`Handler`] for any other carrier.
///
/// Mounted at `/socket`, clients connect to `/socket/websocket`, and to `/socket/longpoll` where the configuration has
/// [`long_polling`](crate::transport::HttpConfig::long_polling). Clones share connections and counters. Build it up
/// before the first clone: what is set later applies to the new value only.
///
/// ```
/// # use matryoshka_channel::{Channel, Refused, Reply, RawEvent, Socket};
/// use matryoshka_channel::{Connected, Sockets, pubsub::PubSub, transport};
/// # struct Room;
/// # impl Channel<()> for Room {
/// #     type Params = ();
/// #     type Event = RawEvent;
/// #     async fn join(_: &(), _: &mut Socket, _: ()) -> Result<Self, Refused> { Ok(Self) }
/// #     async fn handle_in(&mut self, _: &mut Socket, _: RawEvent) -> Reply { Reply::none() }
/// # }
///
/// let sockets = Sockets::new(&PubSub::local(), ()).channel::<Room>("room:*").on_connect(
///     async |(), info: transport::ConnectInfo| match info.params.get("user") {
///         Some(user) => Ok(Connected::new().id(format!("user_socket:{user}"))),
///         None => Err(transport::Rejection::forbidden()),
///     },
/// );
/// # drop(sockets);
/// ```
#[must_use]
pub struct Sockets<App> {
    app: App,
    endpoint: Endpoint,
    http: HttpService<Endpoint>,
}

impl<App: Clone + Send + Sync + 'static> Sockets<App> {
    /// Sockets without channels, on these topics, handing `app` to every join. Anybody may connect.
    ///
    /// # Panics
    /// If the program itself has registered another dispatcher for [`KIND`] with the pubsub.
    pub fn new(pubsub: &PubSub, app: App) -> Self {
        // Of what is no broadcast, the fast lane is a plain fan-out.
        for kind in [KIND, ORDER, ANSWER] {
            pubsub
                .register(kind, Arc::new(Fastlane))
                .expect("kinds below 256 are left to Matryoshka's own crates");
        }
        let (config, counters) = (Arc::<SocketsConfig>::default(), Arc::<Counters>::default());
        let watch = Watch::new(config.blocking_warning, &counters);
        let endpoint = Endpoint::new(Shared {
            pubsub: pubsub.clone(),
            router: Router::new(),
            on_connect: None,
            config,
            counters,
            watch: Arc::new(watch),
            _census: Arc::new(answer_questions(pubsub)),
        });
        let http = HttpService::new(endpoint.clone());
        Self {
            app,
            endpoint,
            http,
        }
    }

    /// Serves the topics that match `pattern` by channels of type `C`: a whole topic, or a prefix followed by `*`. Of
    /// several that match a topic the one declared first serves it.
    ///
    /// # Panics
    /// If the pattern has a `*` before its end; see [`try_channel`](Self::try_channel) for patterns that are not
    /// literals.
    pub fn channel<C: Channel<App>>(self, pattern: &str) -> Self {
        self.channel_with::<C>(pattern, Assigns::new())
    }

    /// As [`channel`](Self::channel), handing these values to the route's channels, in place of the connection's.
    ///
    /// # Panics
    /// As [`channel`](Self::channel).
    pub fn channel_with<C: Channel<App>>(self, pattern: &str, assigns: Assigns) -> Self {
        self.try_channel::<C>(pattern, assigns)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`channel_with`](Self::channel_with), for a pattern that is no literal.
    ///
    /// # Errors
    /// [`PatternError`] if the pattern has a `*` before its end.
    pub fn try_channel<C: Channel<App>>(
        self,
        pattern: &str,
        assigns: Assigns,
    ) -> Result<Self, PatternError> {
        let route: Arc<dyn Route> =
            Arc::new(ChannelRoute::<App, C>::new(self.app.clone(), assigns));
        let mut shared = self.endpoint.shared();
        shared.router.add(pattern, route)?;
        Ok(self.with(shared))
    }

    /// Decides who may connect, before the upgrade. A panic in there is answered with 500, and one that takes longer than
    /// [`handshake_timeout`](crate::transport::Limits::handshake_timeout) with 503. Without this everybody may.
    ///
    /// # Errors
    /// The closure's [`Rejection`] is the answer of the handshake: its status, and its body. Nothing is started then.
    ///
    /// # Cancel safety
    /// The future that the closure returns is dropped where it waits if the client goes meanwhile, or the time is over.
    pub fn on_connect<F, Connecting>(self, on_connect: F) -> Self
    where
        F: Fn(App, ConnectInfo) -> Connecting + Send + Sync + 'static,
        Connecting: Future<Output = Result<Connected, Rejection>> + Send + 'static,
    {
        let app = self.app.clone();
        let mut shared = self.endpoint.shared();
        shared.on_connect = Some(Arc::new(move |info| {
            Box::pin(on_connect(app.clone(), info))
        }));
        self.with(shared)
    }

    /// Sets the limits, and what the carrier accepts. The log warns of limits that keep each other from being used.
    pub fn config(self, config: SocketsConfig) -> Self {
        config.warn();
        let mut shared = self.endpoint.shared();
        shared.watch = Arc::new(Watch::new(config.blocking_warning, &shared.counters));
        shared.config = Arc::new(config);
        self.with(shared)
    }

    fn with(self, shared: Shared) -> Self {
        let http = shared.config.http.clone();
        let endpoint = Endpoint::new(shared);
        let http = HttpService::with_config(endpoint.clone(), http);
        Self {
            endpoint,
            http,
            ..self
        }
    }
}

impl<App> Sockets<App> {
    /// Every open connection that came over HTTP.
    pub fn connections(&self) -> &Connections {
        self.http.connections()
    }

    /// The topics that they are on.
    pub fn pubsub(&self) -> &PubSub {
        self.endpoint.pubsub()
    }

    /// The carrier's limits for each connection.
    #[cfg(feature = "test-util")]
    pub(crate) fn limits(&self) -> &Limits {
        &self.endpoint.config().http.limits
    }

    /// The versions of the wire that they speak.
    #[cfg(feature = "test-util")]
    pub(crate) fn serializers(&self) -> &Serializers {
        &self.endpoint.config().http.serializers
    }

    /// What they have done so far.
    pub fn stats(&self) -> Stats {
        self.endpoint.counters().snapshot()
    }
}

impl<App: Clone> Clone for Sockets<App> {
    fn clone(&self) -> Self {
        Self {
            app: self.app.clone(),
            endpoint: self.endpoint.clone(),
            http: self.http.clone(),
        }
    }
}

impl<App> fmt::Debug for Sockets<App> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl<App: Clone + Send + Sync + 'static> Handler for Sockets<App> {
    type Session = SocketSession;

    async fn connect(
        &self,
        info: ConnectInfo,
        outbox: Outbox<Mail>,
    ) -> Result<SocketSession, Rejection> {
        self.endpoint.connect(info, outbox).await
    }
}

impl<App, Body: RequestBody> tower::Service<Request<Body>> for Sockets<App> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        tower::Service::<Request<Body>>::poll_ready(&mut self.http, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.http.call(request)
    }
}
