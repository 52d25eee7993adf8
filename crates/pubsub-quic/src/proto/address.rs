//! The address book: where to dial, and when again.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use matryoshka_pubsub::{Incarnation, NodeName};
use rand::Rng;

use super::peer::ConnectionId;

/// The delay before the first redial; it doubles with each failure.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest delay between attempts at a recent member, or at a seed in its first ten minutes.
pub(crate) const RECENT_BACKOFF: Duration = Duration::from_secs(1);
/// The longest delay between attempts at anything else.
pub(crate) const OTHER_BACKOFF: Duration = Duration::from_secs(5);
/// How long a member that is gone counts as recent; after that it is forgotten, if it is no seed.
pub(crate) const RECENT: Duration = Duration::from_secs(600);
/// How many addresses are kept. Further ones that peers tell are not taken in.
pub(crate) const MAX_TARGETS: usize = 1024;
/// The longest address text that is taken in.
const MAX_ADDRESS_BYTES: usize = 261;

/// One address and what became of it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Given by the operator: never forgotten.
    pub(crate) seed: bool,
    /// Who was met there last, or is said to be there.
    pub(crate) name: Option<NodeName>,
    /// Which life of it.
    pub(crate) incarnation: Incarnation,
    /// The attempt that is under way.
    pub(crate) dialling: Option<ConnectionId>,
    /// How often it was dialled.
    pub(crate) attempts: u32,
    myself: bool,
    failures: u32,
    next_at: Instant,
    recent_until: Instant,
    reached: bool,
}

/// All addresses.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    targets: BTreeMap<String, Target>,
}

impl AddressBook {
    /// Adds an address of the operator's.
    pub(crate) fn add_seed(&mut self, address: &str, now: Instant) {
        let target = self.entry(address, now);
        target.seed = true;
    }

    /// Adds what another member said: that life of a node is there. Dialled after `delay`. False if the book is full.
    ///
    /// One address may lead to another node after a restart; one that leads to a node which `is_linked` there does not.
    pub(crate) fn learn(
        &mut self,
        address: &str,
        (name, incarnation): (&NodeName, Incarnation),
        now: Instant,
        delay: Duration,
        is_linked: impl Fn(&NodeName) -> bool,
    ) -> bool {
        let known = self.targets.contains_key(address);
        if !known && self.targets.len() >= MAX_TARGETS {
            return false;
        }
        let target = self.entry(address, now);
        if !known {
            target.next_at = now + delay;
        }
        if target.name.as_ref() == Some(name) {
            target.incarnation = target.incarnation.max(incarnation);
        } else if !target.name.as_ref().is_some_and(is_linked) {
            (target.name, target.incarnation) = (Some(name.clone()), incarnation);
        }
        true
    }

    /// This address is this node's own.
    pub(crate) fn is_myself(&mut self, address: &str, now: Instant) {
        let fixed = address.parse::<SocketAddr>().is_ok();
        if let Some(target) = self.targets.get_mut(address) {
            // A host name may mean other nodes as well: worth another look, but not a hurried one.
            target.myself = fixed;
            target.name = None;
            target.next_at = now + OTHER_BACKOFF;
        }
    }

    /// That life of a node was met, and is to be found at `address`, having been dialled at `dialled`. Where earlier lives of it
    /// were it is no more; where a later one is said to be is still worth knowing.
    pub(crate) fn met(
        &mut self,
        (name, incarnation): (&NodeName, Incarnation),
        address: &str,
        dialled: Option<&str>,
        now: Instant,
    ) {
        self.targets.retain(|at, target| {
            let is_elsewhere = target.name.as_ref() == Some(name) && at.as_str() != address;
            target.seed || !is_elsewhere || target.incarnation > incarnation
        });
        let full = self.targets.len() >= MAX_TARGETS && !self.targets.contains_key(address);
        let main = (!full).then_some(address);
        for at in main.into_iter().chain(dialled) {
            let target = self.entry(at, now);
            (target.name, target.incarnation) = (Some(name.clone()), incarnation);
            target.reached = true;
            target.failures = 0;
        }
    }

    /// Who answered at `address` is that life of a node, whatever was said.
    pub(crate) fn led_to(&mut self, address: &str, name: &NodeName, incarnation: Incarnation) {
        if let Some(target) = self.targets.get_mut(address) {
            (target.name, target.incarnation) = (Some(name.clone()), incarnation);
        }
    }

    /// Somebody answered at `address`: worth dialling again soon.
    pub(crate) fn answered(&mut self, address: &str) {
        if let Some(target) = self.targets.get_mut(address) {
            target.reached = true;
        }
    }

    /// The link to `name` is gone: its addresses are to be dialled soon, and often.
    pub(crate) fn lost(&mut self, name: &NodeName, now: Instant, rng: &mut impl Rng) {
        for target in self.targets.values_mut() {
            if target.name.as_ref() == Some(name) {
                target.failures = 0;
                target.recent_until = now + RECENT;
                target.schedule(now, rng);
            }
        }
    }

    /// The attempt at `address` that was made by `connection` is over. A later one may have begun since.
    pub(crate) fn dial_ended(
        &mut self,
        address: &str,
        connection: ConnectionId,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        let target = self.targets.get_mut(address);
        if let Some(target) = target.filter(|target| target.dialling == Some(connection)) {
            target.dialling = None;
            if target.next_at <= now {
                target.schedule(now, rng);
            }
        }
    }

    /// Everything may be tried at once, after a short random delay.
    pub(crate) fn retry_all(&mut self, now: Instant, rng: &mut impl Rng) {
        for target in self.targets.values_mut() {
            target.failures = 0;
            target.schedule(now, rng);
        }
    }

    /// The address that has been due longest, of a life of a node for which `wanted` holds; `dial` marks it as under way. So of several
    /// that lead to one node, each has its turn.
    pub(crate) fn next_due(
        &self,
        now: Instant,
        wanted: impl Fn(&NodeName, Incarnation) -> bool,
    ) -> Option<String> {
        self.targets
            .iter()
            .filter(|(_, target)| {
                target.dialling.is_none()
                    && !target.myself
                    && target.next_at <= now
                    && target
                        .name
                        .as_ref()
                        .is_none_or(|name| wanted(name, target.incarnation))
            })
            .min_by_key(|(_, target)| target.next_at)
            .map(|(address, _)| address.clone())
    }

    /// Marks `address` as being dialled by `connection`; gives the attempt's number, from 0.
    pub(crate) fn dial(&mut self, address: &str, connection: ConnectionId) -> u32 {
        let Some(target) = self.targets.get_mut(address) else {
            return 0;
        };
        target.dialling = Some(connection);
        target.attempts = target.attempts.wrapping_add(1);
        target.attempts.wrapping_sub(1)
    }

    /// The target at `address`.
    pub(crate) fn get(&self, address: &str) -> Option<&Target> {
        self.targets.get(address)
    }

    /// Whether one of the operator's addresses leads to `name`.
    pub(crate) fn is_seed(&self, name: &NodeName) -> bool {
        self.targets
            .values()
            .any(|target| target.seed && target.name.as_ref() == Some(name))
    }

    /// Drops all but the operator's addresses of `name`.
    pub(crate) fn forget(&mut self, name: &NodeName) {
        self.targets
            .retain(|_, target| target.seed || target.name.as_ref() != Some(name));
    }

    /// Drops addresses that have long led nowhere, are no seeds and belong to nobody `known`.
    pub(crate) fn expire(&mut self, now: Instant, known: impl Fn(&NodeName) -> bool) {
        self.targets.retain(|_, target| {
            target.seed || target.recent_until > now || target.name.as_ref().is_some_and(&known)
        });
    }

    /// How many addresses there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }

    fn entry(&mut self, address: &str, now: Instant) -> &mut Target {
        self.targets
            .entry(address.to_owned())
            .or_insert_with(|| Target {
                seed: false,
                name: None,
                incarnation: Incarnation(0),
                dialling: None,
                attempts: 0,
                myself: false,
                failures: 0,
                next_at: now,
                recent_until: now + RECENT,
                reached: false,
            })
    }
}

impl Target {
    fn schedule(&mut self, now: Instant, rng: &mut impl Rng) {
        let recent = (self.seed || self.reached) && now < self.recent_until;
        let longest = if recent {
            RECENT_BACKOFF
        } else {
            OTHER_BACKOFF
        };
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(10));
        self.next_at = now + doubled.min(longest).mul_f64(rng.random_range(0.5..1.0));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Whether `address` can be dialled: a host (never a wildcard) and a port other than 0.
pub(crate) fn is_dialable(address: &str) -> bool {
    if address.len() > MAX_ADDRESS_BYTES {
        return false;
    }
    if let Ok(address) = address.parse::<SocketAddr>() {
        return !address.ip().is_unspecified() && address.port() != 0;
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests;
