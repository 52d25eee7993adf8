//! Who holds and who waits, key by key.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::task::Waker;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::shards::Shards;
use crate::sync::Mutex;

pub(super) struct Queues<K, S> {
    hasher: S,
    shards: Shards<Mutex<Table<K>>>,
}

struct Table<K> {
    rows: HashTable<Row<K>>,
    next_ticket: u64,
}

/// One lock that is held.
struct Row<K> {
    key: K,
    hash: u64,
    /// Whose it is, be it that it does not know yet.
    holder: u64,
    /// Tickets grow, so the first is who waits longest.
    waiters: BTreeMap<u64, Waker>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            next_ticket: 0,
        }
    }
}

/// What came of asking for a lock.
pub(super) enum Entered {
    Held,
    Queued(u64),
    /// It is taken, and nobody is there to be woken.
    Refused,
}

impl<K: Eq + Hash, S: BuildHasher> Queues<K, S> {
    pub(super) fn new(shards: usize, hasher: S) -> Self {
        let shards = Shards::locked(shards);
        Self { hasher, shards }
    }

    pub(super) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl<K: Eq + Clone, S> Queues<K, S> {
    /// Takes the lock, or a place in its queue.
    pub(super) fn enter(&self, hash: u64, key: &K, waker: Option<Waker>) -> Entered {
        let mut guard = self.shards.lock(hash);
        let table = &mut *guard;
        let ticket = table.next_ticket;
        table.next_ticket += 1;
        match table
            .rows
            .entry(hash, |row| row.key == *key, |row| row.hash)
        {
            Place::Vacant(place) => {
                place.insert(Row {
                    key: key.clone(),
                    hash,
                    holder: ticket,
                    waiters: BTreeMap::new(),
                });
                Entered::Held
            }
            Place::Occupied(mut row) => {
                let Some(waker) = waker else {
                    return Entered::Refused;
                };
                row.get_mut().waiters.insert(ticket, waker);
                Entered::Queued(ticket)
            }
        }
    }
}

impl<K: Eq, S> Queues<K, S> {
    /// Whether the lock was granted to that ticket; if not, `waker` is woken when it is.
    pub(super) fn is_granted(&self, hash: u64, key: &K, ticket: u64, waker: Waker) -> bool {
        let mut table = self.shards.lock(hash);
        let row = table.rows.find_mut(hash, |row| row.key == *key);
        let row = row.expect("who waits keeps the lock in its table");
        if row.holder == ticket {
            return true;
        }
        let before = row.waiters.insert(ticket, waker);
        drop(table);
        drop(before);
        false
    }

    /// Ends the wait of that ticket; what was granted to it passes on.
    pub(super) fn cancel(&self, hash: u64, key: &K, ticket: u64) {
        let mut table = self.shards.lock(hash);
        let row = table.rows.find_mut(hash, |row| row.key == *key);
        let row = row.expect("who waits keeps the lock in its table");
        let granted = row.holder == ticket;
        let waker = row.waiters.remove(&ticket);
        drop(table);
        drop(waker);
        if granted {
            self.release(hash, key);
        }
    }

    /// The holder lets go: the next one has it.
    pub(super) fn release(&self, hash: u64, key: &K) {
        let mut table = self.shards.lock(hash);
        let row = table.rows.find_entry(hash, |row| row.key == *key);
        let mut row = row.ok().expect("a lock that is held is in its table");
        let Some((ticket, waker)) = row.get_mut().waiters.pop_first() else {
            let (free, _) = row.remove();
            drop(table);
            drop(free);
            return;
        };
        row.get_mut().holder = ticket;
        drop(table);
        waker.wake();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shards.each().all(|table| table.rows.is_empty())
    }
}
