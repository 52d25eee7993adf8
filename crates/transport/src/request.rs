//! What a session may be told of the request it came by, beside the parameters.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::USER_AGENT};

use crate::secret_names::{FILTERED, is_secret_name};

/// What of a request is handed on, the client's address in [`ConnectInfo::peer_addr`](crate::ConnectInfo::peer_addr) and the rest in
/// [`RequestInfo`]; by default nothing. Cookies and all other headers never are: browsers attach
/// them to requests of foreign pages too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Reveal {
    /// [`ConnectInfo::peer_addr`](crate::ConnectInfo::peer_addr).
    pub peer_addr: bool,
    /// [`RequestInfo::uri`].
    pub uri: bool,
    /// [`RequestInfo::user_agent`].
    pub user_agent: bool,
    /// [`RequestInfo::trace_context`].
    pub trace_context: bool,
    /// [`RequestInfo::x_headers`].
    pub x_headers: bool,
    /// [`RequestInfo::websocket_headers`].
    pub websocket_headers: bool,
}

impl Reveal {
    /// Nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Sets [`peer_addr`](Self::peer_addr).
    pub fn with_peer_addr(mut self) -> Self {
        self.peer_addr = true;
        self
    }

    /// Sets [`uri`](Self::uri).
    pub fn with_uri(mut self) -> Self {
        self.uri = true;
        self
    }

    /// Sets [`user_agent`](Self::user_agent).
    pub fn with_user_agent(mut self) -> Self {
        self.user_agent = true;
        self
    }

    /// Sets [`trace_context`](Self::trace_context).
    pub fn with_trace_context(mut self) -> Self {
        self.trace_context = true;
        self
    }

    /// Sets [`x_headers`](Self::x_headers).
    pub fn with_x_headers(mut self) -> Self {
        self.x_headers = true;
        self
    }

    /// Sets [`websocket_headers`](Self::websocket_headers).
    pub fn with_websocket_headers(mut self) -> Self {
        self.websocket_headers = true;
        self
    }
}

/// Of the request that a connection began with, what [`Reveal`] allows; of a long-poll session it is the one that opened it.
///
/// Shown by `Debug`, for a log, the URI has no query, and headers of a [secret's name](is_secret_name) are masked.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestInfo {
    /// Scheme, host, port, path and query that the client asked for. Host and port are those of the request (header `host`), which a
    /// proxy has to pass on; a port that is not written is the scheme's. The scheme is that of
    /// [`OriginPolicy::same_origin_over`](crate::OriginPolicy::same_origin_over) if there is one, else what a
    /// [trusted proxy](crate::TrustedProxies) says, else what the request says (HTTP/2), else `http`. A client may write what it likes into
    /// its request: decide nothing by it. Where a router has taken the path's beginning off, that is missing unless the server tells it
    /// ([`OriginalUri`](crate::OriginalUri)). Of a request that names no host there is the path and the query alone.
    pub uri: Option<Uri>,
    /// The header `user-agent`.
    pub user_agent: Option<String>,
    /// The headers `traceparent` and `tracestate`.
    pub trace_context: HeaderMap,
    /// All headers whose names begin with `x-`, but for those that carry tokens.
    pub x_headers: HeaderMap,
    /// All headers whose names begin with `sec-websocket-`; a token among the subprotocols is left out.
    pub websocket_headers: HeaderMap,
}

impl RequestInfo {
    pub(crate) fn of(uri: impl FnOnce() -> Uri, headers: &HeaderMap, reveal: Reveal) -> Self {
        let those = |reveal: bool, wanted: fn(&str) -> bool| match reveal {
            true => chosen(headers, wanted),
            false => HeaderMap::new(),
        };
        let user_agent = headers.get(USER_AGENT).filter(|_| reveal.user_agent);
        Self {
            uri: reveal.uri.then(uri),
            user_agent: user_agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into()),
            trace_context: those(reveal.trace_context, |name| {
                matches!(name, "traceparent" | "tracestate")
            }),
            x_headers: those(reveal.x_headers, |name| {
                name.starts_with("x-") && !name.starts_with("x-phoenix-")
            }),
            websocket_headers: those(reveal.websocket_headers, |name| {
                name.starts_with("sec-websocket-")
            }),
        }
    }
}

impl fmt::Debug for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestInfo")
            .field("uri", &self.uri.as_ref().map(WithoutQuery))
            .field("user_agent", &self.user_agent)
            .field("trace_context", &self.trace_context)
            .field("x_headers", &Masked(&self.x_headers))
            .field("websocket_headers", &self.websocket_headers)
            .finish()
    }
}

/// Scheme, host, port and path.
struct WithoutQuery<'a>(&'a Uri);

impl fmt::Debug for WithoutQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(scheme), Some(host)) = (self.0.scheme_str(), self.0.host()) {
            write!(f, "{scheme}://{host}")?;
        }
        if let Some(port) = self.0.port_u16() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

struct Masked<'a>(&'a HeaderMap);

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            match is_secret_name(name.as_str()) {
                true => map.entry(name, &format_args!("{FILTERED}")),
                false => map.entry(name, value),
            };
        }
        map.finish()
    }
}

fn chosen(headers: &HeaderMap, wanted: fn(&str) -> bool) -> HeaderMap {
    let wanted = headers
        .iter()
        .filter(|(name, value)| wanted(name.as_str()) && !is_token(value));
    let wanted =
        wanted.map(|(name, value): (&HeaderName, &HeaderValue)| (name.clone(), value.clone()));
    let mut chosen = HeaderMap::new();
    for (name, value) in wanted {
        chosen.append(name, value);
    }
    chosen
}

fn is_token(value: &HeaderValue) -> bool {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.contains("base64url.bearer.phx.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "session=1"),
            ("authorization", "Bearer 1"),
            ("user-agent", "Lab/1"),
            ("traceparent", "00-1"),
            ("tracestate", "a=b"),
            ("x-one", "1"),
            ("x-one", "2"),
            ("x-phoenix-authtoken", "secret"),
            ("x-phoenix-longpoll-token", "secret"),
            ("sec-websocket-version", "13"),
            (
                "sec-websocket-protocol",
                "phoenix, base64url.bearer.phx.MTIzNA",
            ),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_is_shown_of_it_has_no_secrets() {
        let mut headers = headers();
        headers.append("x-csrf-token", "hidden".parse().unwrap());
        let reveal = Reveal::nothing().with_uri().with_x_headers();
        let uri = || Uri::from_static("https://al:hidden@h.example:1/socket?token=hidden");
        let shown = format!("{:?}", RequestInfo::of(uri, &headers, reveal));
        assert!(shown.contains("https://h.example:1/socket"), "{shown}");
        assert!(
            shown.contains(r#""x-csrf-token": [FILTERED]"#) && shown.contains(r#""x-one": "1""#),
            "{shown}"
        );
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn by_default_nothing_is_handed_on() {
        let uri = Uri::from_static("/websocket?user=al");
        let info = RequestInfo::of(|| uri.clone(), &headers(), Reveal::nothing());
        assert_eq!(info, RequestInfo::default());
    }

    #[test]
    fn each_is_handed_on_where_asked_for_and_nothing_beside_it() {
        let uri = Uri::from_static("/websocket?user=al");
        let of = |reveal| RequestInfo::of(|| uri.clone(), &headers(), reveal);
        let names = |headers: &HeaderMap| {
            headers
                .keys()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        let default = RequestInfo::default;

        let info = of(Reveal::nothing().with_uri());
        assert_eq!(
            info,
            RequestInfo {
                uri: Some(uri.clone()),
                ..default()
            }
        );
        let info = of(Reveal::nothing().with_user_agent());
        assert_eq!(
            info,
            RequestInfo {
                user_agent: Some("Lab/1".into()),
                ..default()
            }
        );
        let info = of(Reveal::nothing().with_trace_context());
        let mut traces = names(&info.trace_context);
        traces.sort();
        assert_eq!(traces, ["traceparent", "tracestate"]);
        let info = of(Reveal::nothing().with_x_headers());
        assert_eq!(names(&info.x_headers), ["x-one"]);
        assert_eq!(info.x_headers.get_all("x-one").iter().count(), 2);
        let info = of(Reveal::nothing().with_websocket_headers());
        assert_eq!(names(&info.websocket_headers), ["sec-websocket-version"]);
        assert!(info.x_headers.is_empty() && info.trace_context.is_empty());
    }
}
