//! What the carriers over HTTP look at in a request, its body aside.
//!
//! Pure: no clock, no I/O, no tasks.

use std::net::SocketAddr;

use http::{
    HeaderMap, Method, Uri, Version,
    header::HOST,
    request::Parts,
    uri::{Authority, Parts as UriParts, Scheme},
};

/// A request extension by which the server may tell where the client is: connections are counted by it, and handlers are told it where
/// [`Reveal::with_peer_addr`](crate::Reveal::with_peer_addr) says so. Without it no client is counted by its address, and no
/// [`TrustedProxies`](crate::TrustedProxies) are asked. With axum:
///
/// ```no_run
/// # use matryoshka_transport::PeerAddr;
/// use std::net::SocketAddr;
///
/// use axum::{Router, extract::{ConnectInfo, Request}, middleware::map_request};
///
/// async fn tell_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
///     request.extensions_mut().insert(PeerAddr(peer));
///     request
/// }
/// # async fn serve(socket: Router, listener: tokio::net::TcpListener) {
/// let app = Router::new().nest_service("/socket", socket).layer(map_request(tell_peer));
/// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// A request extension by which the server may tell what was asked for before a router took the path's beginning off, as that of a
/// nested service does: the path of [`RequestInfo::uri`](crate::RequestInfo::uri) is whole then.
///
/// ```
/// # use matryoshka_transport::OriginalUri;
/// use axum::{Router, extract::Request, middleware::map_request};
///
/// async fn keep_uri(mut request: Request) -> Request {
///     let uri = request.uri().clone();
///     request.extensions_mut().insert(OriginalUri(uri));
///     request
/// }
/// # fn serve(socket: Router) -> Router {
/// Router::new().nest_service("/socket", socket).layer(map_request(keep_uri))
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalUri(pub Uri);

/// The head of a request.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) uri: Uri,
    /// The same before a router shortened it, if the server tells that.
    original_uri: Option<Uri>,
    pub(crate) headers: HeaderMap,
    pub(crate) peer_addr: Option<SocketAddr>,
}

impl Head {
    pub(crate) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// What was asked for, by that scheme. Without a scheme and a host where the request names no host.
    pub(crate) fn whole_uri(&self, scheme: Scheme) -> Uri {
        let asked = self.original_uri.as_ref().unwrap_or(&self.uri);
        let mut parts = UriParts::default();
        parts.path_and_query = asked.path_and_query().cloned();
        parts.authority = self.authority();
        parts.scheme = parts.authority.is_some().then_some(scheme);
        Uri::from_parts(parts).unwrap_or_else(|_| asked.clone())
    }

    /// Host and port, if one is named: as HTTP/2 and proxies' requests name them, else by the header.
    fn authority(&self) -> Option<Authority> {
        let named = self.uri.authority().cloned();
        let named = named.or_else(|| self.headers.get(HOST)?.as_bytes().try_into().ok())?;
        let is_plain = !named.host().is_empty() && !named.as_str().contains('@');
        is_plain.then_some(named)
    }
}

impl From<Parts> for Head {
    fn from(parts: Parts) -> Self {
        Self {
            method: parts.method,
            version: parts.version,
            uri: parts.uri,
            headers: parts.headers,
            peer_addr: parts.extensions.get().map(|&PeerAddr(addr)| addr),
            original_uri: parts
                .extensions
                .get::<OriginalUri>()
                .map(|OriginalUri(uri)| uri.clone()),
        }
    }
}
