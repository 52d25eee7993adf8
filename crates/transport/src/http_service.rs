//! The socket as an HTTP service: which path is which carrier, and what all of them check. The only file that knows the
//! web framework's traits.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::ORIGIN};
use http_body_util::Full;
use hyper::body::Body;
use tower::Service;

use crate::{
    admission::{Admitted, NotAdmitted, admit},
    connect::ConnectInfo,
    connections::Connections,
    handshake,
    head::Head,
    limits::Limits,
    longpoll::{self, LONGPOLL, LongPolling},
    origin::OriginPolicy,
    params::Params,
    serializer::UnknownVsn,
    session::Handler,
    websocket::{WEBSOCKET, WebSocketConfig},
};

/// What an HTTP service accepts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The path that stands before `/websocket` and `/longpoll`, such as `/socket`; default none, for routers that strip the prefix
    /// of a nested service.
    pub mount: String,
    /// Which pages may connect; default the server's own host and loopback hosts.
    pub origins: OriginPolicy,
    /// Limits of each connection.
    pub limits: Limits,
    /// Limits of each WebSocket.
    pub websocket: WebSocketConfig,
    /// The set that its connections are counted in; default one of its own. Services with clones of one set share its limits
    /// and are closed together, and so are services made of clones of one configuration.
    pub connections: Connections,
    /// The long-poll sessions; default none, and then `/longpoll` is answered 404.
    pub long_polling: Option<LongPolling>,
}

impl HttpConfig {
    /// Sets [`mount`](Self::mount).
    pub fn with_mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into();
        self
    }

    /// Sets [`origins`](Self::origins).
    pub fn with_origins(mut self, origins: OriginPolicy) -> Self {
        self.origins = origins;
        self
    }

    /// Sets [`limits`](Self::limits).
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`websocket`](Self::websocket).
    pub fn with_websocket(mut self, websocket: WebSocketConfig) -> Self {
        self.websocket = websocket;
        self
    }

    /// Sets [`connections`](Self::connections).
    pub fn with_connections(mut self, connections: &Connections) -> Self {
        self.connections = connections.clone();
        self
    }

    /// Offers long polling beside WebSockets, by these sessions: see [`LongPolling`].
    pub fn with_long_polling(mut self, long_polling: &LongPolling) -> Self {
        self.long_polling = Some(long_polling.clone());
        self
    }
}

/// The body of a request, as servers have it: read only where long polling needs it.
pub trait RequestBody:
    Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

impl<B> RequestBody for B where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

/// Serves `<mount>/websocket`, and `<mount>/longpoll` where long polling is on, by a handler: a tower service over any
/// request body.
///
/// It fits axum's `nest_service` and plain hyper alike; under plain hyper the connection must be served with
/// upgrades. Every other path is answered 404. A connected client is driven in a task of its own, which outlives the
/// HTTP connection's graceful shutdown: close it through [`connections`](Self::connections).
#[derive(Clone, Debug)]
pub struct HttpService<H> {
    handler: H,
    config: Arc<HttpConfig>,
}

impl<H: Handler> HttpService<H> {
    /// Serves by this handler with the default configuration.
    pub fn new(handler: H) -> Self {
        Self::with_config(handler, HttpConfig::default())
    }

    /// Serves by this handler.
    pub fn with_config(handler: H, config: HttpConfig) -> Self {
        Self {
            handler,
            config: Arc::new(config),
        }
    }

    /// Every open connection of this service and its clones, long-poll sessions included.
    pub fn connections(&self) -> &Connections {
        &self.config.connections
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }
}

impl<H: Handler, B: RequestBody> Service<Request<B>> for HttpService<H> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.carrier(request.uri().path()) {
            Some(Carrier::WebSocket) => {
                let on_upgrade = hyper::upgrade::on(&mut request);
                // The body is dropped here: a handshake has none.
                let (parts, _body) = request.into_parts();
                let answer = handshake::answer(self.clone(), parts.into(), on_upgrade);
                Box::pin(async move { Ok(answer.await) })
            }
            Some(Carrier::LongPoll(polling)) => {
                let (parts, body) = request.into_parts();
                let answer = longpoll::answer(self.clone(), polling, parts.into(), body);
                Box::pin(async move { Ok(answer.await) })
            }
            None => Box::pin(ready(Ok(not_found()))),
        }
    }
}

/// What a path stands for.
enum Carrier {
    WebSocket,
    LongPoll(LongPolling),
}

impl<H: Handler> HttpService<H> {
    /// Compares by segment, so trailing and doubled slashes do not matter.
    fn carrier(&self, path: &str) -> Option<Carrier> {
        let is = |name| segments(path).eq(segments(&self.config.mount).chain([name]));
        if is(WEBSOCKET) {
            return Some(Carrier::WebSocket);
        }
        let polling = self.config.long_polling.as_ref().filter(|_| is(LONGPOLL))?;
        Some(Carrier::LongPoll(polling.clone()))
    }

    /// Whether the page that asks may; one that may not is worth a line in the log.
    pub(crate) fn allows_origin(&self, head: &Head) -> bool {
        let allowed = self.config.origins.allows(&head.headers);
        if !allowed {
            let origin = excerpt(head.headers.get(ORIGIN));
            tracing::warn!(
                origin,
                "a connection was refused: its page's origin is not among those allowed"
            );
        }
        allowed
    }

    /// What the handler is told of a client.
    pub(crate) fn connect_info(
        &self,
        transport: &'static str,
        params: Params,
        head: &Head,
    ) -> Result<ConnectInfo, UnknownVsn> {
        let info = ConnectInfo::new(transport, params).inspect_err(|_| {
            tracing::warn!("a connection was refused: its vsn is unknown, ask for 1.0.0 or 2.0.0");
        })?;
        Ok(info.with_peer_addr(head.peer_addr))
    }

    /// Asks the handler for a session.
    pub(crate) async fn admit(
        &self,
        info: ConnectInfo,
        limits: &Limits,
    ) -> Result<Admitted<H::Session>, NotAdmitted> {
        admit(&self.handler, info, limits, self.connections()).await
    }

    pub(crate) fn shared_config(&self) -> Arc<HttpConfig> {
        Arc::clone(&self.config)
    }
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Enough of a header to recognise it in a log, whatever a client sent.
fn excerpt(header: Option<&HeaderValue>) -> String {
    let bytes = header.map_or(&b""[..], HeaderValue::as_bytes);
    String::from_utf8_lossy(bytes).chars().take(100).collect()
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}
