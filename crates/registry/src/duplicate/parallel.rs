//! Dispatch by several threads at once, for one key with a great many entries.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use super::DuplicateRegistry;
use crate::Entries;

impl<K, V, S> DuplicateRegistry<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// The entries under `key` in parts that can be visited by different threads: one part for each shard that has some, so
    /// at most one unless entries are spread [by owner](crate::ShardBy::Owner). All entries of one owner are in one part.
    pub fn parts<Q>(&self, key: &Q) -> Vec<Entries<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let parts = self.parts_of(key);
        parts.into_iter().map(Entries::new).collect()
    }

    /// Calls `visit` with each of the [`parts`](Self::parts) under `key`, with as many threads as can run at once; how many
    /// parts there were. A single part is visited in this thread.
    ///
    /// It returns when all were visited. Threads are started anew, which pays for tens of thousands of entries; with a pool
    /// of your own, hand it the parts.
    ///
    /// # Panics
    ///
    /// If `visit` panics, when all other parts were visited.
    pub fn dispatch_parallel<Q>(&self, key: &Q, visit: impl Fn(&Entries<V>) + Sync) -> usize
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let parts = self.parts(key);
        match parts.as_slice() {
            [] => {}
            [only] => visit(only),
            many => visit_all(many, &visit),
        }
        parts.len()
    }
}

/// The threads take the parts in turn. A panic ends that part only, and is handed on at the end.
fn visit_all<V: Send + Sync>(parts: &[Entries<V>], visit: &(impl Fn(&Entries<V>) + Sync)) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut panic = None;
        while let Some(part) = parts.get(next.fetch_add(1, Relaxed)) {
            let outcome = catch_unwind(AssertUnwindSafe(|| visit(part)));
            panic = panic.or(outcome.err());
        }
        panic
    };
    let panic = thread::scope(|scope| {
        let threads: Vec<_> = (1..threads.min(parts.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let own = work();
        let others = threads
            .into_iter()
            .map(|thread| thread.join().ok().flatten());
        others.fold(own, Option::or)
    });
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}
