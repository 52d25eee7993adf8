//! The table behind a group registry: where an entry stands, and what a change of it sets off.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Weak};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use crate::chunks::{ChunkedList, Retired};
use crate::directory::{Directory, ShardBy};
use crate::edges::{Edges, Queued};
use crate::registration::Removal;
use crate::shards::{Serials, Shards, shard_of};
use crate::watchers::{Notices, Watchers};
use crate::{Change, Entries, Entry, KeyLocks, Meta, Owner, OwnerId, Reason, Registration};

pub(super) struct Store<K, V, S> {
    pub(super) hasher: S,
    pub(super) shards: Shards<Shard<K, V>>,
    /// There if a key's entries stand in several shards.
    pub(super) directory: Option<Directory<K>>,
    pub(super) edges: Option<Edges<K, S>>,
    pub(super) locks: KeyLocks<K, S>,
    pub(super) meta: Meta,
}

pub(super) struct Shard<K, V> {
    pub(super) rows: HashTable<Row<K, V>>,
    pub(super) entries: usize,
    serials: Serials,
    pub(super) watchers: Watchers<K, V>,
}

pub(super) struct Row<K, V> {
    pub(super) key: K,
    hash: u64,
    pub(super) list: ChunkedList<V>,
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Self {
            rows: HashTable::new(),
            entries: 0,
            serials: Serials::default(),
            watchers: Watchers::default(),
        }
    }
}

impl<K, V, S> Store<K, V, S>
where
    K: Eq + Hash + Clone,
    S: BuildHasher + Clone,
{
    pub(super) fn new(
        shards: usize,
        hasher: S,
        shard_by: ShardBy,
        edges: Option<Edges<K, S>>,
    ) -> Self {
        Self {
            locks: KeyLocks::with_shards(shards, hasher.clone()),
            meta: Meta::default(),
            directory: (shard_by == ShardBy::Owner).then(|| Directory::new(shards)),
            shards: Shards::new(shards),
            hasher,
            edges,
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Store<K, V, S> {
    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The shard in which the entries of `owner` under a key of that hash stand.
    pub(super) fn place(&self, hash: u64, owner: OwnerId) -> usize {
        match self.directory {
            None => self.shards.index(hash),
            Some(_) => self.shards.index(self.hasher.hash_one(owner)),
        }
    }

    /// The shards in which entries under a key of that hash may stand.
    pub(super) fn places(&self, hash: u64) -> std::ops::Range<usize> {
        match self.directory {
            None => self.shards.index(hash)..self.shards.index(hash) + 1,
            Some(_) => 0..self.shards.len(),
        }
    }

    /// The entries under `key` in that shard.
    pub(super) fn part<Q>(&self, shard: usize, hash: u64, key: &Q) -> Option<ChunkedList<V>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let shard = self.shards.lock(shard);
        let row = shard.rows.find(hash, |row| row.key.borrow() == key)?;
        Some(row.list.clone())
    }
}

impl<K, V, S> Store<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    pub(super) fn insert(self: &Arc<Self>, owner: &Owner, key: K, value: V) -> Registration {
        let hash = self.hash(&key);
        let index = self.place(hash, owner.id());
        let mut retired = Retired::default();
        let mut edge = None;
        let mut guard = self.shards.lock(index);
        let shard = &mut *guard;
        let serial = shard.serials.next(index);
        let record = Arc::new(Record {
            store: Arc::downgrade(self),
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
        let notices = shard
            .watchers
            .tell(index, hash, &key, || Change::Registered {
                key: key.clone(),
                entry: Arc::new(entry.clone()),
            });
        match shard.rows.entry(hash, |row| row.key == key, |row| row.hash) {
            Place::Occupied(mut row) => row.get_mut().list.push(entry, &mut retired),
            Place::Vacant(place) => {
                edge = self.appeared(hash, &key);
                let (list, key) = (ChunkedList::new(entry), key.clone());
                place.insert(Row { key, hash, list });
            }
        }
        shard.entries += 1;
        drop(guard);
        self.announce(edge);
        notices.deliver();
        Registration::new(record, Arc::clone(owner.life()))
    }

    /// Takes one entry out; its owner's slot if it was there.
    pub(super) fn remove<Q>(&self, hash: u64, key: &Q, serial: u64, reason: Reason) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let index = shard_of(serial);
        let mut retired = Retired::default();
        let mut emptied = None;
        let mut guard = self.shards.lock(index);
        let shard = &mut *guard;
        let found = shard.rows.find_entry(hash, |row| row.key.borrow() == key);
        let mut row = found.ok()?;
        let mut notices = Notices::none();
        if !shard.watchers.is_idle() {
            let (key, entry) = (&row.get().key, row.get().list.get(serial)?);
            notices = shard
                .watchers
                .tell(index, hash, key, || Change::Unregistered {
                    key: key.clone(),
                    entry: Arc::new(entry.clone()),
                    reason,
                });
        }
        let slot = row.get_mut().list.remove(serial, &mut retired)?;
        if row.get().list.is_empty() {
            let Row { key, list, .. } = row.remove().0;
            emptied = Some((list, self.vanished(hash, key)));
        }
        shard.entries -= 1;
        drop(guard);
        drop(retired);
        if let Some((list, (edge, known))) = emptied {
            drop((list, known));
            self.announce(edge);
        }
        notices.deliver();
        Some(slot)
    }

    /// The serials of what `owner` has under `key` and `matches`, ascending.
    ///
    /// Found through the owner's notes or the key's entries, whichever are fewer: neither an owner with many keys nor a key
    /// with many owners makes it long.
    pub(super) fn serials<Q>(
        &self,
        owner: &Owner,
        key: &Q,
        matches: impl Fn(&V) -> bool,
    ) -> Vec<u64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.hash(key);
        let Some(list) = self.part(self.place(hash, owner.id()), hash, key) else {
            return Vec::new();
        };
        if owner.life().noted() < list.len() {
            let noted = owner.life().serials(std::ptr::from_ref(self).cast(), hash);
            let chosen = |serial: &u64| list.get(*serial).is_some_and(|e| matches(&e.value));
            return noted.into_iter().filter(chosen).collect();
        }
        let entries = Entries::new(list);
        let own = entries.iter().filter(|entry| entry.owner == owner.id());
        let chosen = own.filter(|entry| matches(&entry.value));
        chosen.map(|entry| entry.serial).collect()
    }

    /// The key has its first entry in a shard, which is locked.
    fn appeared(&self, hash: u64, key: &K) -> Option<Queued<K>> {
        match &self.directory {
            None => self.edge(key),
            Some(directory) => directory.enter(hash, key, || self.edge(key)).flatten(),
        }
    }

    /// The key has no entry any more in a shard, which is locked. Also what is the user's to drop.
    fn vanished(&self, hash: u64, key: K) -> (Option<Queued<K>>, impl Sized + use<K, V, S>) {
        match &self.directory {
            None => (self.edge(&key), (key, None)),
            Some(directory) => match directory.leave(hash, &key, || self.edge(&key)) {
                Some((known, edge)) => (edge, (key, Some(known))),
                None => (None, (key, None)),
            },
        }
    }

    fn edge(&self, key: &K) -> Option<Queued<K>> {
        let edges = self.edges.as_ref()?;
        Some(edges.queue(key.clone()))
    }

    fn announce(&self, edge: Option<Queued<K>>) {
        if let (Some(edges), Some(edge)) = (&self.edges, edge) {
            edges.announce(edge);
        }
    }
}

/// Where an entry stands, for its guard and its owner.
struct Record<K, V, S> {
    store: Weak<Store<K, V, S>>,
    key: K,
    hash: u64,
    serial: u64,
}

impl<K, V, S> Removal for Record<K, V, S>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    fn remove(&self, reason: Reason) -> Option<usize> {
        let store = self.store.upgrade()?;
        store.remove(self.hash, &self.key, self.serial, reason)
    }

    fn serial(&self, registry: *const (), hash: u64) -> Option<u64> {
        let own = std::ptr::eq(self.store.as_ptr().cast(), registry);
        (own && self.hash == hash).then_some(self.serial)
    }
}
