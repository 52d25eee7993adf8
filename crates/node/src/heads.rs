//! Connections that wait for a request, or for the rest of one: how many there may be, in all and from one address.
//!
//! Until its request is whole, nothing above knows of a connection, and it costs a file descriptor all the same.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use matryoshka_presence::channel::transport::counted_address;

/// How many connections may wait for a request at a time. None is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// In all.
    pub(crate) in_all: Option<usize>,
    /// From one address, loopback not counted; addresses of IPv6 count by their first 64 bits. What comes through a proxy counts as
    /// the proxy's, since only a whole head could tell more.
    pub(crate) of_address: Option<usize>,
}

/// Those that wait now. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    limits: HeadLimits,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    in_all: usize,
    of_address: HashMap<IpAddr, usize>,
}

/// One connection that waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Head {
    heads: Heads,
    address: Option<IpAddr>,
}

impl Heads {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            waiting: Arc::default(),
        }
    }

    /// A connection waits, a new one or one whose request is answered, or it is one too many.
    pub(crate) fn enter(&self, ip: IpAddr) -> Option<Head> {
        let address = counted_address(ip);
        let mut waiting = self.lock();
        let of_address = address.map_or(0, |address| waiting.of(&address));
        let is_over = |count, most: Option<usize>| most.is_some_and(|most| count >= most);
        if is_over(waiting.in_all, self.limits.in_all)
            || is_over(of_address, self.limits.of_address)
        {
            return None;
        }
        Some(self.count(&mut waiting, address))
    }

    fn count(&self, waiting: &mut Waiting, address: Option<IpAddr>) -> Head {
        waiting.in_all += 1;
        if let Some(address) = address {
            *waiting.of_address.entry(address).or_default() += 1;
        }
        Head {
            heads: self.clone(),
            address,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Two numbers are whole whenever a panic could strike.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn of(&self, address: &IpAddr) -> usize {
        self.of_address.get(address).copied().unwrap_or(0)
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let mut waiting = self.heads.lock();
        waiting.in_all -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = waiting.of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                waiting.of_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(in_all: usize, of_address: usize) -> Heads {
        Heads::new(HeadLimits {
            in_all: Some(in_all),
            of_address: Some(of_address),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn they_are_bounded_in_all_and_by_address() {
        let heads = heads(4, 2);
        let first = heads.enter(ip("192.0.2.1")).unwrap();
        let _mapped = heads.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert!(heads.enter(ip("192.0.2.1")).is_none());
        let _same_network = [
            heads.enter(ip("2001:db8::1")),
            heads.enter(ip("2001:db8::f:1")),
        ]
        .map(Option::unwrap);
        assert!(heads.enter(ip("2001:db8::2")).is_none());
        assert!(heads.enter(ip("192.0.2.2")).is_none(), "in all");
        drop(first);
        assert!(
            heads.enter(ip("2001:db8::2")).is_none(),
            "its network is full"
        );
        drop(heads.enter(ip("192.0.2.1")).unwrap());
        drop(heads.enter(ip("192.0.2.2")).unwrap());
    }

    #[test]
    fn loopback_counts_in_all_only_and_nothing_is_kept_of_the_gone() {
        let heads = heads(3, 1);
        let all = ["127.0.0.1", "127.0.0.1", "::1"].map(|text| heads.enter(ip(text)).unwrap());
        assert!(heads.enter(ip("127.0.0.1")).is_none());
        drop(all);
        drop(heads.enter(ip("192.0.2.1")));
        assert!(heads.lock().of_address.is_empty());
    }
}
