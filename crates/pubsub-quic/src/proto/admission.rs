//! Whose handshakes are begun: how many may be under way, in all and from one address.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Handshakes of others that may be under way at once. Further ones wait in the endpoint, which refuses what is too
/// much for it.
pub(crate) const MAX_HANDSHAKES: usize = 64;
/// From this many on, whoever connects has to prove first that its address is its own.
pub(crate) const MAX_UNPROVEN: usize = 16;
/// Handshakes from one address that may be under way at once. Further ones are refused, so that nobody can keep all others out.
pub(crate) const MAX_HANDSHAKES_PER_ADDRESS: usize = 32;
/// From this many of one address on, the next has to prove that it is from there: else a stranger could use up the share of a
/// member by writing its address on his packets.
pub(crate) const MAX_UNPROVEN_PER_ADDRESS: usize = 4;

/// Counts what is under way.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    all: usize,
    here: BTreeMap<Origin, usize>,
}

/// What becomes of somebody who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The handshake goes on, and counts until [`Admission::leave`].
    Enter,
    /// It has to prove its address, and comes again.
    Prove,
    /// There are too many from its address already.
    Refuse,
}

/// Whom an address belongs to. An IPv6 host has all addresses of its /64 to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Origin(IpAddr);

impl Origin {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
        })
    }
}

impl Admission {
    /// Whether one more may begin at all.
    pub(crate) fn has_room(&self) -> bool {
        self.all < MAX_HANDSHAKES
    }

    /// Decides about somebody who connects; `is_proven` if it has shown that its address is its own, or cannot be asked to.
    pub(crate) fn enter(&mut self, from: IpAddr, is_proven: bool) -> Verdict {
        let origin = Origin::of(from);
        let here = self.here.get(&origin).copied().unwrap_or_default();
        let ask = self.all >= MAX_UNPROVEN || here >= MAX_UNPROVEN_PER_ADDRESS;
        if ask && !is_proven {
            return Verdict::Prove;
        }
        if here >= MAX_HANDSHAKES_PER_ADDRESS {
            return Verdict::Refuse;
        }
        self.all += 1;
        self.here.insert(origin, here + 1);
        Verdict::Enter
    }

    /// A handshake that had entered is over.
    pub(crate) fn leave(&mut self, from: IpAddr) {
        let origin = Origin::of(from);
        self.all -= 1;
        if let Some(here) = self.here.get_mut(&origin) {
            *here -= 1;
            if *here == 0 {
                self.here.remove(&origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of a thousand may enter, from addresses that `from` gives.
    fn entered(admission: &mut Admission, proven: bool, from: impl Fn(u16) -> IpAddr) -> usize {
        let mut entered = 0;
        for n in 0..1000 {
            let enters = admission.has_room() && admission.enter(from(n), proven) == Verdict::Enter;
            entered += usize::from(enters);
        }
        entered
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let mut admission = Admission::default();
        let one = ip("192.0.2.1");
        assert_eq!(
            entered(&mut admission, true, |_| one),
            MAX_HANDSHAKES_PER_ADDRESS
        );
        assert_eq!(admission.enter(one, true), Verdict::Refuse);
        let mapped = ip("::ffff:192.0.2.1");
        assert_eq!(admission.enter(mapped, true), Verdict::Refuse);
        assert!(admission.has_room());
        assert_eq!(admission.enter(ip("192.0.2.2"), true), Verdict::Enter);
        admission.leave(one);
        assert_eq!(admission.enter(one, true), Verdict::Enter);
    }

    #[test]
    fn a_whole_network_of_one_host_counts_as_one_address() {
        let mut admission = Admission::default();
        let from = |n: u16| ip(&format!("2001:db8::{n:x}"));
        assert_eq!(
            entered(&mut admission, true, from),
            MAX_HANDSHAKES_PER_ADDRESS
        );
        assert_eq!(admission.enter(ip("2001:db8:0:1::1"), true), Verdict::Enter);
    }

    #[test]
    fn many_addresses_together_have_a_limit_too() {
        let mut admission = Admission::default();
        let from = |n: u16| ip(&format!("10.0.{}.{}", n >> 8, n & 255));
        assert_eq!(entered(&mut admission, true, from), MAX_HANDSHAKES);
        for n in 0..64 {
            admission.leave(from(n));
        }
        assert_eq!(admission.all, 0);
        assert!(admission.here.is_empty());
    }

    #[test]
    fn who_writes_anothers_address_on_packets_does_not_use_up_its_share() {
        let mut admission = Admission::default();
        let member = ip("192.0.2.1");
        assert_eq!(
            entered(&mut admission, false, |_| member),
            MAX_UNPROVEN_PER_ADDRESS
        );
        assert_eq!(admission.enter(member, false), Verdict::Prove);
        assert_eq!(admission.enter(member, true), Verdict::Enter);
        let from = |n: u16| ip(&format!("10.0.{}.{}", n >> 8, n & 255));
        let others = entered(&mut admission, false, from);
        assert_eq!(others, MAX_UNPROVEN - MAX_UNPROVEN_PER_ADDRESS - 1);
        assert_eq!(admission.enter(ip("10.9.9.9"), true), Verdict::Enter);
    }
}
