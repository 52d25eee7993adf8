//! How many there are of each.
//!
//! Pure: no clock, no I/O, no tasks.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// A number for each key that has any.
#[derive(Debug)]
pub(crate) struct Census<K>(BTreeMap<K, usize>);

impl<K> Default for Census<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Census<K> {
    /// Counts one more, unless there are as many as there may be.
    pub(crate) fn enter(&mut self, key: K, most: Option<usize>) -> bool {
        let known = self.0.get(&key).copied().unwrap_or(0);
        let fits = most.is_none_or(|most| known < most);
        if fits {
            self.0.insert(key, known + 1);
        }
        fits
    }

    /// Counts one less.
    pub(crate) fn leave(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

/// An address as far as it tells one client's place from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(IpAddr);

impl Address {
    /// None for loopback.
    pub(crate) fn of(peer: SocketAddr) -> Option<Self> {
        counted_address(peer.ip()).map(Self)
    }
}

/// As what a client's address counts against limits by address. One of IPv6 counts by its first 64 bits, as whoever has one mostly has all
/// with the same first half. Loopback counts for none, since what comes from there comes through a proxy or from a tool.
///
/// ```
/// # use matryoshka_transport::counted_address;
/// let counted = |ip: &str| counted_address(ip.parse().unwrap());
/// assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
/// assert_eq!(counted("2001:db8::1"), counted("2001:db8::2"));
/// assert_eq!(counted("127.0.0.1"), None);
/// ```
pub fn counted_address(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    let network = match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    };
    (!ip.is_loopback()).then_some(network)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_makes_room() {
        let mut census = Census::default();
        assert!(census.enter("a", Some(2)) && census.enter("a", Some(2)));
        assert!(!census.enter("a", Some(2)) && census.enter("b", Some(2)));
        census.leave(&"a");
        assert!(census.enter("a", Some(2)) && census.enter("a", None));
        (0..3).for_each(|_| census.leave(&"a"));
        census.leave(&"b");
        assert!(census.0.is_empty());
        assert!(!census.enter("a", Some(0)));
    }

    #[test]
    fn an_address_is_a_place() {
        let address = |text: &str| Address::of(text.parse().expect("an address"));
        assert_eq!(address("127.0.0.1:80"), None);
        assert_eq!(address("[::1]:80"), None);
        assert_eq!(address("[::ffff:127.0.0.1]:80"), None);
        assert_eq!(address("192.0.2.1:80"), address("[::ffff:192.0.2.1]:81"));
        assert_ne!(address("192.0.2.1:80"), address("192.0.2.2:80"));
        assert_eq!(
            address("[2001:db8::1]:80"),
            address("[2001:db8::ffff:1]:80")
        );
        assert_ne!(address("[2001:db8::1]:80"), address("[2001:db8:0:1::1]:80"));
    }
}
