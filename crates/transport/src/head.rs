//! What the carriers over HTTP look at in a request, its body aside.
//!
//! Pure: no clock, no I/O, no tasks.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Uri, Version, request::Parts};

/// A request extension by which the server may tell where the client is: connections are counted by it, and handlers are told it where
/// [`Reveal::with_peer_addr`](crate::Reveal::with_peer_addr) says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The head of a request.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) peer_addr: Option<SocketAddr>,
}

impl Head {
    pub(crate) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
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
        }
    }
}
