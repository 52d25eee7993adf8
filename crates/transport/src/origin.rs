//! Which pages may connect: the check of the `Origin` header.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use http::{
    HeaderMap, header,
    uri::{self, Scheme},
};
use thiserror::Error;

/// Decides by the `Origin` header whether a browser's page may talk to this server.
///
/// A request without that header is allowed: it comes from no browser. By default a page is allowed if it was served
/// from the host that the request itself names (by its `Host` header, or over HTTP/2 in its URI), or from any loopback host, whatever the scheme
/// and port. Further origins are added one by one; `*` allows all.
///
/// That default needs no configuration, and has one hole: whoever owns a name can have it lead to an address of yours after their
/// page was loaded, loopback included, and then page and request name the same host. A server that holds anything of value says by
/// which names it is reached ([`served_as`](Self::served_as)), or which pages may connect and no other ([`only`](Self::only)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    own: Own,
    listed: Vec<Pattern>,
    /// Hosts that this server is reached by.
    served_as: Vec<String>,
}

/// Which pages are allowed beside those of hosts and origins that are named one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Own {
    /// Those of the host that the request names, and of loopback hosts.
    #[default]
    HostOrLoopback,
    /// None.
    Nobody,
    /// All.
    Everybody,
    /// Those of the request's own origin. The scheme, where it is known better than by the request.
    Same(Option<Scheme>),
    /// Those that this function allows.
    Allowed(Check),
}

impl OriginPolicy {
    /// The default: the server's own host and every loopback host.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows every origin, also none at all (`null`).
    pub fn any() -> Self {
        Self::of(Own::Everybody)
    }

    /// Allows these origins and no other: neither the host that the request names nor loopback, unless they are listed. Entries are
    /// those of [`allow`](Self::allow); none at all keep every browser out.
    ///
    /// ```
    /// # use matryoshka_transport::OriginPolicy;
    /// let origins = OriginPolicy::only(["https://chat.example.com", "//*.example.org"]).unwrap();
    /// # drop(origins);
    /// ```
    ///
    /// # Errors
    /// [`InvalidOrigin`] names the first entry that is none.
    pub fn only<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidOrigin> {
        let nobody = Self::of(Own::Nobody);
        entries.into_iter().try_fold(nobody, Self::allow)
    }

    /// Allows pages of the request's own origin: the same scheme, host and port.
    ///
    /// Host and port are those of the `Host` header, which a proxy has to pass on as the browser wrote it. The scheme is `http`, unless a
    /// [trusted proxy](crate::TrustedProxies) says `https`; where TLS ends somewhere that says nothing,
    /// [`same_origin_over`](Self::same_origin_over) names it. A rebound name passes, as it does by default.
    pub fn same_origin() -> Self {
        Self::of(Own::Same(None))
    }

    /// The same for a server that is only reached by this scheme, whatever a proxy says.
    pub fn same_origin_over(scheme: Scheme) -> Self {
        Self::of(Own::Same(Some(scheme)))
    }

    /// Asks a function, which must neither wait nor panic: it is called for each request with an `Origin` header that is text, also for origins
    /// without a host, such as `null`.
    ///
    /// ```
    /// # use matryoshka_transport::OriginPolicy;
    /// let tenants = ["anna.example.com", "ben.example.com"];
    /// let origins = OriginPolicy::by(move |origin| {
    ///     origin.scheme() == Some("https") && origin.host().is_some_and(|host| tenants.contains(&host))
    /// });
    /// # drop(origins);
    /// ```
    pub fn by(check: impl Fn(&Origin<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Own::Allowed(Check(Arc::new(check))))
    }

    fn of(own: Own) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Says by which host this server is reached, such as `chat.example.com` or `192.168.1.5`; several may be added. From then on the
    /// default's `Host` header and loopback count for nothing: a page is allowed if it was served from one of these hosts, or is of an
    /// [allowed](Self::allow) origin. To any other policy they are added.
    ///
    /// # Errors
    /// [`InvalidOrigin`] if it is no host: a scheme, a port or a path does not belong here.
    pub fn served_as(mut self, host: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(host.to_owned());
        let bracketed = host.parse().is_ok_and(|ip: IpAddr| ip.is_ipv6());
        let text = match bracketed {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        match Authority::parse(&text) {
            Some(Authority { host, port: None }) if !host.contains('*') => {
                self.served_as.push(host);
                if self.own == Own::HostOrLoopback {
                    self.own = Own::Nobody;
                }
                Ok(self)
            }
            _ => Err(invalid()),
        }
    }

    /// Allows a further origin, `scheme://host:port` with scheme and port optional.
    ///
    /// What is left out matches anything, except that `http` and `https` imply their usual ports. A host
    /// `*.example.com` is `example.com` and everything below it. The entry `*` allows all.
    ///
    /// It adds to what is allowed already: to the default, the server's own host and loopback hosts. For a list and nothing else,
    /// begin with [`only`](Self::only).
    ///
    /// # Errors
    /// [`InvalidOrigin`] if the entry has no host or an odd port.
    pub fn allow(mut self, entry: &str) -> Result<Self, InvalidOrigin> {
        match entry {
            "*" => self.own = Own::Everybody,
            _ => self.listed.push(entry.parse()?),
        }
        Ok(self)
    }

    /// Whether a request with these headers is allowed that came without TLS. Only the first `Origin` header counts.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        self.allows_over(&Scheme::HTTP, headers)
    }

    /// The same of a request that came by this scheme, which makes a difference to [`same_origin`](Self::same_origin) only.
    ///
    /// The host that it names is that of its `Host` header. Over HTTP/2 it stands in the URI instead: see [`allows_at`](Self::allows_at).
    pub fn allows_over(&self, scheme: &Scheme, headers: &HeaderMap) -> bool {
        let named = headers.get(header::HOST);
        self.allows_named(scheme, named.and_then(|host| host.to_str().ok()), headers)
    }

    /// The same of a request whose URI names this host and port, as those of HTTP/2 do; where it names none the `Host` header counts.
    pub fn allows_at(
        &self,
        authority: Option<&uri::Authority>,
        scheme: &Scheme,
        headers: &HeaderMap,
    ) -> bool {
        match authority {
            Some(authority) => self.allows_named(scheme, Some(authority.as_str()), headers),
            None => self.allows_over(scheme, headers),
        }
    }

    /// The same of a request that names this host, which may have a port.
    fn allows_named(&self, scheme: &Scheme, named: Option<&str>, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        if self.own == Own::Everybody {
            return true;
        }
        let Ok(text) = origin.to_str() else {
            return false;
        };
        let origin = Origin::parse(text);
        if let Own::Allowed(check) = &self.own
            && (check.0)(&origin)
        {
            return true;
        }
        origin.place.is_some_and(|place| {
            self.is_own(&place, scheme, named)
                || self.served_as.contains(&place.host)
                || self.listed.iter().any(|pattern| pattern.matches(&place))
        })
    }

    /// By which scheme alone this server is reached, if that was said.
    pub(crate) fn scheme(&self) -> Option<&Scheme> {
        match &self.own {
            Own::Same(scheme) => scheme.as_ref(),
            _ => None,
        }
    }

    /// Whether a page of this place is one of the server's own, as the request says who that is.
    fn is_own(&self, place: &Place, scheme: &Scheme, named: Option<&str>) -> bool {
        let named = || Authority::parse(named?);
        match &self.own {
            Own::HostOrLoopback => {
                is_loopback(&place.host) || named().is_some_and(|named| named.host == place.host)
            }
            Own::Same(known) => {
                let scheme = known.as_ref().unwrap_or(scheme).as_str();
                named().is_some_and(|named| *place == named.over(scheme))
            }
            Own::Nobody | Own::Everybody | Own::Allowed(_) => false,
        }
    }
}

/// A function of the application's.
#[derive(Clone)]
struct Check(Arc<dyn Fn(&Origin<'_>) -> bool + Send + Sync>);

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

/// Whether it is the same function, not whether it decides alike.
impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Check {}

/// An entry for the list of allowed origins that names no host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "origin {0:?} is not `*` and not of the form scheme://host:port (scheme and port optional; the host may begin with `*.`, for all below it)"
)]
pub struct InvalidOrigin(pub String);

/// An allowed origin; what is none matches anything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    scheme: Option<String>,
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exactly(String),
    /// This host and all below it.
    Under(String),
}

impl Pattern {
    fn matches(&self, place: &Place) -> bool {
        let scheme = self
            .scheme
            .as_ref()
            .is_none_or(|scheme| *scheme == place.scheme);
        let port = self.port.is_none_or(|port| Some(port) == place.port);
        scheme && port && self.host.matches(&place.host)
    }
}

impl Host {
    fn name(&self) -> &str {
        match self {
            Self::Exactly(name) | Self::Under(name) => name,
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => name == host,
            Self::Under(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|above| above.is_empty() || above.ends_with('.')),
        }
    }
}

impl FromStr for Pattern {
    type Err = InvalidOrigin;

    fn from_str(entry: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(entry.to_owned());
        let (scheme, rest) = match entry.split_once("//") {
            Some(("", rest)) => (None, rest),
            Some((scheme, rest)) => (
                Some(
                    scheme
                        .strip_suffix(':')
                        .ok_or_else(invalid)?
                        .to_ascii_lowercase(),
                ),
                rest,
            ),
            None => (None, entry),
        };
        let Authority { host, port } = Authority::parse(before_path(rest)).ok_or_else(invalid)?;
        let port = port.or_else(|| scheme.as_deref().and_then(default_port));
        let host = match host.strip_prefix("*.") {
            Some(domain) => Host::Under(domain.to_owned()),
            None => Host::Exactly(host),
        };
        // Anything else with one would match nobody, and the cure for that would be in place already.
        if host.name().is_empty() || host.name().contains('*') {
            return Err(invalid());
        }
        Ok(Self { scheme, host, port })
    }
}

/// What an `Origin` header says, as a function of [`OriginPolicy::by`] is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    text: &'a str,
    place: Option<Place>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Self {
        Self {
            text,
            place: Place::parse(text),
        }
    }

    /// The header as the client wrote it.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Such as `https`, in lower case. None for an origin without a host, such as `null` or `file://`.
    pub fn scheme(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.scheme.as_str())
    }

    /// The host in lower case, an address of IPv6 in its brackets. None if there is none.
    pub fn host(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.host.as_str())
    }

    /// The port, which `http` and `https` imply. None if there is none.
    pub fn port(&self) -> Option<u16> {
        self.place.as_ref()?.port
    }
}

/// Where a page was served from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Place {
    /// None for an origin without a host, such as `null` or `file://`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = Authority::parse(before_path(rest))?;
        Some(authority.over(&scheme.to_ascii_lowercase()))
    }
}

/// A host in lower case, and a port if one is written.
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reached by this scheme.
    fn over(self, scheme: &str) -> Place {
        Place {
            scheme: scheme.to_owned(),
            host: self.host,
            port: self.port.or_else(|| default_port(scheme)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        // The colons of an IPv6 address stand inside brackets.
        let after_host = text.find(']').map_or(0, |end| end + 1);
        let (host, port) = match text[after_host..].find(':') {
            Some(colon) => (
                &text[..after_host + colon],
                Some(&text[after_host + colon + 1..]),
            ),
            None => (text, None),
        };
        let port = port
            .map(|port| port.parse().ok())
            .map_or(Some(None), |port| port.map(Some))?;
        let plain = !host.is_empty() && !host.contains(['@', '/', ' ']);
        plain.then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

fn before_path(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests;
