//! Large messages of which only a part has come, of all connections together. Where they hold more than they may, one gives way as
//! [`Shares`] says; it makes progress by growing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use super::shares::{Fate, Holder, Share, Shares};

/// A message counts by steps of this size, so that not each of its packets takes the lock.
const STEP_BYTES: usize = 64 * 1024;

/// All such messages.
#[derive(Debug)]
pub(crate) struct Unfinished {
    most: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    shares: Shares<()>,
}

impl Unfinished {
    pub(super) fn new(most: Option<usize>) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { most, state })
    }

    /// A message that has just become large. `connection` wakes whoever reads it.
    pub(super) fn begin(self: &Arc<Self>, holder: Holder, connection: &Waker) -> LargeMessage {
        let fate = Fate::new(connection);
        let message = Share {
            holder,
            bytes: 0,
            shared: 0,
            fate: Arc::clone(&fate),
            of: (),
        };
        LargeMessage {
            unfinished: Arc::clone(self),
            place: self.state().shares.put(message),
            bytes: 0,
            fate,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, place: u64) -> Option<Share<()>> {
        let message = self.shares.take(place)?;
        self.bytes -= message.bytes;
        Some(message)
    }

    /// A message takes so many bytes more. Gives back its new place, and who gives way to it, itself perhaps.
    fn grow(&mut self, place: u64, bytes: usize, most: Option<usize>) -> (u64, Vec<Share<()>>) {
        let Some(mut message) = self.take(place) else {
            return (place, Vec::new());
        };
        message.bytes += bytes;
        let most = most.unwrap_or(usize::MAX);
        if message.bytes > most {
            // The others would give way in vain.
            return (place, vec![message]);
        }
        self.bytes += message.bytes;
        let place = self.shares.put(message);
        let mut over = Vec::new();
        while self.bytes > most
            && let Some(next) = self.shares.next_to_give_way(most, 0)
        {
            over.extend(self.take(next));
        }
        (place, over)
    }
}

/// One large message of which a part has come; dropped, it takes nothing any more.
#[derive(Debug)]
pub(crate) struct LargeMessage {
    unfinished: Arc<Unfinished>,
    place: u64,
    bytes: usize,
    fate: Arc<Fate>,
}

impl LargeMessage {
    /// So much of it has come by now.
    pub(crate) fn grow_to(&mut self, bytes: usize) {
        let bytes = bytes.div_ceil(STEP_BYTES).saturating_mul(STEP_BYTES);
        if bytes <= self.bytes {
            return;
        }
        let more = bytes - self.bytes;
        self.bytes = bytes;
        let most = self.unfinished.most;
        let (place, over) = self.unfinished.state().grow(self.place, more, most);
        self.place = place;
        over.iter().for_each(|message| message.fate.give_way());
    }

    /// Whether it has to give way to another one.
    pub(crate) fn gives_way(&self) -> bool {
        self.fate.gives_way()
    }
}

impl Drop for LargeMessage {
    fn drop(&mut self) {
        let message = self.unfinished.state().take(self.place);
        drop(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::census::Address;

    fn address(n: u8) -> Holder {
        let peer = ([192, 0, 2, n], 80).into();
        Holder::Address(Address::of(peer).expect("no loopback"))
    }

    /// A message of that holder that has so many steps.
    fn begin(unfinished: &Arc<Unfinished>, holder: Holder, steps: usize) -> LargeMessage {
        let mut message = unfinished.begin(holder, Waker::noop());
        grow(&mut message, steps);
        message
    }

    fn grow(message: &mut LargeMessage, steps: usize) {
        message.grow_to(steps * STEP_BYTES);
    }

    fn given_way(messages: &[LargeMessage]) -> Vec<bool> {
        messages.iter().map(LargeMessage::gives_way).collect()
    }

    #[test]
    fn of_one_holder_the_one_that_has_not_grown_for_the_longest_gives_way() {
        let unfinished = Unfinished::new(Some(10 * STEP_BYTES));
        let mut messages = [2, 3, 3].map(|steps| begin(&unfinished, address(1), steps));
        grow(&mut messages[0], 4);
        assert_eq!(given_way(&messages), [false, false, false]);
        messages[2].grow_to(3 * STEP_BYTES + 1);
        assert_eq!(given_way(&messages), [false, true, false]);
        // It takes nothing any more, whatever else comes of it.
        grow(&mut messages[1], 9);
        grow(&mut messages[2], 6);
        assert_eq!(given_way(&messages), [false, true, false]);
        drop(messages);
        let state = unfinished.state();
        assert_eq!((state.bytes, state.shares.holders()), (0, 0));
    }

    #[test]
    fn who_floods_harms_the_own_address_alone() {
        let unfinished = Unfinished::new(Some(100 * STEP_BYTES));
        let mut other = begin(&unfinished, address(1), 5);
        let flood: Vec<_> = (0..60).map(|_| begin(&unfinished, address(2), 7)).collect();
        assert!(!other.gives_way());
        let over = given_way(&flood).iter().filter(|gone| **gone).count();
        assert_eq!(over, 60 - 95 / 7);
        grow(&mut other, 50);
        assert!(!other.gives_way(), "the flood's have not grown for longer");
    }

    #[test]
    fn a_connection_counts_for_itself_where_its_address_says_nothing() {
        let unfinished = Unfinished::new(Some(100 * STEP_BYTES));
        let small = begin(&unfinished, Holder::Connection(0), 3);
        let flood = (1..30).map(|n| begin(&unfinished, Holder::Connection(n), 7));
        let flood: Vec<_> = flood.collect();
        assert!(!small.gives_way() && flood[0].gives_way());
    }

    #[test]
    fn many_small_ones_from_everywhere_do_not_end_a_large_one_that_goes_on() {
        let unfinished = Unfinished::new(Some(100 * STEP_BYTES));
        let mut large = begin(&unfinished, address(0), 1);
        let mut small = Vec::new();
        for n in 1..=250 {
            small.push(begin(&unfinished, address(n), 1));
            if n % 5 == 0 {
                grow(&mut large, usize::from(n) / 5);
            }
        }
        assert!(!large.gives_way());
    }

    #[test]
    fn what_is_done_makes_room() {
        let unfinished = Unfinished::new(Some(10 * STEP_BYTES));
        drop(begin(&unfinished, address(1), 10));
        let messages = [5, 5].map(|steps| begin(&unfinished, address(1), steps));
        assert_eq!(given_way(&messages), [false, false]);
    }

    #[test]
    fn one_that_is_larger_than_all_may_be_gives_way_itself() {
        let unfinished = Unfinished::new(Some(2 * STEP_BYTES));
        let small = begin(&unfinished, address(1), 1);
        let large = begin(&unfinished, address(1), 3);
        assert!(large.gives_way() && !small.gives_way());
    }

    #[test]
    fn without_a_bound_none_gives_way() {
        let unfinished = Unfinished::new(None);
        let mut message = begin(&unfinished, address(1), 0);
        message.grow_to(usize::MAX);
        assert!(!message.gives_way());
    }
}
