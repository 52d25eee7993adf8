//! What clients have not read, of all connections together. Where that is more than it may, one gives way as [`Shares`]
//! says; it makes progress by reading.
//!
//! A large frame that waits for many clients is in memory once, and so counts once, while each of them holds all of it. So do small ones that
//! came while their clients took nothing: their sum is known without a look at each of them.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;

use super::shares::{Fate, Holder, Share, Shares};
use crate::{
    outbox::{Held, Large},
    stats::Gauge,
};

/// All of it.
#[derive(Debug)]
pub(crate) struct Unread {
    most: Option<usize>,
    /// What small broadcasts take that wait, those included that too little waits beside to be told here.
    broadcasts: Arc<Gauge>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of what is large, and of what connections hold alone.
    bytes: usize,
    /// How many hold each large frame, by where it is in memory. It stays there while one does.
    frames: HashMap<usize, usize>,
    shares: Shares<Held>,
    /// What of broadcasts those held who give way, and have not let go of it yet.
    going: usize,
}

impl Unread {
    pub(super) fn new(most: Option<usize>, broadcasts: &Arc<Gauge>) -> Arc<Self> {
        Arc::new(Self {
            most,
            broadcasts: Arc::clone(broadcasts),
            state: Mutex::default(),
        })
    }

    /// What a connection holds: nothing yet. `connection` wakes its task.
    pub(super) fn begin(self: &Arc<Self>, holder: Holder, connection: &Waker) -> UnreadShare {
        let fate = Fate::new(connection);
        let share = Share {
            holder,
            bytes: 0,
            shared: 0,
            fate: Arc::clone(&fate),
            of: Held::default(),
        };
        UnreadShare {
            unread: Arc::clone(self),
            place: self.state().shares.put(share),
            shared: 0,
            fate,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put_at(&mut self, place: u64, share: Share<Held>) {
        self.bytes += share.of.own;
        share.of.large.iter().for_each(|large| self.count_in(large));
        self.shares.put_at(place, share);
    }

    fn take(&mut self, place: u64) -> Option<Share<Held>> {
        let share = self.shares.take(place)?;
        self.bytes -= share.of.own;
        share
            .of
            .large
            .iter()
            .for_each(|large| self.count_out(large));
        Some(share)
    }

    fn count_in(&mut self, large: &Large) {
        if let Large::Frame(bytes) = large {
            let holders = self.frames.entry(place_of(bytes)).or_default();
            *holders += 1;
            if *holders > 1 {
                return;
            }
        }
        self.bytes += large.len();
    }

    fn count_out(&mut self, large: &Large) {
        if let Large::Frame(bytes) = large
            && let Some(holders) = self.frames.get_mut(&place_of(bytes))
        {
            *holders -= 1;
            if *holders > 0 {
                return;
            }
            self.frames.remove(&place_of(bytes));
        }
        self.bytes -= large.len();
    }

    /// What small broadcasts take, if all of them do so much: what nobody here holds counts for nobody.
    fn shared(&self, broadcasts: usize) -> usize {
        let staying = broadcasts.saturating_sub(self.going);
        staying.min(self.shares.shared())
    }

    /// A connection holds these from now on.
    fn hold(&mut self, place: u64, held: Held, has_read: bool, bound: Bound) -> Changed {
        let Some(mut share) = self.take(place) else {
            return Changed::nothing(place, held);
        };
        let before = mem::replace(&mut share.of, held);
        (share.bytes, share.shared) = (share.of.bytes(), share.of.shared);
        let mut changed = Changed {
            place,
            before,
            is_counted: true,
            over: Vec::new(),
        };
        if share.bytes > bound.most {
            // The others would give way in vain.
            self.going += share.shared;
            changed.over.push(share);
            return changed;
        }
        if has_read {
            changed.place = self.shares.last();
        }
        self.put_at(changed.place, share);
        loop {
            let shared = self.shared(bound.broadcasts);
            if self.bytes + shared <= bound.most {
                return changed;
            }
            let next = self.shares.next_to_give_way(bound.most, shared);
            let Some(share) = next.and_then(|next| self.take(next)) else {
                return changed;
            };
            self.going += share.shared;
            changed.over.push(share);
        }
    }

    /// A connection has let go of all that it held; of broadcasts of so much.
    fn let_go(&mut self, place: u64, shared: usize) -> Option<Share<Held>> {
        let share = self.take(place);
        if share.is_none() {
            self.going -= shared;
        }
        share
    }
}

/// How much all may hold, and how much broadcasts take.
#[derive(Clone, Copy)]
struct Bound {
    most: usize,
    broadcasts: usize,
}

/// What became of what a connection holds. Frames may be dropped only where no lock is held: how is others' code.
struct Changed {
    place: u64,
    #[allow(dead_code, reason = "it is only dropped")]
    before: Held,
    /// Whether it counts: one that gives way holds nothing any more.
    is_counted: bool,
    /// Who gives way, the same connection perhaps.
    over: Vec<Share<Held>>,
}

impl Changed {
    fn nothing(place: u64, before: Held) -> Self {
        Self {
            place,
            before,
            is_counted: false,
            over: Vec::new(),
        }
    }
}

fn place_of(bytes: &Bytes) -> usize {
    bytes.as_ptr().addr()
}

/// What waits for one client; dropped, it is let go of.
#[derive(Debug)]
pub(crate) struct UnreadShare {
    unread: Arc<Unread>,
    place: u64,
    /// What of broadcasts counts here.
    shared: usize,
    fate: Arc<Fate>,
}

impl UnreadShare {
    /// This is all that waits now. `has_read` tells whether the client has read since the last time.
    pub(crate) fn hold(&mut self, held: Held, has_read: bool) {
        let bound = Bound {
            most: self.unread.most.unwrap_or(usize::MAX),
            broadcasts: self.unread.broadcasts.get(),
        };
        let shared = held.shared;
        let changed = self.unread.state().hold(self.place, held, has_read, bound);
        self.place = changed.place;
        if changed.is_counted {
            self.shared = shared;
        }
        changed.over.iter().for_each(|share| share.fate.give_way());
    }

    /// Whether its connection has to give way to others.
    pub(crate) fn gives_way(&self) -> bool {
        self.fate.gives_way()
    }
}

impl Drop for UnreadShare {
    fn drop(&mut self) {
        let share = self.unread.state().let_go(self.place, self.shared);
        drop(share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::census::Address;

    const MB: usize = 1_000_000;

    fn address(n: u8) -> Holder {
        let peer = ([192, 0, 2, n], 80).into();
        Holder::Address(Address::of(peer).expect("no loopback"))
    }

    fn frame(megabytes: usize) -> Large {
        Large::Frame(vec![7; megabytes * MB].into())
    }

    fn of(most: usize) -> Arc<Unread> {
        Unread::new(Some(most), &Arc::default())
    }

    fn large(large: Vec<Large>) -> Held {
        Held {
            large,
            ..Held::default()
        }
    }

    fn small(own: usize, shared: usize) -> Held {
        Held {
            own,
            shared,
            ..Held::default()
        }
    }

    fn begin(unread: &Arc<Unread>, holder: Holder, frames: Vec<Large>) -> UnreadShare {
        begin_with(unread, holder, large(frames))
    }

    fn begin_with(unread: &Arc<Unread>, holder: Holder, held: Held) -> UnreadShare {
        let mut begun = unread.begin(holder, Waker::noop());
        begun.hold(held, false);
        begun
    }

    fn given_way(all: &[UnreadShare]) -> Vec<bool> {
        all.iter().map(UnreadShare::gives_way).collect()
    }

    #[test]
    fn of_one_address_the_connection_that_has_not_read_for_the_longest_gives_way() {
        let unread = of(10 * MB);
        let mut all = [3, 3, 3].map(|size| begin(&unread, address(1), vec![frame(size)]));
        assert_eq!(given_way(&all), [false; 3]);
        all[0].hold(large(vec![frame(3)]), true);
        all[2].hold(large(vec![frame(3), frame(2)]), false);
        assert_eq!(given_way(&all), [false, true, false]);
        // It holds nothing any more, whatever else comes of it.
        all[1].hold(large(vec![frame(9)]), true);
        assert_eq!(given_way(&all), [false, true, false]);
        drop(all);
        let state = unread.state();
        assert_eq!((state.bytes, state.shares.holders()), (0, 0));
        assert!(state.frames.is_empty());
    }

    #[test]
    fn who_floods_harms_the_own_address_alone() {
        let unread = of(50 * MB);
        let other = begin(&unread, address(1), vec![frame(8)]);
        let flood = (0..10).map(|_| begin(&unread, address(2), vec![frame(8)]));
        let flood: Vec<_> = flood.collect();
        assert!(!other.gives_way());
        let over = given_way(&flood).iter().filter(|gone| **gone).count();
        assert_eq!(over, 10 - 42 / 8);
    }

    #[test]
    fn a_frame_that_waits_for_many_counts_once_and_until_the_last_has_read_it() {
        let unread = of(10 * MB);
        let shared = Bytes::from(vec![7; 8 * MB]);
        let frames = || vec![Large::Frame(shared.clone())];
        let mut all: Vec<_> = (0..100)
            .map(|n| begin(&unread, address(n), frames()))
            .collect();
        assert_eq!(given_way(&all), [false; 100]);
        all.truncate(1);
        let more = begin(&unread, address(200), vec![frame(1)]);
        assert_eq!((unread.state().bytes, more.gives_way()), (9 * MB, false));
        drop(all);
        assert_eq!(unread.state().bytes, MB);
    }

    #[test]
    fn one_that_holds_more_than_all_may_gives_way_itself() {
        let unread = of(10 * MB);
        let other = begin(&unread, address(1), vec![frame(8)]);
        let mails = vec![Large::Mail(usize::MAX / 2), frame(1)];
        let flood = begin(&unread, address(1), mails);
        assert!(flood.gives_way() && !other.gives_way());
    }

    #[test]
    fn what_is_small_counts_beside_what_is_large() {
        let unread = of(10 * MB);
        let mut all = [
            begin(&unread, address(1), vec![frame(4)]),
            begin_with(&unread, address(1), small(4 * MB, 0)),
            begin_with(&unread, address(1), small(MB, 0)),
        ];
        assert_eq!(given_way(&all), [false; 3]);
        all[2].hold(small(3 * MB, 0), false);
        assert_eq!(given_way(&all), [true, false, false]);
        drop(all);
        assert_eq!(unread.state().bytes, 0);
    }

    #[test]
    fn broadcasts_that_wait_for_many_end_nobody_however_often_they_are_held() {
        let broadcasts = Arc::<Gauge>::default();
        broadcasts.add(2 * MB);
        let unread = Unread::new(Some(10 * MB), &broadcasts);
        let waiting: Vec<_> = (0..100)
            .map(|n| begin_with(&unread, address(n), small(0, 2 * MB)))
            .collect();
        assert_eq!(given_way(&waiting), [false; 100]);
        // One who holds much alone gives way to them, though it is the last who came.
        let flood: Vec<_> = (0..10)
            .map(|_| begin_with(&unread, address(200), small(MB, 0)))
            .collect();
        assert_eq!(given_way(&waiting), [false; 100]);
        let over = given_way(&flood).iter().filter(|gone| **gone).count();
        assert_eq!(over, 2);
    }

    #[test]
    fn broadcasts_of_which_each_waits_for_one_count_each() {
        let broadcasts = Arc::<Gauge>::default();
        let unread = Unread::new(Some(10 * MB), &broadcasts);
        let begin = |n| {
            broadcasts.add(3 * MB);
            begin_with(&unread, address(n), small(0, 3 * MB))
        };
        let mut all: Vec<_> = (0..3).map(begin).collect();
        // Somebody else holds one of them as well.
        let beside = begin_with(&unread, address(9), small(0, 3 * MB));
        all.push(begin(3));
        assert_eq!(given_way(&all), [true, false, false, false]);
        // It has not let go of it, but will: nobody else has to go for the same.
        all[3].hold(small(0, 3 * MB), false);
        assert_eq!(given_way(&all), [true, false, false, false]);
        drop(beside);
        all.remove(0);
        broadcasts.subtract(3 * MB);
        all.push(begin(5));
        assert_eq!(given_way(&all), [true, false, false, false]);
        drop(all);
        let state = unread.state();
        assert_eq!(
            (state.going, state.shares.shared(), state.shares.holders()),
            (0, 0, 0)
        );
    }

    #[test]
    fn what_is_too_little_to_be_told_of_ends_nobody() {
        let broadcasts = Arc::<Gauge>::default();
        let unread = Unread::new(Some(10 * MB), &broadcasts);
        broadcasts.add(50 * MB);
        let one = begin_with(&unread, address(1), small(0, MB));
        assert!(!one.gives_way());
    }
}
