//! The socket as an HTTP service: which path is which carrier, and what all of them check. The only file that knows the
//! web framework's traits.

use std::{
    borrow::Cow,
    convert::Infallible,
    error::Error,
    future::{Future, ready},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL},
    uri::Scheme,
};
use http_body_util::Full;
use hyper::body::Body;
use tower::Service;

use crate::{
    admission::{Admitted, NotAdmitted, admit},
    connect::ConnectInfo,
    connections::Connections,
    excerpt::excerpt,
    handshake,
    head::Head,
    limits::Limits,
    longpoll::{self, LONGPOLL, LongPolling},
    origin::OriginPolicy,
    params::{MAX_PARAMS, Params, ParamsError},
    path::Match,
    proxies::TrustedProxies,
    request::{RequestInfo, Reveal},
    serializer::{Serializers, UnknownVsn},
    session::Handler,
    subprotocol::{Agreed, AuthToken, Disagreed, agree},
    websocket::{WEBSOCKET, WebSocketConfig},
};

/// What an HTTP service accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct HttpConfig {
    /// The path that stands before `/websocket` and `/longpoll`, such as `/socket`; default none, for routers that strip the prefix
    /// of a nested service. A segment `:name` takes any one segment and becomes the parameter of that name, which wins over one in the
    /// query; `:_name` takes any and is dropped.
    pub mount: String,
    /// The path of the WebSocket below the mount; default `websocket`. It may have several segments, variables among them.
    pub websocket_path: String,
    /// The same of long polling; default `longpoll`. Official clients make it from that of the WebSocket, by replacing `websocket`.
    pub longpoll_path: String,
    /// Which pages may connect; default the server's own host and loopback hosts.
    pub origins: OriginPolicy,
    /// Which proxies may say where a client is, and by which scheme it came; default none.
    pub trusted_proxies: TrustedProxies,
    /// What of a request sessions are told beside its parameters; default nothing.
    pub reveal: Reveal,
    /// The subprotocols that a WebSocket may speak, the best first; default none, and then what clients offer means nothing. A client that
    /// offers some, but none of these, is refused.
    pub subprotocols: Vec<String>,
    /// Whether clients may send a token beside their parameters; default no. See [`with_auth_token`](Self::with_auth_token).
    pub auth_token: bool,
    /// The versions of the wire that clients may ask for; default 1 and 2. A client that asks for another is refused with 403.
    pub serializers: Serializers,
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

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            mount: String::new(),
            websocket_path: WEBSOCKET.to_owned(),
            longpoll_path: LONGPOLL.to_owned(),
            origins: OriginPolicy::default(),
            trusted_proxies: TrustedProxies::none(),
            reveal: Reveal::nothing(),
            subprotocols: Vec::new(),
            auth_token: false,
            serializers: Serializers::default(),
            limits: Limits::default(),
            websocket: WebSocketConfig::default(),
            connections: Connections::default(),
            long_polling: None,
        }
    }
}

impl HttpConfig {
    /// Sets [`mount`](Self::mount).
    pub fn with_mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into();
        self
    }

    /// Sets [`websocket_path`](Self::websocket_path). Set [`longpoll_path`](Self::longpoll_path) with it.
    pub fn with_websocket_path(mut self, path: impl Into<String>) -> Self {
        self.websocket_path = path.into();
        self
    }

    /// Sets [`longpoll_path`](Self::longpoll_path).
    pub fn with_longpoll_path(mut self, path: impl Into<String>) -> Self {
        self.longpoll_path = path.into();
        self
    }

    /// Sets [`trusted_proxies`](Self::trusted_proxies).
    pub fn with_trusted_proxies(mut self, trusted_proxies: TrustedProxies) -> Self {
        self.trusted_proxies = trusted_proxies;
        self
    }

    /// Sets [`reveal`](Self::reveal).
    pub fn with_reveal(mut self, reveal: Reveal) -> Self {
        self.reveal = reveal;
        self
    }

    /// Sets [`subprotocols`](Self::subprotocols).
    pub fn with_subprotocols(
        mut self,
        subprotocols: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Takes the token that official clients send as `authToken`, and hands it on as
    /// [`ConnectInfo::auth_token`]. It comes as a subprotocol, or over long polling in the header
    /// `X-Phoenix-AuthToken`, and so stands in no URL. A client without one is not refused for that.
    pub fn with_auth_token(mut self) -> Self {
        self.auth_token = true;
        self
    }

    /// Sets [`origins`](Self::origins).
    pub fn with_origins(mut self, origins: OriginPolicy) -> Self {
        self.origins = origins;
        self
    }

    /// Sets [`serializers`](Self::serializers).
    pub fn with_serializers(mut self, serializers: Serializers) -> Self {
        self.serializers = serializers;
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
///
/// What comes before a whole request is the HTTP server's: a client that connects and says nothing, or half a request, is
/// none that this service knows of. `axum::serve` waits for it without an end; hyper ends it where `header_read_timeout` is set, together
/// with a timer. The crate's page has such a server, under [half a request](crate#half-a-request).
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
        let path = request.uri().path().to_owned();
        match self.carrier(&path) {
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
            None => Box::pin(ready(Ok(self.not_found(&path)))),
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
        if self.variables(WEBSOCKET, path).is_some() {
            return Some(Carrier::WebSocket);
        }
        let polling = self.config.long_polling.as_ref();
        let polling = polling.filter(|_| self.variables(LONGPOLL, path).is_some())?;
        Some(Carrier::LongPoll(polling.clone()))
    }

    /// What a path says beside the name of its carrier.
    fn variables(&self, transport: &'static str, path: &str) -> Option<Match<'_>> {
        let below = match transport {
            WEBSOCKET => &self.config.websocket_path,
            _ => &self.config.longpoll_path,
        };
        Match::of([&self.config.mount, below], path)
    }

    fn not_found(&self, path: &str) -> Response<Full<Bytes>> {
        let HttpConfig {
            mount,
            websocket_path,
            long_polling,
            ..
        } = &*self.config;
        let asked = excerpt(path);
        let left_out = self.connections().refusal_lines().path.pass_now();
        let cure = if long_polling.is_none() && self.variables(LONGPOLL, path).is_some() {
            if let Some(left_out) = left_out {
                tracing::warn!(
                    path = asked,
                    long_polling = false,
                    left_out,
                    "nothing is served at this path: long polling is off, HttpConfig::with_long_polling switches it on"
                );
            }
            "long polling is off here: the server's HttpConfig::with_long_polling switches it on"
        } else {
            if let Some(left_out) = left_out {
                tracing::warn!(
                    path = asked,
                    mount,
                    websocket_path,
                    long_polling = long_polling.is_some(),
                    left_out,
                    "nothing is served at this path: sockets are at the mount and the websocket path behind it, which official \
                     clients add by themselves"
                );
            }
            "no socket is served at this path: official clients add /websocket to the path that they are given"
        };
        let mut response = Response::new(Full::from(cure));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }

    /// What a client asks with. A query that cannot be read is worth a line in the log.
    pub(crate) fn params(&self, head: &Head) -> Result<Params, ParamsError> {
        Params::parse(head.query()).inspect_err(|problem| {
            if let Some(left_out) = self.connections().refusal_lines().query.pass_now() {
                tracing::warn!(
                    %problem,
                    left_out,
                    "a request was refused: its query cannot be read; it takes {MAX_PARAMS} parameters at most, of UTF-8 and \
                     percent-encoded"
                );
            }
        })
    }

    /// Says why a request for a WebSocket is none: most often what stands between the client and this server has changed it.
    pub(crate) fn tell_no_handshake(&self, problem: &'static str) {
        if let Some(left_out) = self.connections().refusal_lines().upgrade.pass_now() {
            tracing::warn!(
                problem,
                left_out,
                "a connection was refused: its request is no WebSocket handshake; a proxy in between has to speak HTTP/1.1 here, \
                 and to pass on the headers upgrade and connection"
            );
        }
    }

    /// Whether the page that asks may; one that may not is worth a line in the log.
    pub(crate) fn allows_origin(&self, head: &Head) -> bool {
        let scheme = self.said_scheme(head).unwrap_or(Scheme::HTTP);
        let (origins, named) = (&self.config.origins, head.uri.authority());
        let allowed = origins.allows_at(named, &scheme, &head.headers);
        let limit = &self.connections().refusal_lines().origin;
        if !allowed && let Some(left_out) = limit.pass_now() {
            let header = |name| head.headers.get(name).map(HeaderValue::as_bytes);
            let host = named.map(|named| named.as_str().as_bytes());
            let host = text(host.or_else(|| header(HOST)));
            let origin = text(header(ORIGIN));
            tracing::warn!(
                origin = excerpt(&origin),
                host = excerpt(&host),
                left_out,
                "a connection was refused: its page's origin is not among those allowed; allow it by OriginPolicy::allow \
                 (test server: --allow-origin)"
            );
        }
        allowed
    }

    /// What the handler is told of a client.
    pub(crate) fn connect_info(
        &self,
        transport: &'static str,
        mut params: Params,
        head: &Head,
        auth_token: Option<AuthToken>,
    ) -> Result<ConnectInfo, UnknownVsn> {
        if let Some(variables) = self.variables(transport, head.uri.path()) {
            variables.set(&mut params);
        }
        let vsn = params
            .get("vsn")
            .map(|vsn| vsn.chars().take(20).collect::<String>());
        let serializers = &self.config.serializers;
        let info = ConnectInfo::speaking(serializers, transport, params).inspect_err(|_| {
            let limit = &self.connections().refusal_lines().vsn;
            let Some(left_out) = limit.pass_now() else {
                return;
            };
            let spoken: Vec<&str> = serializers.vsns().collect();
            tracing::warn!(
                vsn,
                left_out,
                "a connection was refused: its vsn is unknown, ask for {}",
                spoken.join(" or ")
            );
        })?;
        let reveal = self.config.reveal;
        let client = self.client(head);
        if client.is_none() {
            self.tell_no_peer();
        }
        let uri = || head.whole_uri(self.scheme(head));
        let request = RequestInfo::of(uri, &head.headers, reveal);
        Ok(info
            .with_peer_addr(client.filter(|_| reveal.peer_addr))
            .with_auth_token(auth_token)
            .with_request(request))
    }

    /// Says that where clients are is not known, if it was asked for.
    fn tell_no_peer(&self) {
        let HttpConfig {
            reveal,
            trusted_proxies,
            ..
        } = &*self.config;
        let is_asked_for = reveal.peer_addr || !trusted_proxies.is_none();
        if is_asked_for
            && let Some(left_out) = self.connections().refusal_lines().no_peer.pass_now()
        {
            tracing::warn!(
                left_out,
                "where a client is, is not known, so neither TrustedProxies nor Reveal::with_peer_addr does anything: the server has \
                 to insert a PeerAddr into each request"
            );
        }
    }

    /// By which scheme a client came, as far as anybody says it.
    fn scheme(&self, head: &Head) -> Scheme {
        let usual = |scheme: &&Scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme);
        let known = self.config.origins.scheme().cloned();
        let known = known.or_else(|| self.said_scheme(head));
        let known = known.or_else(|| head.uri.scheme().filter(usual).cloned());
        known.unwrap_or(Scheme::HTTP)
    }

    /// What a trusted proxy says of that.
    fn said_scheme(&self, head: &Head) -> Option<Scheme> {
        let proxies = &self.config.trusted_proxies;
        head.peer_addr
            .and_then(|peer| proxies.scheme(peer, &head.headers))
    }

    /// Where a client is, if the server tells it.
    pub(crate) fn client(&self, head: &Head) -> Option<SocketAddr> {
        let proxies = &self.config.trusted_proxies;
        head.peer_addr
            .map(|peer| proxies.client(peer, &head.headers))
    }

    /// Agrees with a client on a subprotocol.
    pub(crate) fn agree(&self, head: &Head) -> Result<Agreed, Disagreed> {
        let HttpConfig {
            subprotocols,
            auth_token,
            ..
        } = &*self.config;
        let lines = self.connections().refusal_lines();
        let agreed = agree(&head.headers, subprotocols, *auth_token);
        if agreed == Ok(Agreed::default())
            && head.headers.contains_key(SEC_WEBSOCKET_PROTOCOL)
            && let Some(left_out) = lines.no_subprotocol.pass_now()
        {
            tracing::warn!(
                left_out,
                "a browser ends this connection: it offers subprotocols, and none is spoken here; a client's authToken is taken \
                 after HttpConfig::with_auth_token, others after HttpConfig::with_subprotocols"
            );
        }
        agreed.inspect_err(|disagreed| match disagreed {
            Disagreed::Token => {
                if let Some(left_out) = lines.auth_token.pass_now() {
                    tracing::warn!(
                        left_out,
                        "a connection was refused: its auth token is no base64 of a text"
                    );
                }
            }
            Disagreed::Subprotocol => {
                if let Some(left_out) = lines.subprotocol.pass_now() {
                    tracing::warn!(
                        ?subprotocols,
                        left_out,
                        "a connection was refused: it offers none of these subprotocols; allow more by \
                         HttpConfig::with_subprotocols"
                    );
                }
            }
        })
    }

    /// Asks the handler for a session. The client is counted by its address, whether or not the handler is told that.
    pub(crate) async fn admit(
        &self,
        head: &Head,
        info: ConnectInfo,
        limits: &Limits,
        largest_frame: usize,
    ) -> Result<Admitted<H::Session>, NotAdmitted> {
        let client = self.client(head);
        let connections = self.connections();
        admit(
            &self.handler,
            info,
            client,
            limits,
            largest_frame,
            connections,
        )
        .await
    }

    pub(crate) fn shared_config(&self) -> Arc<HttpConfig> {
        Arc::clone(&self.config)
    }
}

/// A header as text, whatever a client sent.
fn text(header: Option<&[u8]>) -> Cow<'_, str> {
    String::from_utf8_lossy(header.unwrap_or_default())
}
