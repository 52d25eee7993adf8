//! How many bytes of posts, or of answers from other nodes, this node holds at a time, whosever they are.
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

    /// Takes so many bytes if anything is left, be it less: of what is large one always fits, and one at most is too much.
    pub(super) fn take_last(&mut self, bytes: usize) -> bool {
        let most = self.budget.most;
        let taken = self
            .budget
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < most).then(|| taken.saturating_add(bytes))
            });
        self.bytes += if taken.is_ok() { bytes } else { 0 };
        taken.is_ok()
    }

    /// From now on it takes as many, whether or not they are there: what was let in has another size than one could know.
    pub(super) fn settle(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.budget.taken.fetch_add(more, Ordering::Relaxed),
            None => self
                .budget
                .taken
                .fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
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
        other.settle(11);
        assert!(!other.could_grow(0));
        other.settle(9);
        assert!(other.could_grow(1) && !other.could_grow(2));
        let (mut last, mut late) = (budget.charge(), budget.charge());
        assert!(last.take_last(100) && !late.take_last(1));
        drop(last);
        assert!(late.take_last(1));
        drop((other, late));
        assert_eq!(budget.taken.load(Ordering::Relaxed), 0);
    }
}
