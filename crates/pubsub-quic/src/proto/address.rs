//! The address book: where to dial, and when again.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
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
/// How long it takes until a seed's host name is looked up again although the node that was met there last is linked: others
/// may stand behind it by now. A quarter more or less, at random.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);
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
    /// The attempt that is under way, or the link that it has become.
    pub(crate) dialling: Option<ConnectionId>,
    /// Whether it is the link.
    is_link: bool,
    /// A look at who else stands behind the name meanwhile.
    looking: Option<ConnectionId>,
    /// How often it was dialled.
    pub(crate) attempts: u32,
    myself: bool,
    failures: u32,
    next_at: Instant,
    /// Of a seed that is a host name, once somebody was met there: when it is looked up again in any case.
    look_again_at: Option<Instant>,
    recent_until: Instant,
    reached: bool,
}

/// All addresses.
#[derive(Debug)]
pub(crate) struct AddressBook {
    targets: BTreeMap<String, Target>,
    linked: BTreeSet<NodeName>,
    look_again: Duration,
}

impl Default for AddressBook {
    fn default() -> Self {
        Self {
            targets: BTreeMap::new(),
            linked: BTreeSet::new(),
            look_again: LOOK_AGAIN,
        }
    }
}

impl AddressBook {
    /// In place of [`LOOK_AGAIN`].
    pub(crate) fn look_again_every(&mut self, time: Duration) {
        self.look_again = time;
    }

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
        let fixed = !is_host_name(address);
        if let Some(target) = self.targets.get_mut(address) {
            // A host name may mean other nodes as well: worth another look, but not a hurried one.
            target.myself = fixed;
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
        self.linked.insert(name.clone());
        let again = now + self.look_again;
        let main = (!full).then_some(address);
        for at in main.into_iter().chain(dialled) {
            let target = self.entry(at, now);
            (target.name, target.incarnation) = (Some(name.clone()), incarnation);
            target.reached = true;
            target.failures = 0;
        }
        if let Some(target) = dialled.and_then(|at| self.targets.get_mut(at)) {
            if let Some(looking) = target.looking.filter(|_| target.is_link) {
                target.dialling = Some(looking);
                target.looking = None;
            }
            target.is_link = true;
            target.look_again_at = Some(again);
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

    /// The link to `name` is gone: its addresses are to be dialled soon, and often. If it was the last one, so are the host names
    /// among the seeds, whoever was met there.
    pub(crate) fn lost(&mut self, name: &NodeName, now: Instant, rng: &mut impl Rng) {
        self.linked.remove(name);
        let alone = self.linked.is_empty();
        for (address, target) in &mut self.targets {
            let others = alone && target.seed && is_host_name(address);
            if others || target.name.as_ref() == Some(name) {
                target.failures = 0;
                target.recent_until = now + RECENT;
                target.schedule(now, rng);
            }
        }
    }

    /// The attempt at `address` that was made by `connection`, or the link that it had become, is over. A later one may have begun
    /// since.
    pub(crate) fn dial_ended(
        &mut self,
        address: &str,
        connection: ConnectionId,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        let again = self.look_again.mul_f64(rng.random_range(0.75..1.25));
        let Some(target) = self.targets.get_mut(address) else {
            return;
        };
        if target.looking == Some(connection) {
            target.looking = None;
        } else if target.dialling == Some(connection) {
            target.dialling = None;
            target.is_link = false;
        } else {
            return;
        }
        target.look_again_at = Some(now + again);
        if target.next_at <= now {
            target.schedule(now, rng);
        }
    }

    /// Everything may be tried at once, after a short random delay.
    pub(crate) fn retry_all(&mut self, now: Instant, rng: &mut impl Rng) {
        for target in self.targets.values_mut() {
            target.failures = 0;
            target.schedule(now, rng);
        }
    }

    /// The address that has been due longest, of a life of a node for which `wanted` holds, or a host name to be looked up again;
    /// `dial` marks it as under way. So of several that lead to one node, each has its turn.
    pub(crate) fn next_due(
        &self,
        now: Instant,
        wanted: impl Fn(&NodeName, Incarnation) -> bool,
    ) -> Option<String> {
        self.targets
            .iter()
            .filter(|(address, target)| {
                let is_wanted = |name| wanted(name, target.incarnation);
                let wanted = || target.name.as_ref().is_none_or(is_wanted);
                let is_due = target.dialling.is_none() && target.next_at <= now && wanted();
                !target.myself && (is_due || target.looks_again(address, now))
            })
            .min_by_key(|(_, target)| target.next_at)
            .map(|(address, _)| address.clone())
    }

    /// Marks `address` as being dialled by `connection`; gives the attempt's number, from 0.
    pub(crate) fn dial(&mut self, address: &str, connection: ConnectionId) -> u32 {
        let Some(target) = self.targets.get_mut(address) else {
            return 0;
        };
        match target.dialling {
            Some(_) if target.is_link => target.looking = Some(connection),
            _ => target.dialling = Some(connection),
        }
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
                is_link: false,
                looking: None,
                attempts: 0,
                myself: false,
                failures: 0,
                next_at: now,
                look_again_at: None,
                recent_until: now + RECENT,
                reached: false,
            })
    }
}

impl Target {
    /// Whether the time has come to look up once more what a seed's host name stands for.
    fn looks_again(&self, address: &str, now: Instant) -> bool {
        let is_idle = self.looking.is_none() && (self.dialling.is_none() || self.is_link);
        let is_due = self.look_again_at.is_some_and(|at| at <= now);
        is_idle && is_due && self.seed && is_host_name(address)
    }

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

/// Whether `address` has a host name, which may stand for any number of nodes, and for others later.
pub(crate) fn is_host_name(address: &str) -> bool {
    address.parse::<SocketAddr>().is_err()
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
