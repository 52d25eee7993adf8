//! What connections hold of something that all of them share. Where that is too much, one gives way: of those whose address holds more
//! than half of an equal share, the one that has made no progress for the longest. So whoever floods harms the own address, and from many
//! addresses those who stand still before those who go on. (Half, since many who stay just below a whole share would hold nearly all, and
//! the next one with more would have to give way, whoever it is.)
//!
//! What many hold together is in memory once, so of that each has a part only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use super::census::Address;

/// Whom a share counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Address(Address),
    /// Where the address does not tell clients apart, each connection by its number.
    Connection(u64),
}

/// All shares.
#[derive(Debug)]
pub(super) struct Shares<T> {
    next: u64,
    /// By when they made progress last: the one that has not for the longest is the first.
    shares: BTreeMap<u64, Share<T>>,
    /// The bytes of each.
    holders: HashMap<Holder, Bytes>,
    /// The bytes that are shared, as often as they are held.
    shared: usize,
}

/// What one holds.
#[derive(Debug)]
pub(super) struct Share<T> {
    pub(super) holder: Holder,
    pub(super) bytes: usize,
    /// What others may hold as well. Not part of these.
    pub(super) shared: usize,
    pub(super) fate: Arc<Fate>,
    /// What it is made of.
    pub(super) of: T,
}

/// What one holder has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bytes {
    own: usize,
    shared: usize,
}

/// What a connection is told by others.
#[derive(Debug)]
pub(super) struct Fate {
    gives_way: AtomicBool,
    connection: Waker,
}

impl Fate {
    /// `connection` wakes whoever is to look at it.
    pub(super) fn new(connection: &Waker) -> Arc<Self> {
        Arc::new(Self {
            gives_way: AtomicBool::new(false),
            connection: connection.clone(),
        })
    }

    /// To be called without a lock: to wake is others' code.
    pub(super) fn give_way(&self) {
        // Nothing else is told by it.
        self.gives_way.store(true, Ordering::Relaxed);
        self.connection.wake_by_ref();
    }

    pub(super) fn gives_way(&self) -> bool {
        self.gives_way.load(Ordering::Relaxed)
    }
}

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self {
            next: 0,
            shares: BTreeMap::new(),
            holders: HashMap::new(),
            shared: 0,
        }
    }
}

impl<T> Shares<T> {
    /// Puts a share last; its place.
    pub(super) fn put(&mut self, share: Share<T>) -> u64 {
        let place = self.last();
        self.put_at(place, share);
        place
    }

    /// A place behind all others.
    pub(super) fn last(&mut self) -> u64 {
        let place = self.next;
        self.next += 1;
        place
    }

    /// Puts a share into a place that is free.
    pub(super) fn put_at(&mut self, place: u64, share: Share<T>) {
        let held = self.holders.entry(share.holder).or_default();
        held.own += share.bytes;
        held.shared += share.shared;
        self.shared += share.shared;
        self.shares.insert(place, share);
    }

    pub(super) fn take(&mut self, place: u64) -> Option<Share<T>> {
        let share = self.shares.remove(&place)?;
        self.shared -= share.shared;
        if let Some(held) = self.holders.get_mut(&share.holder) {
            held.own -= share.bytes;
            held.shared -= share.shared;
            if *held == Bytes::default() {
                self.holders.remove(&share.holder);
            }
        }
        Some(share)
    }

    /// The bytes that are shared, as often as they are held.
    pub(super) fn shared(&self) -> usize {
        self.shared
    }

    /// Who gives way, where all may hold so much together, and what is shared takes so much. While there is too much in all, somebody has
    /// more.
    pub(super) fn next_to_give_way(&self, most: usize, shared: usize) -> Option<u64> {
        let safe = most / self.holders.len().max(1) / 2;
        let has_more = |share: &Share<T>| {
            let held = self.holders.get(&share.holder);
            held.is_some_and(|held| held.own + self.part(held.shared, shared) > safe)
        };
        let mut shares = self.shares.iter();
        let next = shares.find(|(_, share)| has_more(share));
        next.map(|(&place, _)| place)
    }

    /// What of so much that is shared is one's part who holds that of it.
    fn part(&self, held: usize, shared: usize) -> usize {
        let part = held as u128 * shared as u128 / self.shared.max(1) as u128;
        usize::try_from(part).unwrap_or(usize::MAX)
    }

    /// How many hold something.
    #[cfg(test)]
    pub(super) fn holders(&self) -> usize {
        self.holders.len()
    }
}
