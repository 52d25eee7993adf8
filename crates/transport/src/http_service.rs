//! The socket as an HTTP service: the handshake, checked in a fixed order, and the hand-over to the connection's
//! task. The only file that knows the web framework's traits.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::Service;

use crate::{
    admission::{Admitted, admit},
    connect::{ConnectInfo, Refused},
    connections::Connections,
    limits::Limits,
    origin::OriginPolicy,
    params::{Params, ParamsError},
    session::{Handler, Session},
    websocket::{WebSocket, WebSocketConfig},
};

/// Name of the WebSocket carrier in [`ConnectInfo`], and its path below the mount.
pub const WEBSOCKET: &str = "websocket";

/// What an HTTP service accepts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The path that stands before `/websocket`, such as `/socket`; default none, for routers that strip the prefix
    /// of a nested service.
    pub mount: String,
    /// Which pages may connect; default the server's own host and loopback hosts.
    pub origins: OriginPolicy,
    /// Limits of each connection.
    pub limits: Limits,
    /// Limits of each WebSocket.
    pub websocket: WebSocketConfig,
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
}

/// A request extension by which the server may tell where the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Serves `<mount>/websocket` by a handler: a tower service over any request body.
///
/// It fits axum's `nest_service` and plain hyper alike; under plain hyper the connection must be served with
/// upgrades. Every other path is answered 404. A connected client is driven in a task of its own, which outlives the
/// HTTP connection's graceful shutdown: close it through [`connections`](Self::connections).
#[derive(Clone, Debug)]
pub struct HttpService<H> {
    handler: H,
    config: Arc<HttpConfig>,
    connections: Connections,
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
            connections: Connections::new(),
        }
    }

    /// Every open connection of this service and its clones.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }
}

impl<H: Handler, B> Service<Request<B>> for HttpService<H> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The body is dropped here: a handshake has none, and the future need not be as sendable as it is.
        let handshake = Handshake::of(request);
        let service = self.clone();
        Box::pin(async move {
            Ok(service
                .answer(handshake)
                .await
                .unwrap_or_else(Refusal::into_response))
        })
    }
}

impl<H: Handler> HttpService<H> {
    /// The checks stand in the order in which they decide.
    async fn answer(self, mut handshake: Handshake) -> Result<Response<Full<Bytes>>, Refusal> {
        if !self.is_websocket(&handshake.path) {
            return Err(Refusal::empty(StatusCode::NOT_FOUND));
        }
        if handshake.method != Method::GET {
            return Err(Refusal::empty(StatusCode::BAD_REQUEST));
        }
        let params = Params::parse(&handshake.query)?;
        if !self.config.origins.allows(&handshake.headers) {
            let origin = excerpt(handshake.headers.get(ORIGIN));
            tracing::warn!(
                origin,
                "a connection was refused: its page's origin is not among those allowed"
            );
            return Err(Refusal::empty(StatusCode::FORBIDDEN));
        }
        let info = ConnectInfo::new(WEBSOCKET, params)
            .map_err(|_unknown| {
                tracing::warn!(
                    "a connection was refused: its vsn is unknown, ask for 1.0.0 or 2.0.0"
                );
                Refusal::empty(StatusCode::FORBIDDEN)
            })?
            .with_peer_addr(handshake.peer_addr);
        let admitted = admit(&self.handler, info, &self.config.limits, &self.connections).await?;
        match handshake.accept_key() {
            Ok(accept) => {
                let config = Arc::clone(&self.config);
                tokio::spawn(upgrade(handshake.on_upgrade.take(), admitted, config));
                Ok(switching_protocols(accept))
            }
            Err(refusal) => {
                admitted.abandon();
                Err(refusal)
            }
        }
    }

    /// Compares by segment, so trailing and doubled slashes do not matter.
    fn is_websocket(&self, path: &str) -> bool {
        segments(path).eq(segments(&self.config.mount).chain([WEBSOCKET]))
    }
}

/// Waits for the upgrade, and then starts the connection's own task, which is the only one that stays.
async fn upgrade<S: Session>(
    on_upgrade: Option<OnUpgrade>,
    admitted: Admitted<S>,
    config: Arc<HttpConfig>,
) {
    let upgraded = match on_upgrade {
        Some(on_upgrade) => on_upgrade.await,
        None => return admitted.abandon(),
    };
    match upgraded {
        Ok(upgraded) => {
            let websocket = WebSocket::accept(TokioIo::new(upgraded), &config.websocket).await;
            tokio::spawn(admitted.drive(websocket));
        }
        Err(error) => {
            tracing::debug!(%error, "the connection was gone before its upgrade");
            admitted.abandon();
        }
    }
}

/// What the handshake needs of a request.
struct Handshake {
    method: Method,
    version: Version,
    path: String,
    query: String,
    headers: HeaderMap,
    peer_addr: Option<SocketAddr>,
    on_upgrade: Option<OnUpgrade>,
}

impl Handshake {
    fn of<B>(mut request: Request<B>) -> Self {
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, _body) = request.into_parts();
        Self {
            method: parts.method,
            version: parts.version,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            peer_addr: parts.extensions.get().map(|&PeerAddr(addr)| addr),
            on_upgrade: Some(on_upgrade),
        }
    }

    /// Checks the headers of the upgrade, and answers the client's key.
    fn accept_key(&self) -> Result<HeaderValue, Refusal> {
        if self.version != Version::HTTP_11 {
            return Err(Refusal::text("a WebSocket handshake needs HTTP/1.1"));
        }
        if !names_token(&self.headers, UPGRADE.as_str(), WEBSOCKET) {
            return Err(Refusal::text("header `upgrade` must be `websocket`"));
        }
        if !names_token(&self.headers, CONNECTION.as_str(), "upgrade") {
            return Err(Refusal::text("header `connection` must name `upgrade`"));
        }
        if !names_token(&self.headers, SEC_WEBSOCKET_VERSION.as_str(), "13") {
            return Err(Refusal::text("header `sec-websocket-version` must be `13`"));
        }
        let key = self
            .headers
            .get(SEC_WEBSOCKET_KEY)
            .filter(|key| is_key(key));
        let key = key.ok_or_else(|| {
            Refusal::text("header `sec-websocket-key` must be 16 bytes in base64")
        })?;
        let accept = derive_accept_key(key.as_bytes());
        Ok(HeaderValue::try_from(accept).expect("base64 is a header value"))
    }
}

/// An answer that is no upgrade.
struct Refusal(Refused);

impl Refusal {
    fn empty(status: StatusCode) -> Self {
        Self(Refused::new(status, Bytes::new()))
    }

    fn text(text: &'static str) -> Self {
        Self(Refused::new(StatusCode::BAD_REQUEST, text))
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.0.body));
        *response.status_mut() = self.0.status;
        response
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl From<ParamsError> for Refusal {
    fn from(error: ParamsError) -> Self {
        match error {
            ParamsError::TooLong => Self::empty(StatusCode::URI_TOO_LONG),
            _ => Self::empty(StatusCode::BAD_REQUEST),
        }
    }
}

fn switching_protocols(accept: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
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

/// Whether one of the comma-separated tokens of a header is this one, in any case.
fn names_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// 16 bytes in base64: 22 characters and their padding.
fn is_key(key: &HeaderValue) -> bool {
    let bytes = key.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    bytes.len() == 24 && bytes[..22].iter().all(plain) && bytes.ends_with(b"==")
}

#[cfg(test)]
mod tests {
    use hyper::upgrade::Upgraded;

    use super::*;
    use crate::{Close, Frame, Output};

    /// What the task of one connection may take, in bytes, beside its session: every idle socket pays for it.
    const CONNECTION_FUTURE_BYTES: usize = 768;

    struct Nothing;

    impl Session for Nothing {
        type Mail = ();

        fn handle_in(&mut self, _: Frame, _: &mut Output) -> Result<(), Close> {
            Ok(())
        }

        fn handle_mail(&mut self, (): (), _: &mut Output) -> Result<(), Close> {
            Ok(())
        }
    }

    fn size_of_future<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_connection_stays_small() {
        let drive = Admitted::<Nothing>::drive::<WebSocket<TokioIo<Upgraded>>>;
        let bytes = size_of_future(drive);
        assert!(bytes <= CONNECTION_FUTURE_BYTES, "{bytes} bytes");
    }
}
