//! Which pages may connect: the check of the `Origin` header.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, header};
use thiserror::Error;

/// Decides by the `Origin` header whether a browser's page may talk to this server.
///
/// A request without that header is allowed: it comes from no browser. By default a page is allowed if it was served
/// from the host that the request itself names (its `Host` header), or from any loopback host, whatever the scheme
/// and port. Further origins are added one by one; `*` allows all.
///
/// That default needs no configuration, and has one hole: whoever owns a name can have it lead to an address of yours after their
/// page was loaded, loopback included, and then page and request name the same host. A server that holds anything of value says by
/// which names it is reached: [`served_as`](Self::served_as).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    allow_all: bool,
    listed: Vec<Pattern>,
    /// The names of this server; none for whatever the request says, and loopback.
    served_as: Vec<String>,
}

impl OriginPolicy {
    /// The default: the server's own host and every loopback host.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows every origin, also none at all (`null`).
    pub fn any() -> Self {
        Self {
            allow_all: true,
            ..Self::default()
        }
    }

    /// Says by which host this server is reached, such as `chat.example.com` or `192.168.1.5`; several may be added. From then on the
    /// `Host` header and loopback count for nothing: a page is allowed if it was served from one of these hosts, or is of an
    /// [allowed](Self::allow) origin.
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
    /// # Errors
    /// [`InvalidOrigin`] if the entry has no host or an odd port.
    pub fn allow(mut self, entry: &str) -> Result<Self, InvalidOrigin> {
        match entry {
            "*" => self.allow_all = true,
            _ => self.listed.push(entry.parse()?),
        }
        Ok(self)
    }

    /// Whether a request with these headers is allowed. Only the first `Origin` header counts.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN).filter(|_| !self.allow_all) else {
            return true;
        };
        let Some(origin) = origin.to_str().ok().and_then(Origin::parse) else {
            return false;
        };
        self.is_own(&origin.host, headers)
            || self.listed.iter().any(|pattern| pattern.matches(&origin))
    }

    /// Whether a page of this host is one of the server's own.
    fn is_own(&self, host: &str, headers: &HeaderMap) -> bool {
        if !self.served_as.is_empty() {
            return self.served_as.iter().any(|own| own == host);
        }
        let named = headers
            .get(header::HOST)
            .and_then(|named| named.to_str().ok());
        let named = named.and_then(Authority::parse);
        is_loopback(host) || named.is_some_and(|named| named.host == host)
    }
}

/// An entry for the list of allowed origins that names no host.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "origin {0:?} is not `*` and not of the form scheme://host:port (scheme and port optional)"
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
    fn matches(&self, origin: &Origin) -> bool {
        let scheme = self
            .scheme
            .as_ref()
            .is_none_or(|scheme| *scheme == origin.scheme);
        let port = self.port.is_none_or(|port| Some(port) == origin.port);
        scheme && port && self.host.matches(&origin.host)
    }
}

impl Host {
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
        Ok(Self { scheme, host, port })
    }
}

/// What an `Origin` header says.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// None for an origin without a host, such as `null` or `file://`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let Authority { host, port } = Authority::parse(before_path(rest))?;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host, port })
    }
}

/// A host in lower case, and a port if one is written.
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
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
