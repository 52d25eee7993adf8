//! How many bytes of posts, or of answers from other nodes, this node holds at a time, and what of that one client may.
//!
//! Bytes count from when they were read until their post is answered, so it does not matter how slowly a client writes, nor how slowly
//! its session takes what it wrote. One holder gets no more than it leaves free: whatever many of them hold, there is as much for the next.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use matryoshka_pubsub::NodeName;

use super::token::Token;
use crate::connections::census::Address;

/// A number of bytes that posts share.
pub(super) struct Budget {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    /// Those of each.
    holders: HashMap<Holder, usize>,
}

/// Whose bytes they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Address(Address),
    /// Where the address does not tell clients apart.
    Session(Option<(NodeName, u64)>),
}

impl Holder {
    /// A client that comes from there with a token that is believed.
    pub(super) fn of(client: Option<SocketAddr>, token: &str) -> Self {
        match client.and_then(Address::of) {
            Some(address) => Self::Address(address),
            None => Self::Session(Token::read(token).map(|token| (token.node, token.session))),
        }
    }
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let taken = Mutex::default();
        Arc::new(Self { most, taken })
    }

    /// What one post takes, or one answer: nothing yet. Without a holder it need leave nothing to others.
    pub(super) fn charge(self: &Arc<Self>, holder: Option<Holder>) -> Charge {
        Charge {
            budget: Arc::clone(self),
            holder,
            bytes: 0,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while the lock is held, and each step leaves the numbers whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Whether the holder may have so many more: at most as many in all as are free then.
    fn fits(&self, holder: Option<&Holder>, bytes: usize, most: usize) -> bool {
        let free = most.saturating_sub(self.bytes).checked_sub(bytes);
        let held = holder.and_then(|holder| self.holders.get(holder));
        let wanted = holder.map_or(0, |_| held.copied().unwrap_or(0).saturating_add(bytes));
        free.is_some_and(|free| wanted <= free)
    }

    fn take(&mut self, holder: Option<&Holder>, bytes: usize) {
        self.bytes += bytes;
        let Some(holder) = holder else { return };
        match self.holders.get_mut(holder) {
            Some(held) => *held += bytes,
            None => drop(self.holders.insert(holder.clone(), bytes)),
        }
    }

    fn give_back(&mut self, holder: Option<&Holder>, bytes: usize) {
        self.bytes -= bytes;
        if let Some(holder) = holder
            && let Some(held) = self.holders.get_mut(holder)
        {
            *held -= bytes;
            if *held == 0 {
                self.holders.remove(holder);
            }
        }
    }
}

/// What one post or answer takes of a budget; dropped, it is given back.
pub(super) struct Charge {
    budget: Arc<Budget>,
    holder: Option<Holder>,
    bytes: usize,
}

impl Charge {
    /// Takes so many bytes more, if they are there for this holder.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let mut taken = self.budget.taken();
        let fits = taken.fits(self.holder.as_ref(), bytes, self.budget.most);
        if fits {
            taken.take(self.holder.as_ref(), bytes);
            self.bytes += bytes;
        }
        fits
    }

    /// Takes so many bytes if anything is left for this holder, be it less: of what is large one always fits, and one at most is too much.
    pub(super) fn take_last(&mut self, bytes: usize) -> bool {
        let mut taken = self.budget.taken();
        let is_left = taken.fits(self.holder.as_ref(), 1, self.budget.most);
        if is_left {
            taken.take(self.holder.as_ref(), bytes);
            self.bytes += bytes;
        }
        is_left
    }

    /// Takes so many bytes less.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let mut taken = self.budget.taken();
        taken.give_back(self.holder.as_ref(), bytes);
        self.bytes -= bytes;
    }

    /// From now on it takes as many, whether or not they are there: what was let in has another size than one could know.
    pub(super) fn settle(&mut self, bytes: usize) {
        let mut taken = self.budget.taken();
        taken.give_back(self.holder.as_ref(), self.bytes);
        taken.take(self.holder.as_ref(), bytes);
        self.bytes = bytes;
    }

    /// How many its holder could have at all, if nobody had any.
    pub(super) fn most(&self) -> usize {
        match self.holder {
            Some(_) => self.budget.most / 2,
            None => self.budget.most,
        }
    }

    /// Whether so many more are there now.
    pub(super) fn could_grow(&self, bytes: usize) -> bool {
        let taken = self.budget.taken();
        taken.fits(self.holder.as_ref(), bytes, self.budget.most)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut taken = self.budget.taken();
        taken.give_back(self.holder.as_ref(), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> Holder {
        Holder::of(Some(([192, 0, 2, n], 80).into()), "")
    }

    #[test]
    fn all_charges_share_it_and_what_is_dropped_is_there_again() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.charge(None), budget.charge(None));
        assert!(one.grow(4) && one.grow(2) && other.grow(4));
        assert!(!other.grow(1) && !one.could_grow(1) && one.could_grow(0));
        drop(one);
        assert!(other.could_grow(6) && !other.could_grow(7));
        assert!(!other.grow(7), "what did not fit was not taken");
        assert!(other.grow(6));
        assert!(!other.grow(usize::MAX) && !other.could_grow(usize::MAX));
        other.settle(11);
        assert!(!other.could_grow(1));
        other.settle(9);
        assert!(other.could_grow(1) && !other.could_grow(2));
        let (mut last, mut late) = (budget.charge(None), budget.charge(None));
        assert!(last.take_last(100) && !late.take_last(1));
        drop(last);
        assert!(late.take_last(1));
        drop((other, late));
        assert_eq!(budget.taken().bytes, 0);
    }

    #[test]
    fn a_holder_of_which_all_is_given_back_is_forgotten() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (
            budget.charge(Some(address(1))),
            budget.charge(Some(address(1))),
        );
        assert!(one.grow(2) && other.grow(3) && !other.grow(1));
        drop(one);
        assert!(other.grow(2));
        drop(other);
        assert!(budget.taken().holders.is_empty());
    }

    #[test]
    fn one_address_leaves_as_much_as_it_has_and_each_further_one_too() {
        let budget = Budget::new(1_200);
        let mut charges = Vec::new();
        let mut fill = |holder: Holder| {
            let grown = (0..2_000).map(|_| {
                let mut charge = budget.charge(Some(holder.clone()));
                let fits = charge.grow(1);
                charges.push(charge);
                fits
            });
            grown.filter(|fits| *fits).count()
        };
        let filled = [address(1), address(1), address(2), address(3)].map(&mut fill);
        assert_eq!(filled, [600, 0, 300, 150]);
        let session = |n| Holder::Session(Some((NodeName::new("a").expect("a name"), n)));
        assert_eq!([session(1), session(2)].map(&mut fill), [75, 37]);
        assert_ne!(Holder::of(None, ""), address(1));
        let local = "127.0.0.1:80".parse().ok();
        assert_eq!(Holder::of(local, ""), Holder::of(None, ""));
    }
}
