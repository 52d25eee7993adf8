//! Names: at most one entry under one key.

mod changes;
mod questions;
mod shard;
mod store;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use thiserror::Error;

use crate::bound::at_least_one;
use crate::listener::Source;
use crate::shards::default_shards;
use crate::{
    Entry, KeyLocks, Listener, Meta, Owner, OwnerDead, OwnerId, RandomState, Registration,
    SnapshotAndListener, ZeroBound,
};
use store::Store;

/// Why a name was not registered. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The key has an entry: choose another key, or wait for that owner to go.
    #[error(
        "the key is already registered by owner {owner}: take another, or wait until that owner goes"
    )]
    AlreadyRegistered {
        /// Who holds the key; it may be the caller itself.
        owner: OwnerId,
    },
    /// Who was to hold it is dead.
    #[error(transparent)]
    OwnerDead(#[from] OwnerDead),
}

/// A registry in which each key has one entry at most.
///
/// A cheap handle: clones mean the same registry. Whatever of keys, values and closures is the user's code runs under no
/// lock, and may use the registry freely. Keys and values are cloned only where they are returned by value.
///
/// A name leads to one owner, so what makes sense for many does not compile:
///
/// ```compile_fail
/// # use matryoshka_registry::{UniqueRegistry, Owner};
/// let names = UniqueRegistry::<&str, u32>::new();
/// names.dispatch("mailer", |entries| entries.len());
/// ```
///
/// Registering takes a `&Owner`, so nobody is there to register for once his owner was dropped:
///
/// ```compile_fail
/// # use matryoshka_registry::{UniqueRegistry, Owner};
/// let (names, owner) = (UniqueRegistry::<&str, u32>::new(), Owner::new());
/// drop(owner);
/// let _name = names.register(&owner, "mailer", 1);
/// ```
pub struct UniqueRegistry<K, V, S = RandomState> {
    store: Arc<Store<K, V, S>>,
}

impl<K, V, S> Clone for UniqueRegistry<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
        }
    }
}

impl<K, V, S> fmt::Debug for UniqueRegistry<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UniqueRegistry")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl<K, V> Default for UniqueRegistry<K, V>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> UniqueRegistry<K, V>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// An empty registry, with four shards for each thread that can run at once.
    pub fn new() -> Self {
        Self::with_hasher(RandomState::default())
    }
}

impl<K, V, S> UniqueRegistry<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// An empty registry that hashes its keys with `hasher`.
    pub fn with_hasher(hasher: S) -> Self {
        Self::with_shards(default_shards(), hasher)
    }

    /// An empty registry with `shards` shards, rounded up to a power of two, at least 1 and at most 256. More shards cost
    /// memory and save waiting; nothing else can be told from outside.
    pub fn with_shards(shards: usize, hasher: S) -> Self {
        Self {
            store: Arc::new(Store::new(shards, hasher)),
        }
    }

    /// Takes `key` for `owner`, until the guard is dropped or `owner` dies.
    ///
    /// # Errors
    ///
    /// [`RegisterError::AlreadyRegistered`] if the key has an entry, be it the same owner's. Of several who try at once exactly
    /// one succeeds. Who is dying holds nothing any more.
    ///
    /// [`RegisterError::OwnerDead`] if `owner` has been [ended](Owner::end), be it by another thread in the midst of this.
    pub fn register(&self, owner: &Owner, key: K, value: V) -> Result<Registration, RegisterError> {
        let hash = self.store.hash(&key);
        self.store.shards.of(hash).insert(owner, hash, key, value)
    }

    /// Puts `change(old)` in place of the value under `key`, if `owner` holds it, and returns the new value; else `None`, and
    /// `change` is not called.
    ///
    /// `change` runs under no lock. It runs again if another thread with the same owner changed the value meanwhile.
    pub fn update_value<Q>(
        &self,
        owner: &Owner,
        key: &Q,
        mut change: impl FnMut(&V) -> V,
    ) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        let hash = self.store.hash(key);
        let shard = self.store.shards.of(hash);
        loop {
            let old = shard.find_own(owner.id(), hash, key)?;
            let new = Arc::new(Entry {
                value: change(&old.value),
                ..*old
            });
            if shard.replace(hash, &old, Arc::clone(&new)) {
                return Some(new.value.clone());
            }
        }
    }

    /// Removes the entry under `key` if `owner` holds it; whether it did. Its guard does nothing any more.
    pub fn unregister<Q>(&self, owner: &Owner, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        let shard = self.store.shards.of(hash);
        let found = shard.find_own(owner.id(), hash, key);
        found.is_some_and(|found| shard.remove(hash, |entry| entry.serial == found.serial))
    }

    /// Removes the entry under `key` if `owner` holds it and its value `matches`; whether it did.
    ///
    /// `matches` runs under no lock. It runs again if another thread with the same owner changed the value meanwhile.
    pub fn unregister_match<Q>(&self, owner: &Owner, key: &Q, matches: impl Fn(&V) -> bool) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.store.hash(key);
        let shard = self.store.shards.of(hash);
        while let Some(found) = shard.find_own(owner.id(), hash, key) {
            if !matches(&found.value) {
                return false;
            }
            if shard.remove(hash, |entry| Arc::ptr_eq(entry, &found)) {
                return true;
            }
        }
        false
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
}

impl<K, V, S> UniqueRegistry<K, V, S> {
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
impl<K, V, S> UniqueRegistry<K, V, S> {
    /// Whether no table and no index has anything.
    pub(crate) fn is_bare(&self) -> bool {
        self.store.is_bare()
    }
}
