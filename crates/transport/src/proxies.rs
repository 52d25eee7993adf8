//! Which proxies may say where a client is, and what they say.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, uri::Scheme};
use thiserror::Error;

/// How many proxies a request may have passed: 32. What they say beyond is not read.
const MAX_HOPS: usize = 32;

/// Proxies that are believed when they say where a client is; by default none, and a client is where its connection comes from.
///
/// A request that comes from one of them is taken for one of the client that the last proxy names; where that is a trusted proxy
/// again, for one of the client that this one was told of, and so on: the first address, read from the end of the header, that is
/// no trusted proxy. What stands before it was written by the client, and means nothing. An entry that is no address ends the walk,
/// and the client is where the walk had come to.
///
/// Only one header is read, since a proxy that writes one passes on what a client wrote into the other. Name only addresses from
/// which nobody but the proxies can connect. A proxy that writes `X-Forwarded-For` is believed about the scheme as well, in
/// `X-Forwarded-Proto`; one that writes `Forwarded` says it there.
///
/// ```
/// # use matryoshka_transport::TrustedProxies;
/// let proxies = TrustedProxies::by_x_forwarded_for(["10.0.0.0/8", "fd00::/8", "192.0.2.7"]).unwrap();
/// # drop(proxies);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    header: ProxyHeader,
    networks: Vec<Network>,
}

/// Where proxies write whom they speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ProxyHeader {
    /// `X-Forwarded-For: client, proxy`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239).
    Forwarded,
}

impl TrustedProxies {
    /// Nobody is believed.
    pub fn none() -> Self {
        Self::default()
    }

    /// Proxies at these addresses or networks, such as `10.0.0.0/8`, which write `X-Forwarded-For`.
    ///
    /// # Errors
    /// [`InvalidNetwork`] names the first entry that is none.
    pub fn by_x_forwarded_for<'a>(
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidNetwork> {
        Self::by(ProxyHeader::XForwardedFor, networks)
    }

    /// The same, for proxies which write `Forwarded`.
    ///
    /// # Errors
    /// As [`by_x_forwarded_for`](Self::by_x_forwarded_for).
    pub fn by_forwarded<'a>(
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidNetwork> {
        Self::by(ProxyHeader::Forwarded, networks)
    }

    fn by<'a>(
        header: ProxyHeader,
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidNetwork> {
        let networks = networks.into_iter().map(str::parse);
        Ok(Self {
            header,
            networks: networks.collect::<Result<_, _>>()?,
        })
    }

    /// Where the client of a request is that came from `peer`. Its port is 0 where the proxy does not say it.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut client = peer;
        if !self.trusts(client) {
            return client;
        }
        let values = headers.get_all(self.header.name()).iter();
        // Lines of one header are one list; the last entry of the last line was written last. One that is no text has no addresses.
        let lines = values.rev().map(|line| line.to_str().unwrap_or_default());
        for entry in lines.flat_map(|line| line.rsplit(',')).take(MAX_HOPS) {
            let Some(before) = self.header.address(entry) else {
                return client;
            };
            client = before;
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    /// By which scheme a request came that came from `peer`, as the proxy nearest to this server says; see
    /// [`OriginPolicy::same_origin`](crate::OriginPolicy::same_origin). None if it is no trusted proxy, or names neither `http` nor `https`.
    pub fn scheme(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<Scheme> {
        if !self.trusts(peer) {
            return None;
        }
        let name = match self.header {
            ProxyHeader::XForwardedFor => "x-forwarded-proto",
            ProxyHeader::Forwarded => "forwarded",
        };
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        let entry = value.rsplit(',').next()?;
        let scheme = match self.header {
            ProxyHeader::XForwardedFor => entry.trim(),
            ProxyHeader::Forwarded => pair(entry, "proto")?,
        };
        [Scheme::HTTP, Scheme::HTTPS]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))
    }

    /// Whether nobody is believed.
    pub(crate) fn is_none(&self) -> bool {
        self.networks.is_empty()
    }

    fn trusts(&self, address: SocketAddr) -> bool {
        let address = address.ip().to_canonical();
        self.networks.iter().any(|network| network.has(address))
    }
}

impl ProxyHeader {
    fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// The address that one entry names. None for one that is hidden, unknown or nonsense.
    fn address(self, entry: &str) -> Option<SocketAddr> {
        let node = match self {
            Self::XForwardedFor => entry.trim(),
            Self::Forwarded => pair(entry, "for")?,
        };
        let plain = |node: &str| node.parse().ok().map(|ip| SocketAddr::new(ip, 0));
        let bracketed = node
            .strip_prefix('[')
            .and_then(|node| node.strip_suffix(']'));
        plain(node)
            .or_else(|| plain(bracketed?))
            .or_else(|| node.parse().ok())
    }
}

/// What an entry of `Forwarded` says under this name.
fn pair<'a>(entry: &'a str, wanted: &str) -> Option<&'a str> {
    entry.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        is_wanted.then(|| value.trim().trim_matches('"'))
    })
}

/// An address and how many of its leading bits count; all addresses as those of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    length: u32,
}

/// How many leading bits all addresses of IPv4 share as those of IPv6.
const MAPPED_BITS: u32 = 96;

impl Network {
    fn has(self, address: IpAddr) -> bool {
        let differing = bits(address) ^ self.bits;
        differing.leading_zeros() >= self.length
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .to_bits()
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let shared = match address {
            IpAddr::V4(_) => MAPPED_BITS,
            IpAddr::V6(_) => 0,
        };
        let most = Ipv6Addr::BITS - shared;
        let length = length.map_or(Ok(most), |length| length.parse().map_err(|_| invalid()))?;
        if length > most {
            return Err(invalid());
        }
        Ok(Self {
            bits: bits(address.to_canonical()),
            length: shared + length,
        })
    }
}

/// A text that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is neither an address nor a network such as 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork(pub String);

#[cfg(test)]
mod tests;
