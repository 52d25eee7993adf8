//! Groups: any number of entries under one key.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Weak};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::chunks::{ChunkedList, Retired};
use crate::edges::Edges;
use crate::registration::Removal;
use crate::shards::{Shards, default_shards};
use crate::{Entries, Entry, Owner, OwnerId, RandomState, Registration};

/// A registry in which many owners may register under one key, and one owner many times.
///
/// A cheap handle: clones mean the same registry. Values should be cheap to clone (an `Arc`): while a snapshot of a key is
/// out, a change of that key copies up to 256 of them. A key's `Eq`, `Hash` and `Clone` and a value's `Clone` run under a
/// lock and must neither panic nor call the registry; closures given to it and the `Drop` of values run under none.
pub struct DuplicateRegistry<K, V, S = RandomState> {
    inner: Arc<Inner<K, V, S>>,
}

struct Inner<K, V, S> {
    shards: Shards<Shard<K, V>, S>,
    edges: Option<Edges<K, S>>,
}

struct Shard<K, V> {
    rows: HashTable<Row<K, V>>,
    entries: usize,
    next_serial: u64,
}

struct Row<K, V> {
    key: K,
    hash: u64,
    list: ChunkedList<V>,
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            entries: 0,
            next_serial: 0,
        }
    }
}

impl<K, V, S> Clone for DuplicateRegistry<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K, V, S> fmt::Debug for DuplicateRegistry<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplicateRegistry")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl<K, V> Default for DuplicateRegistry<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> DuplicateRegistry<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty registry, with four shards for each thread that can run at once.
    pub fn new() -> Self {
        Self::with_hasher(RandomState::default())
    }

    /// An empty registry that notes each key which gets its first entry or loses its last one, for [`take_edges`].
    ///
    /// `notify` is called under no lock, in the thread that registered or unregistered, whenever the first edge since the
    /// last [`take_edges`] was noted. It must not panic: it may run in a drop.
    ///
    /// [`take_edges`]: Self::take_edges
    pub fn with_edges(notify: impl Fn() + Send + Sync + 'static) -> Self {
        let hasher = RandomState::default();
        let edges = Edges::new(hasher.clone(), Box::new(notify));
        Self::build(default_shards(), hasher, Some(edges))
    }
}

impl<K, V, S> DuplicateRegistry<K, V, S> {
    fn build(shards: usize, hasher: S, edges: Option<Edges<K, S>>) -> Self {
        let shards = Shards::new(shards, hasher);
        Self {
            inner: Arc::new(Inner { shards, edges }),
        }
    }

    /// How many entries there are. Shards are read one after another: not a snapshot.
    pub fn count(&self) -> usize {
        self.inner.shards.each().map(|shard| shard.entries).sum()
    }

    /// How many keys have entries. Shards are read one after another: not a snapshot.
    pub fn count_keys(&self) -> usize {
        self.inner.shards.each().map(|shard| shard.rows.len()).sum()
    }
}

impl<K, V, S> DuplicateRegistry<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// An empty registry that hashes its keys with `hasher`.
    pub fn with_hasher(hasher: S) -> Self {
        Self::with_shards(default_shards(), hasher)
    }

    /// An empty registry with `shards` shards, rounded up to a power of two and at most 256. More shards cost memory and
    /// save waiting; nothing else can be told from outside.
    pub fn with_shards(shards: usize, hasher: S) -> Self {
        Self::build(shards, hasher, None)
    }

    /// Adds an entry, which stays until the guard is dropped or `owner` dies.
    pub fn register(&self, owner: &Owner, key: K, value: V) -> Registration {
        let hash = self.inner.shards.hash(&key);
        let mut retired = Retired::default();
        let mut shard = self.inner.shards.lock(hash);
        let serial = shard.next_serial;
        shard.next_serial += 1;
        let record = Arc::new(Record {
            registry: Arc::downgrade(&self.inner),
            key: key.clone(),
            hash,
            serial,
        });
        let entry = Entry {
            owner: owner.id(),
            serial,
            slot: owner.life().note(Arc::clone(&record) as Arc<dyn Removal>),
            value,
        };
        let mut queued = None;
        match shard.rows.entry(hash, |row| row.key == key, |row| row.hash) {
            Place::Occupied(mut row) => row.get_mut().list.push(entry, &mut retired),
            Place::Vacant(place) => {
                queued = self
                    .inner
                    .edges
                    .as_ref()
                    .map(|edges| edges.queue(key.clone()));
                let list = ChunkedList::new(entry);
                let key = key.clone();
                place.insert(Row { key, hash, list });
            }
        }
        shard.entries += 1;
        drop(shard);
        if let (Some(edges), Some(queued)) = (&self.inner.edges, queued) {
            edges.announce(queued);
        }
        Registration::new(record, Arc::clone(owner.life()))
    }

    /// Calls `visit` with a snapshot of the entries under `key`, and hands back what it returned; `None`, and no call, if
    /// there are none.
    ///
    /// An entry that is there during the whole call is in the snapshot exactly once, one that is not never.
    /// `visit` runs in this thread, under no lock, and may use the registry freely.
    pub fn dispatch<Q, R>(&self, key: &Q, visit: impl FnOnce(&Entries<V>) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.lookup(key).map(|entries| visit(&entries))
    }

    /// A snapshot of the entries under `key`; `None` if there are none.
    pub fn lookup<Q>(&self, key: &Q) -> Option<Entries<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.inner.shards.hash(key);
        let shard = self.inner.shards.lock(hash);
        let row = shard.rows.find(hash, |row| row.key.borrow() == key)?;
        Some(Entries::new(row.list.clone()))
    }

    /// The values that `owner` registered under `key`, in the order of registration.
    pub fn values<Q>(&self, key: &Q, owner: OwnerId) -> Vec<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let own = |entry: &&Entry<V>| entry.owner == owner;
        self.dispatch(key, |entries| {
            entries
                .iter()
                .filter(own)
                .map(|entry| entry.value.clone())
                .collect()
        })
        .unwrap_or_default()
    }

    /// The keys of `owner`, once for each registration, in no order. Reads the whole registry: for questions, not for work.
    pub fn keys(&self, owner: OwnerId) -> Vec<K> {
        let mut keys = Vec::new();
        for shard in self.inner.shards.each() {
            for row in &shard.rows {
                let entries = row.list.chunks().iter().flat_map(|chunk| chunk.iter());
                let own = entries.filter(|entry| entry.owner == owner);
                keys.extend(own.map(|_| row.key.clone()));
            }
        }
        keys
    }

    /// Removes all entries of `owner` under `key`; how many there were. Their guards do nothing any more.
    pub fn unregister<Q>(&self, owner: &Owner, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.unregister_match(owner, key, |_| true)
    }

    /// Removes those entries of `owner` under `key` whose value `matches`; how many there were.
    pub fn unregister_match<Q>(&self, owner: &Owner, key: &Q, matches: impl Fn(&V) -> bool) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(entries) = self.lookup(key) else {
            return 0;
        };
        let own = entries.iter().filter(|entry| entry.owner == owner.id());
        let chosen = own.filter(|entry| matches(&entry.value));
        let serials: Vec<u64> = chosen.map(|entry| entry.serial).collect();
        drop(entries);
        let hash = self.inner.shards.hash(key);
        let slots = serials
            .iter()
            .filter_map(|&serial| self.inner.remove(hash, key, serial));
        slots.map(|slot| owner.life().forget(slot)).count()
    }

    /// How many entries there are under `key`.
    pub fn count_key<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.inner.shards.hash(key);
        let shard = self.inner.shards.lock(hash);
        let row = shard.rows.find(hash, |row| row.key.borrow() == key);
        row.map_or(0, |row| row.list.len())
    }

    /// Whether there is any entry under `key`.
    pub fn is_registered<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.inner.shards.hash(key);
        let shard = self.inner.shards.lock(hash);
        shard
            .rows
            .find(hash, |row| row.key.borrow() == key)
            .is_some()
    }

    /// Takes all keys that got a first or lost a last entry since the last call, each once, in one step.
    ///
    /// A key is among them before the call that made it so returns, or earlier. It says that something changed, not what:
    /// ask [`is_registered`] afterwards. Always empty unless made by [`with_edges`](DuplicateRegistry::with_edges).
    ///
    /// [`is_registered`]: Self::is_registered
    pub fn take_edges(&self) -> Vec<K> {
        let edges = self.inner.edges.as_ref().map(Edges::take);
        edges.into_iter().flatten().collect()
    }

    /// Whether [`take_edges`](Self::take_edges) would return any.
    pub fn edges_pending(&self) -> bool {
        self.inner.edges.as_ref().is_some_and(Edges::pending)
    }
}

impl<K, V, S> Inner<K, V, S>
where
    K: Eq + Hash,
    V: Clone,
    S: BuildHasher + Clone,
{
    /// Takes one entry out; its owner's slot if it was there.
    fn remove<Q>(&self, hash: u64, key: &Q, serial: u64) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut retired = Retired::default();
        let mut queued = None;
        let mut emptied = None;
        let mut shard = self.shards.lock(hash);
        let found = shard.rows.find_entry(hash, |row| row.key.borrow() == key);
        let mut row = found.ok()?;
        let slot = row.get_mut().list.remove(serial, &mut retired)?;
        if row.get().list.is_empty() {
            let Row { key, list, .. } = row.remove().0;
            emptied = Some(list);
            queued = self.edges.as_ref().map(|edges| edges.queue(key));
        }
        shard.entries -= 1;
        drop(shard);
        drop((retired, emptied));
        if let (Some(edges), Some(queued)) = (&self.edges, queued) {
            edges.announce(queued);
        }
        Some(slot)
    }
}

/// Where an entry stands, for its guard and its owner.
struct Record<K, V, S> {
    registry: Weak<Inner<K, V, S>>,
    key: K,
    hash: u64,
    serial: u64,
}

impl<K, V, S> Removal for Record<K, V, S>
where
    K: Eq + Hash + Send + Sync,
    V: Clone + Send + Sync,
    S: BuildHasher + Clone + Send + Sync,
{
    fn remove(&self) -> Option<usize> {
        self.registry
            .upgrade()?
            .remove(self.hash, &self.key, self.serial)
    }
}
