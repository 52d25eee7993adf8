//! Who registers: the stand-in for a process, with whose end all that it registered is gone.

use std::fmt;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use slab::Slab;
use thiserror::Error;

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
/// Who shares an owner between several tasks, in an `Arc`, can [`end`](Self::end) it while others still have it: they are
/// told so when they register.
///
/// An owner that is leaked (`mem::forget`, a cycle of `Arc`s) leaves its entries behind.
pub struct Owner {
    life: Arc<Life>,
}

/// Nothing can be registered for an owner that is dead. Nothing changed: register with another owner, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("owner {owner} is dead, and can have nothing any more: register with another owner")]
pub struct OwnerDead {
    /// Who is dead.
    pub owner: OwnerId,
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

    /// Whether it can register: not after [`end`](Self::end).
    pub fn is_alive(&self) -> bool {
        self.life.is_alive()
    }

    /// Ends it as its drop does, while others may still have it: when this returns, its entries are gone from all
    /// registries and its death hooks have run. What others register for it from now on is refused.
    ///
    /// If it is dead already nothing happens. If another thread is ending it, that one does the work, and this returns at
    /// once.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use matryoshka_registry::{DuplicateRegistry, Owner, OwnerDead};
    ///
    /// let (rooms, anna) = (DuplicateRegistry::new(), Arc::new(Owner::new()));
    /// let in_another_task = Arc::clone(&anna);
    /// rooms.register(&in_another_task, "lobby", 1)?.detach();
    /// anna.end();
    /// assert_eq!(rooms.count(), 0);
    /// let refused = rooms.register(&in_another_task, "lobby", 2).unwrap_err();
    /// assert_eq!(refused.owner, anna.id());
    /// # Ok::<(), OwnerDead>(())
    /// ```
    pub fn end(&self) {
        // First of all: until an entry's turn comes, its name can be taken, and leads nobody here.
        if !self.life.alive.swap(false, Ordering::SeqCst) {
            return;
        }
        let places = std::mem::take(&mut lock(&self.life.state).places);
        for place in places {
            // A panic of user code costs nothing but itself: the entry was out before.
            while contained(|| place.bury(self.id())).unwrap_or(true) {}
        }
        // Only now: a hook may look and must find nothing.
        let hooks = lock(&self.life.state).hooks.take();
        for (_, hook) in hooks.into_iter().flatten() {
            contained(hook);
        }
    }

    /// Runs `hook` once when this owner dies, after its entries are gone, in the thread that drops or ends it; at once, in
    /// this thread, if that has happened.
    ///
    /// Hooks run in no promised order. A hook that panics stops neither the other hooks nor the owner's end.
    pub fn on_death(&self, hook: impl FnOnce() + Send + 'static) -> DeathHook {
        let mut state = lock(&self.life.state);
        let Some(hooks) = &mut state.hooks else {
            drop(state);
            contained(hook);
            return DeathHook {
                life: Weak::new(),
                slot: 0,
            };
        };
        if hooks.capacity() == 0 {
            // Most owners have one hook, and a slab begins with room for four.
            hooks.reserve_exact(1);
        }
        let slot = hooks.insert(Box::new(hook));
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
        self.end();
    }
}

/// Runs foreign code in an owner's end; `None` if it panicked, which the panic hook has reported.
fn contained<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// What registries and hooks know of an owner, while it lives and after.
pub(crate) struct Life {
    id: OwnerId,
    alive: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// The shards in which it has had entries. What stands there they know themselves.
    places: Vec<Arc<dyn Removal>>,
    /// `None` once they have run.
    hooks: Option<Slab<Box<dyn FnOnce() + Send>>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            hooks: Some(Slab::new()),
        }
    }
}

impl Life {
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// That it lives, which may be over in the next moment.
    pub(crate) fn check(&self) -> Result<(), OwnerDead> {
        match self.is_alive() {
            true => Ok(()),
            false => Err(OwnerDead { owner: self.id }),
        }
    }

    /// Notes a shard, which is locked, so that what it has there goes with the owner. What is returned is to be dropped
    /// after the lock: shards of registries that went.
    ///
    /// # Errors
    ///
    /// It is dead: what it has there is the caller's to bury. Either this comes before the end takes the shards, and the
    /// end has this one too, or it comes later, and finds that it is the end.
    fn note(&self, place: Arc<dyn Removal>) -> Result<Vec<Arc<dyn Removal>>, OwnerDead> {
        let mut state = lock(&self.state);
        self.check()?;
        let places = &mut state.places;
        let mut gone = Vec::new();
        if places.len() == places.capacity() {
            // Of registries that went there is nothing but what is kept here. Before more is kept, they go.
            gone.extend(places.extract_if(.., |place| Arc::strong_count(place) == 1));
        }
        places.push(place);
        Ok(gone)
    }

    /// Notes a new entry in a shard, which is locked: the shard, if it `is_first` of this owner there. As [`note`](Self::note).
    ///
    /// Under the same lock, before the next one can come, who is not the first: what that one adds, the end has to find as
    /// well.
    #[inline]
    pub(crate) fn note_entry(
        &self,
        is_first: bool,
        place: impl FnOnce() -> Arc<dyn Removal>,
    ) -> Result<Vec<Arc<dyn Removal>>, OwnerDead> {
        match is_first {
            true => self.note(place()),
            false => self.check().map(|()| Vec::new()),
        }
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
            .and_then(|life| lock(&life.state).hooks.as_mut()?.try_remove(self.slot));
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
