//! Mails that wait for no frame.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;

use super::queue::{Bound, Load};

/// In their order, each with what it weighs.
pub(super) struct Urgent<M> {
    mails: VecDeque<(M, usize)>,
    load: Load,
}

impl<M> Urgent<M> {
    /// Whether another one fits: they have the bound of what waits for the client, and it is theirs alone.
    pub(super) fn has_room(&self, bound: &Bound) -> bool {
        self.mails.len() < bound.items as usize && !self.load.reaches(&bound.load)
    }

    pub(super) fn push(&mut self, mail: M, bytes: usize) {
        self.load.add(bytes);
        self.mails.push_back((mail, bytes));
    }

    pub(super) fn next(&mut self) -> Option<M> {
        let (mail, bytes) = self.mails.pop_front()?;
        self.load.subtract(bytes);
        Some(mail)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mails.is_empty()
    }
}

impl<M> Default for Urgent<M> {
    fn default() -> Self {
        Self {
            mails: VecDeque::new(),
            load: Load::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_and_have_a_bound_of_items_and_of_bytes() {
        let bound = |bytes, items| {
            let limits = super::super::Limits::default()
                .with_outbox_bytes(bytes)
                .with_outbox_items(items);
            Bound::of(&limits, usize::MAX)
        };
        let mut urgent = Urgent::default();
        for n in 0..3 {
            urgent.push(n, 10);
        }
        assert!(urgent.has_room(&bound(31, 4)));
        assert!(!urgent.has_room(&bound(30, 4)));
        assert!(!urgent.has_room(&bound(31, 3)));
        for n in 0..3 {
            assert_eq!(urgent.next(), Some(n));
        }
        assert!(urgent.is_empty() && urgent.has_room(&bound(1, 1)));
    }
}
