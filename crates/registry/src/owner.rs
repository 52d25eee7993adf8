//! Who registers: the stand-in for a process, with whose end all that it registered is gone.

use std::fmt;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use slab::Slab;

use crate::registration::Removal;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// Ids are the one thing that all registries of a process share.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The identity of an [`Owner`]: never reused within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(NonZeroU64);

impl OwnerId {
    pub(crate) fn next() -> Self {
        let id = NEXT_ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self(NonZeroU64::new(id).expect("no process makes 2^64 owners"))
    }

    /// The bare number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whoever registers. Its drop is its death.
///
/// Give one to each task or connection: when the task ends, by return, panic or abort, its owner is dropped with it.
/// Before that drop returns, every entry of this owner is gone from every registry; then the death hooks run.
/// Registering takes a `&Owner`, so nothing can be registered for an owner that is dead.
///
/// An owner that is leaked (`mem::forget`, a cycle of `Arc`s) leaves its entries behind.
pub struct Owner {
    life: Arc<Life>,
}

impl Owner {
    /// A new owner with an id of its own.
    pub fn new() -> Self {
        let life = Life {
            id: OwnerId::next(),
            alive: AtomicBool::new(true),
            state: Mutex::new(State::default()),
        };
        Self {
            life: Arc::new(life),
        }
    }

    /// Its identity.
    pub fn id(&self) -> OwnerId {
        self.life.id
    }

    /// Runs `hook` once when this owner dies, after its entries are gone, in the thread that drops it.
    ///
    /// Hooks run in no promised order. A hook that panics stops neither the other hooks nor the drop.
    pub fn on_death(&self, hook: impl FnOnce() + Send + 'static) -> DeathHook {
        let mut state = lock(&self.life.state);
        if state.hooks.capacity() == 0 {
            // Most owners have one hook, and a slab begins with room for four.
            state.hooks.reserve_exact(1);
        }
        let slot = state.hooks.insert(Box::new(hook));
        drop(state);
        DeathHook {
            life: Arc::downgrade(&self.life),
            slot,
        }
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(&self.life.id).finish()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // First of all: until an entry's turn comes, its name can be taken, and leads nobody here.
        self.life.alive.store(false, Ordering::SeqCst);
        let places = std::mem::take(&mut lock(&self.life.state).places);
        for place in places {
            // A panic of user code costs nothing but itself: the entry was out before.
            while contained(|| place.bury(self.id())).unwrap_or(true) {}
        }
        // Only now: a hook may look and must find nothing.
        let hooks = std::mem::take(&mut lock(&self.life.state).hooks);
        for (_, hook) in hooks {
            contained(hook);
        }
    }
}

/// Runs foreign code in a drop; `None` if it panicked, which the panic hook has reported.
fn contained<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// What registries and hooks know of an owner, while it lives and after.
pub(crate) struct Life {
    id: OwnerId,
    alive: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The shards in which it has had entries. What stands there they know themselves.
    places: Vec<Arc<dyn Removal>>,
    hooks: Slab<Box<dyn FnOnce() + Send>>,
}

impl Life {
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Notes a shard, so that what it has there goes with the owner.
    ///
    /// Called by who registers and under no lock: as long as the owner is borrowed for that, it cannot die.
    pub(crate) fn note(&self, place: Arc<dyn Removal>) {
        let mut state = lock(&self.state);
        let places = &mut state.places;
        let mut gone = Vec::new();
        if places.len() == places.capacity() {
            // Of registries that went there is nothing but what is kept here. Before more is kept, they go.
            gone.extend(places.extract_if(.., |place| Arc::strong_count(place) == 1));
        }
        places.push(place);
        drop(state);
        drop(gone);
    }

    /// How many shards it keeps.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        lock(&self.state).places.len()
    }

    /// How many entries it has, in all registries.
    #[cfg(test)]
    pub(crate) fn noted(&self) -> usize {
        let places = lock(&self.state).places.clone();
        places.iter().map(|place| place.noted(self.id)).sum()
    }
}

/// Keeps a death hook in place: dropped, the hook is cancelled.
#[must_use = "dropping it cancels the hook; use `detach` to leave it to the owner"]
pub struct DeathHook {
    life: Weak<Life>,
    slot: usize,
}

impl DeathHook {
    /// Leaves the hook to the owner: it will run at the owner's death.
    pub fn detach(mut self) {
        self.life = Weak::new();
    }
}

impl Drop for DeathHook {
    fn drop(&mut self) {
        let hook = self
            .life
            .upgrade()
            .and_then(|life| lock(&life.state).hooks.try_remove(self.slot));
        drop(hook);
    }
}

impl fmt::Debug for DeathHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeathHook").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
