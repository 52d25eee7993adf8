//! What a session learns about the connection it is asked to serve, and how it says no.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{fmt, net::SocketAddr};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use thiserror::Error;

use crate::{
    connections::Unhandled,
    params::{Params, ParamsError},
    request::RequestInfo,
    serializer::{Serializer, Serializers, UnknownVsn},
    subprotocol::AuthToken,
};

/// A connection that asks to be served.
///
/// Headers are left out on purpose: browsers attach cookies to requests of foreign pages too. Which of them are handed on in
/// [`request`](Self::request) is for each mount to say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectInfo {
    /// The query's parameters, `vsn` included.
    pub params: Params,
    /// For the version of the wire that the client asked for.
    pub serializer: &'static dyn Serializer,
    /// Where the client is, if the carrier hands it on; behind a proxy it is what [`TrustedProxies`](crate::TrustedProxies) says.
    ///
    /// Over HTTP the server tells it by the request extension [`PeerAddr`](crate::PeerAddr), and the mount hands it on by
    /// [`Reveal::with_peer_addr`](crate::Reveal::with_peer_addr); without both it is None. Connections are counted by it
    /// either way.
    pub peer_addr: Option<SocketAddr>,
    /// Name of the carrier, such as `websocket`.
    pub transport: &'static str,
    /// The token that the client sent beside its parameters, on a mount that takes one
    /// ([`HttpConfig::with_auth_token`](crate::HttpConfig::with_auth_token)).
    pub auth_token: Option<AuthToken>,
    /// Where the session says what it keeps of its client's messages.
    pub unhandled: Unhandled,
    /// What else of the request the mount hands on. Boxed, since most hand on nothing.
    pub request: Box<RequestInfo>,
}

impl ConnectInfo {
    /// A connection over the carrier of that name, whose parameter `vsn` chooses between the serializers
    /// [`V1`](crate::V1) and [`V2`](crate::V2).
    ///
    /// # Errors
    /// [`UnknownVsn`] if that version is not spoken; a `vsn` that is not a plain string is unknown too.
    pub fn new(transport: &'static str, params: Params) -> Result<Self, UnknownVsn> {
        Self::speaking(&Serializers::default(), transport, params)
    }

    /// The same where further versions are spoken.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn speaking(
        serializers: &Serializers,
        transport: &'static str,
        params: Params,
    ) -> Result<Self, UnknownVsn> {
        let vsn = params.param("vsn");
        let vsn = vsn.map(|_| params.get("vsn").unwrap_or_default());
        let serializer = serializers.get(vsn)?;
        Ok(Self {
            params,
            serializer,
            peer_addr: None,
            transport,
            auth_token: None,
            unhandled: Unhandled::default(),
            request: Box::default(),
        })
    }

    /// Says where the client is.
    #[must_use]
    pub fn with_peer_addr(mut self, peer_addr: Option<SocketAddr>) -> Self {
        self.peer_addr = peer_addr;
        self
    }

    /// Hands on a token.
    #[must_use]
    pub fn with_auth_token(mut self, auth_token: Option<AuthToken>) -> Self {
        self.auth_token = auth_token;
        self
    }

    /// Hands on what is known of the request.
    pub(crate) fn with_request(mut self, request: RequestInfo) -> Self {
        *self.request = request;
        self
    }
}

/// A connection is refused: the answer that a client of the HTTP carriers gets instead of an upgrade. Browsers show
/// it to nobody; scripts see only a failed connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("connection refused with status {status}")]
pub struct Rejection {
    /// The status of the answer.
    pub status: StatusCode,
    /// The body of the answer.
    pub body: Bytes,
    /// For the log only.
    pub(crate) cause: Option<Box<str>>,
}

impl Rejection {
    /// A refusal with the given status and body.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            cause: None,
        }
    }

    /// Says why, for the line in the log: the client is not told.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }

    /// 403 with an empty body: the usual refusal.
    pub fn forbidden() -> Self {
        Self::empty(StatusCode::FORBIDDEN)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::new(status, Bytes::new())
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        response
    }
}

/// The answer to a request whose parameters cannot be read.
impl From<ParamsError> for Rejection {
    fn from(error: ParamsError) -> Self {
        Self::empty(match error {
            ParamsError::TooLong => StatusCode::URI_TOO_LONG,
            _ => StatusCode::BAD_REQUEST,
        })
    }
}
