//! Groups: any number of entries under one key.

mod builder;
mod changes;
mod keys;
mod parallel;
mod questions;
mod shard;
mod store;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use crate::bound::at_least_one;
use crate::directory::ShardBy;
use crate::edges::Edges;
use crate::listener::Source;
use crate::shards::default_shards;
use crate::{
    Entries, KeyLocks, Listener, Meta, Owner, OwnerDead, RandomState, Reason, Registration,
    SnapshotAndListener, ZeroBound,
};

pub use builder::DuplicateBuilder;
use store::Store;

/// A registry in which many owners may register under one key, and one owner many times.
///
/// A cheap handle: clones mean the same registry. Whatever of keys, values and closures is the user's code runs under no
/// lock, and may use the registry freely. Keys and values are cloned only where they are returned by value.
///
/// A group has no name to look one owner up by, and no value to update, so what only names can do does not compile:
///
/// ```compile_fail
/// # use matryoshka_registry::{DuplicateRegistry, Owner};
/// let groups = DuplicateRegistry::<&str, u32>::new();
/// groups.whereis("lobby"); // many could be there
/// ```
///
/// ```compile_fail
/// # use matryoshka_registry::{DuplicateRegistry, Owner};
/// let (groups, owner) = (DuplicateRegistry::<&str, u32>::new(), Owner::new());
/// let _guard = groups.register(&owner, "lobby", 1).unwrap();
/// groups.update_value(&owner, "lobby", |old| old + 1); // which of its values?
/// ```
///
/// For comparison, the same with a [`UniqueRegistry`](crate::UniqueRegistry):
///
/// ```
/// # use matryoshka_registry::{UniqueRegistry, Owner};
/// let (names, owner) = (UniqueRegistry::<&str, u32>::new(), Owner::new());
/// let _guard = names.register(&owner, "lobby", 1);
/// names.update_value(&owner, "lobby", |old| old + 1);
/// assert_eq!(names.whereis("lobby"), Some(2));
/// ```
pub struct DuplicateRegistry<K, V, S = RandomState> {
    store: Arc<Store<K, V, S>>,
}

impl<K, V, S> Clone for DuplicateRegistry<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
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
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> DuplicateRegistry<K, V>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// An empty registry, with four shards for each thread that can run at once.
    pub fn new() -> Self {
        Self::with_hasher(RandomState::default())
    }

    /// Settings first, then a registry.
    pub fn builder() -> DuplicateBuilder<K, V> {
        DuplicateBuilder::default()
    }

    /// An empty registry that notes each key which gets its first entry or loses its last one, for [`take_edges`].
    ///
    /// `notify` is called under no lock, in the thread that registered or unregistered, whenever the first edge since the
    /// last [`take_edges`] was noted. It must not panic: it may run in a drop.
    ///
    /// [`take_edges`]: Self::take_edges
    pub fn with_edges(notify: impl Fn() + Send + Sync + 'static) -> Self {
        let edges = Edges::new(Arc::new(notify));
        let hasher = RandomState::default();
        Self::build(default_shards(), hasher, ShardBy::Key, Some(edges))
    }
}

impl<K, V, S> DuplicateRegistry<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    fn build(shards: usize, hasher: S, shard_by: ShardBy, edges: Option<Edges<K>>) -> Self {
        Self {
            store: Arc::new(Store::new(shards, hasher, shard_by, edges)),
        }
    }

    /// An empty registry that hashes its keys with `hasher`.
    pub fn with_hasher(hasher: S) -> Self {
        Self::with_shards(default_shards(), hasher)
    }

    /// An empty registry with `shards` shards, rounded up to a power of two, at least 1 and at most 256. More shards cost
    /// memory and save waiting; nothing else can be told from outside.
    pub fn with_shards(shards: usize, hasher: S) -> Self {
        Self::build(shards, hasher, ShardBy::Key, None)
    }

    /// Adds an entry, which stays until the guard is dropped or `owner` dies.
    ///
    /// # Errors
    ///
    /// [`OwnerDead`] if `owner` has been [ended](Owner::end), be it by another thread in the midst of this: then nothing of
    /// it stays.
    pub fn register(&self, owner: &Owner, key: K, value: V) -> Result<Registration, OwnerDead> {
        let hash = self.store.hash(&key);
        let shard = self.store.place(hash, owner.id());
        shard.insert(owner, hash, key, value)
    }

    /// Calls `visit` with all entries under `key`, if there are any, and gives what it returns.
    ///
    /// The entries are a snapshot: who is there during the whole call is in it exactly once, who is not never is. `visit`
    /// runs in this thread, under no lock, and may use the registry freely. Its panic is the caller's.
    pub fn dispatch<Q, R>(&self, key: &Q, visit: impl FnOnce(&Entries<V>) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.lookup(key).map(|entries| visit(&entries))
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
    ///
    /// Looks at the owner's entries or at the key's, whichever are fewer. `matches` runs under no lock.
    pub fn unregister_match<Q>(&self, owner: &Owner, key: &Q, matches: impl Fn(&V) -> bool) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        let shard = self.store.place(hash, owner.id());
        let notes = shard.own(owner.id(), hash, key, matches);
        let removed = notes
            .into_iter()
            .filter(|note| shard.remove(*note, Reason::Explicit));
        removed.count()
    }

    /// Listens to every change from now on, with at most `bound` of them waiting.
    ///
    /// # Errors
    ///
    /// [`ZeroBound`] if none could wait.
    pub fn listen(&self, bound: usize) -> Result<Listener<K, V>, ZeroBound> {
        Ok(self.snapshot_and_listen(bound)?.1)
    }

    /// What is there now, and a listener to every later change of it, in one step: nothing is missed or told twice between.
    ///
    /// # Errors
    ///
    /// [`ZeroBound`] if no change could wait.
    pub fn snapshot_and_listen(
        &self,
        bound: usize,
    ) -> Result<SnapshotAndListener<K, V>, ZeroBound> {
        self.join(None, bound)
    }

    /// What is under `key` now, and a listener to every later change of that key, in one step.
    ///
    /// # Errors
    ///
    /// [`ZeroBound`] if no change could wait.
    pub fn lookup_and_listen(
        &self,
        key: K,
        bound: usize,
    ) -> Result<SnapshotAndListener<K, V>, ZeroBound> {
        let hash = self.store.hash(&key);
        self.join(Some((hash, key)), bound)
    }

    fn join(
        &self,
        key: Option<(u64, K)>,
        bound: usize,
    ) -> Result<SnapshotAndListener<K, V>, ZeroBound> {
        let bound = at_least_one("the number of changes that may wait", bound)?;
        let source = Arc::clone(&self.store) as Arc<dyn Source<K, V>>;
        Ok(Listener::join(&source, key, bound))
    }

    /// Takes all keys that got a first or lost a last entry since the last call, each once, in one step.
    ///
    /// A key is among them before the call that made it so returns, or earlier. It says that something changed, not what:
    /// ask [`is_registered`] afterwards. Always empty unless made by [`with_edges`](DuplicateRegistry::with_edges).
    ///
    /// [`is_registered`]: Self::is_registered
    pub fn take_edges(&self) -> Vec<K>
    where
        K: Clone,
    {
        let keys = self.store.take_edges().into_iter();
        keys.map(Arc::unwrap_or_clone).collect()
    }

    /// Whether [`take_edges`](Self::take_edges) would return any.
    pub fn edges_pending(&self) -> bool {
        self.store.edges().is_some_and(Edges::pending)
    }
}

impl<K, V, S> DuplicateRegistry<K, V, S> {
    /// Fair locks by key. They have nothing to do with the entries: a lock may be taken under any key.
    pub fn locks(&self) -> &KeyLocks<K, S> {
        &self.store.locks
    }

    /// Notes about this registry.
    pub fn meta(&self) -> &Meta {
        &self.store.meta
    }
}

#[cfg(test)]
impl<K, V, S> DuplicateRegistry<K, V, S> {
    /// Whether no table and no index has anything.
    pub(crate) fn is_bare(&self) -> bool {
        self.store.is_bare()
    }
}
