//! Who holds and who waits, key by key.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::task::Waker;

use crate::rows::{Rows, Table, find_by_comparing};
use crate::sharable::Sharable;
use crate::shards::Shards;
use crate::sync::Mutex;

pub(super) struct Queues<K, S> {
    hasher: S,
    shards: Shards<Mutex<Held<K>>>,
}

/// The locks of a shard that are held.
struct Held<K> {
    rows: Rows<K, Queue>,
    next_ticket: u64,
}

struct Queue {
    /// Whose it is, be it that it does not know yet.
    holder: u64,
    /// Tickets grow, so the first is who waits longest.
    waiters: BTreeMap<u64, Waker>,
}

impl<K> Default for Held<K> {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            next_ticket: 0,
        }
    }
}

impl<K> Table<K> for Held<K> {
    type Content = Queue;

    fn rows(&mut self) -> &mut Rows<K, Queue> {
        &mut self.rows
    }
}

/// What came of asking for a lock, with the key as it stands in the table as long as anybody holds it or waits.
pub(super) enum Entered<K> {
    Held(Arc<K>),
    Queued(Arc<K>, u64),
    /// It is taken, and nobody is there to be woken.
    Refused,
}

impl<K, S: BuildHasher> Queues<K, S> {
    pub(super) fn new(shards: usize, hasher: S) -> Self {
        let shards = Shards::locked(shards);
        Self { hasher, shards }
    }

    pub(super) fn hash(&self, key: &K) -> u64
    where
        K: Hash,
    {
        self.hasher.hash_one(key)
    }
}

impl<K, S> Queues<K, S> {
    /// Takes the lock, or a place in its queue.
    pub(super) fn enter(&self, hash: u64, key: K, waker: Option<Waker>) -> Entered<K>
    where
        K: Eq,
    {
        let mut found = find_by_comparing(self.shards.of(hash), hash, &key);
        let table = &mut *found.table;
        let ticket = table.next_ticket;
        table.next_ticket += 1;
        let Some(place) = found.place else {
            let queue = Queue {
                holder: ticket,
                waiters: BTreeMap::new(),
            };
            let place = table.rows.insert(hash, Sharable::own(key), queue);
            return Entered::Held(table.rows.at(place).key.share());
        };
        let Some(waker) = waker else {
            return Entered::Refused;
        };
        let row = table.rows.at(place);
        row.content.waiters.insert(ticket, waker);
        Entered::Queued(row.key.share(), ticket)
    }

    /// Whether the lock was granted to that ticket; if not, `waker` is woken when it is.
    pub(super) fn is_granted(&self, hash: u64, key: &Arc<K>, ticket: u64, waker: Waker) -> bool {
        let mut table = self.shards.lock(hash);
        let row = table.rows.get_mut(hash, key).expect(KEPT);
        if row.content.holder == ticket {
            return true;
        }
        let before = row.content.waiters.insert(ticket, waker);
        drop(table);
        drop(before);
        false
    }

    /// Ends the wait of that ticket; what was granted to it passes on.
    pub(super) fn cancel(&self, hash: u64, key: &Arc<K>, ticket: u64) {
        let mut table = self.shards.lock(hash);
        let row = table.rows.get_mut(hash, key).expect(KEPT);
        let granted = row.content.holder == ticket;
        let waker = row.content.waiters.remove(&ticket);
        drop(table);
        drop(waker);
        if granted {
            self.release(hash, key);
        }
    }

    /// The holder lets go: the next one has it.
    pub(super) fn release(&self, hash: u64, key: &Arc<K>) {
        let mut table = self.shards.lock(hash);
        let mut row = table.rows.entry(hash, key).expect(KEPT);
        let Some((ticket, waker)) = row.get_mut().content.waiters.pop_first() else {
            let (free, _) = row.remove();
            drop(table);
            drop(free);
            return;
        };
        row.get_mut().content.holder = ticket;
        drop(table);
        waker.wake();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shards.each().all(|table| table.rows.is_empty())
    }
}

/// Who holds a lock or waits for it keeps its row.
const KEPT: &str = "a lock that is held is in its table";
