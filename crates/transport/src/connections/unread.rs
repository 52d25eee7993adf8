//! Large frames that clients have not read, of all connections together. Where they are more than they may, one gives way as [`Shares`]
//! says; it makes progress by reading.
//!
//! A frame that waits for many clients is in memory once, and so counts once, while each of them holds all of it.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;

use super::shares::{Fate, Holder, Share, Shares};
use crate::outbox::Large;

/// All such frames.
#[derive(Debug)]
pub(crate) struct Unread {
    most: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// How many hold each frame, by where it is in memory. It stays there while one does.
    frames: HashMap<usize, usize>,
    shares: Shares<Vec<Large>>,
}

impl Unread {
    pub(super) fn new(most: Option<usize>) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { most, state })
    }

    /// What a connection holds: nothing yet. `connection` wakes its task.
    pub(super) fn begin(self: &Arc<Self>, holder: Holder, connection: &Waker) -> LargeFrames {
        let fate = Fate::new(connection);
        let share = Share {
            holder,
            bytes: 0,
            fate: Arc::clone(&fate),
            of: Vec::new(),
        };
        LargeFrames {
            unread: Arc::clone(self),
            place: self.state().shares.put(share),
            fate,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put_at(&mut self, place: u64, share: Share<Vec<Large>>) {
        share.of.iter().for_each(|large| self.count_in(large));
        self.shares.put_at(place, share);
    }

    fn take(&mut self, place: u64) -> Option<Share<Vec<Large>>> {
        let share = self.shares.take(place)?;
        share.of.iter().for_each(|large| self.count_out(large));
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

    /// A connection holds these from now on.
    fn hold(
        &mut self,
        place: u64,
        frames: Vec<Large>,
        has_read: bool,
        most: Option<usize>,
    ) -> Held {
        let Some(mut share) = self.take(place) else {
            return Held::nothing(place, frames);
        };
        let before = mem::replace(&mut share.of, frames);
        share.bytes = share.of.iter().map(Large::len).sum();
        let most = most.unwrap_or(usize::MAX);
        if share.bytes > most {
            // The others would give way in vain.
            let over = vec![share];
            return Held {
                place,
                before,
                over,
            };
        }
        let place = if has_read { self.shares.last() } else { place };
        self.put_at(place, share);
        let mut over = Vec::new();
        while self.bytes > most
            && let Some(next) = self.shares.next_to_give_way(most)
        {
            over.extend(self.take(next));
        }
        Held {
            place,
            before,
            over,
        }
    }
}

/// What became of what a connection holds. Frames may be dropped only where no lock is held: how is others' code.
struct Held {
    place: u64,
    #[allow(dead_code, reason = "it is only dropped")]
    before: Vec<Large>,
    /// Who gives way, the same connection perhaps.
    over: Vec<Share<Vec<Large>>>,
}

impl Held {
    fn nothing(place: u64, before: Vec<Large>) -> Self {
        let over = Vec::new();
        Self {
            place,
            before,
            over,
        }
    }
}

fn place_of(bytes: &Bytes) -> usize {
    bytes.as_ptr().addr()
}

/// The large frames that wait for one client; dropped, it holds none any more.
#[derive(Debug)]
pub(crate) struct LargeFrames {
    unread: Arc<Unread>,
    place: u64,
    fate: Arc<Fate>,
}

impl LargeFrames {
    /// These are all that wait now. `has_read` tells whether the client has read since the last time.
    pub(crate) fn hold(&mut self, frames: Vec<Large>, has_read: bool) {
        let most = self.unread.most;
        let held = self.unread.state().hold(self.place, frames, has_read, most);
        self.place = held.place;
        held.over.iter().for_each(|share| share.fate.give_way());
    }

    /// Whether its connection has to give way to others.
    pub(crate) fn gives_way(&self) -> bool {
        self.fate.gives_way()
    }
}

impl Drop for LargeFrames {
    fn drop(&mut self) {
        let share = self.unread.state().take(self.place);
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

    fn begin(unread: &Arc<Unread>, holder: Holder, frames: Vec<Large>) -> LargeFrames {
        let mut begun = unread.begin(holder, Waker::noop());
        begun.hold(frames, false);
        begun
    }

    fn given_way(all: &[LargeFrames]) -> Vec<bool> {
        all.iter().map(LargeFrames::gives_way).collect()
    }

    #[test]
    fn of_one_address_the_connection_that_has_not_read_for_the_longest_gives_way() {
        let unread = Unread::new(Some(10 * MB));
        let mut all = [3, 3, 3].map(|size| begin(&unread, address(1), vec![frame(size)]));
        assert_eq!(given_way(&all), [false; 3]);
        all[0].hold(vec![frame(3)], true);
        all[2].hold(vec![frame(3), frame(2)], false);
        assert_eq!(given_way(&all), [false, true, false]);
        // It holds nothing any more, whatever else comes of it.
        all[1].hold(vec![frame(9)], true);
        assert_eq!(given_way(&all), [false, true, false]);
        drop(all);
        let state = unread.state();
        assert_eq!((state.bytes, state.shares.holders()), (0, 0));
        assert!(state.frames.is_empty());
    }

    #[test]
    fn who_floods_harms_the_own_address_alone() {
        let unread = Unread::new(Some(50 * MB));
        let other = begin(&unread, address(1), vec![frame(8)]);
        let flood = (0..10).map(|_| begin(&unread, address(2), vec![frame(8)]));
        let flood: Vec<_> = flood.collect();
        assert!(!other.gives_way());
        let over = given_way(&flood).iter().filter(|gone| **gone).count();
        assert_eq!(over, 10 - 42 / 8);
    }

    #[test]
    fn a_frame_that_waits_for_many_counts_once_and_until_the_last_has_read_it() {
        let unread = Unread::new(Some(10 * MB));
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
        let unread = Unread::new(Some(10 * MB));
        let other = begin(&unread, address(1), vec![frame(8)]);
        let mails = vec![Large::Mail(usize::MAX / 2), frame(1)];
        let flood = begin(&unread, address(1), mails);
        assert!(flood.gives_way() && !other.gives_way());
    }
}
