//! How many bytes of posts this node holds at a time, whosever they are.
//!
//! Bytes count from when they were read until their post is answered, so it does not matter how slowly a client writes, nor how slowly
//! its session takes what it wrote.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A number of bytes that posts share.
pub(super) struct Budget {
    most: usize,
    taken: AtomicUsize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let taken = AtomicUsize::new(0);
        Arc::new(Self { most, taken })
    }

    /// What one post takes: nothing yet.
    pub(super) fn charge(self: &Arc<Self>) -> Charge {
        let budget = Arc::clone(self);
        Charge { budget, bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        // Nothing else is told by it: the number is all there is.
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }
}

/// What one post takes of a budget; dropped, it is given back.
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// Takes so many bytes more, if they are there.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.budget.take(bytes);
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// Takes so many bytes more, whether or not they are there: what was let in is larger than one could know.
    pub(super) fn overgrow(&mut self, bytes: usize) {
        self.budget.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Whether so many more are there now.
    pub(super) fn could_grow(&self, bytes: usize) -> bool {
        let taken = self.budget.taken.load(Ordering::Relaxed);
        taken.saturating_add(bytes) <= self.budget.most
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_charges_share_it_and_what_is_dropped_is_there_again() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.charge(), budget.charge());
        assert!(one.grow(4) && one.grow(2) && other.grow(4));
        assert!(!other.grow(1) && !one.could_grow(1) && one.could_grow(0));
        drop(one);
        assert!(other.could_grow(6) && !other.could_grow(7));
        assert!(!other.grow(7), "what did not fit was not taken");
        assert!(other.grow(6));
        assert!(!other.grow(usize::MAX) && !other.could_grow(usize::MAX));
        other.overgrow(5);
        assert!(!other.could_grow(0));
        drop(other);
        assert_eq!(budget.taken.load(Ordering::Relaxed), 0);
    }
}
