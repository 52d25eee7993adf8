//! How a group registry is made when the defaults do not do.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::bound::at_least_one;
use crate::edges::{Edges, Notify};
use crate::shards::default_shards;
use crate::{DuplicateRegistry, RandomState, ShardBy, ZeroBound};

/// Makes a [`DuplicateRegistry`] with other than the default settings.
///
/// ```
/// use matryoshka_registry::{DuplicateRegistry, ShardBy};
///
/// let crowd: DuplicateRegistry<&str, u32> = DuplicateRegistry::builder()
///     .shard_by(ShardBy::Owner) // one key with a great many entries
///     .shards(16)
///     .build()?;
/// assert_eq!(crowd.count(), 0);
/// # Ok::<(), matryoshka_registry::ZeroBound>(())
/// ```
#[must_use = "nothing is made before `build`"]
pub struct DuplicateBuilder<K, V, S = RandomState> {
    shards: usize,
    shard_by: ShardBy,
    hasher: S,
    notify: Option<Notify>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Default for DuplicateBuilder<K, V> {
    fn default() -> Self {
        Self {
            shards: default_shards(),
            shard_by: ShardBy::Key,
            hasher: RandomState::default(),
            notify: None,
            of: PhantomData,
        }
    }
}

impl<K, V, S> DuplicateBuilder<K, V, S> {
    /// How many shards, rounded up to a power of two and at most 256; four for each thread that can run at once if not said.
    /// More shards cost memory and save waiting; nothing else can be told from outside.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// How entries are spread over the shards; [`ShardBy::Key`] if not said.
    pub fn shard_by(mut self, shard_by: ShardBy) -> Self {
        self.shard_by = shard_by;
        self
    }

    /// Notes edges; see [`DuplicateRegistry::with_edges`].
    pub fn edges(mut self, notify: impl Fn() + Send + Sync + 'static) -> Self {
        self.notify = Some(Arc::new(notify));
        self
    }

    /// Hashes keys with `hasher`.
    pub fn hasher<T>(self, hasher: T) -> DuplicateBuilder<K, V, T> {
        DuplicateBuilder {
            shards: self.shards,
            shard_by: self.shard_by,
            hasher,
            notify: self.notify,
            of: PhantomData,
        }
    }
}

impl<K, V, S> DuplicateBuilder<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// The registry, empty.
    ///
    /// # Errors
    ///
    /// [`ZeroBound`] if it was to have no shard.
    pub fn build(self) -> Result<DuplicateRegistry<K, V, S>, ZeroBound> {
        let shards = at_least_one("the number of shards", self.shards)?;
        let edges = self.notify.map(Edges::new);
        let registry = DuplicateRegistry::build(shards, self.hasher, self.shard_by, edges);
        Ok(registry)
    }
}

impl<K, V, S> fmt::Debug for DuplicateBuilder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplicateBuilder")
            .field("shards", &self.shards)
            .field("shard_by", &self.shard_by)
            .finish_non_exhaustive()
    }
}
