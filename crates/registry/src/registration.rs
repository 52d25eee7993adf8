//! The guard of one entry.

use std::fmt;
use std::sync::Arc;

use crate::OwnerId;
use crate::owned::Note;

/// A shard of some registry, from which entries can be taken out without knowing its types.
pub(crate) trait Removal: Send + Sync {
    /// Takes that entry out, if it is there.
    fn unregister(&self, note: Note);

    /// Takes out the oldest entry of an owner that is dead; whether there was one.
    fn bury(&self, dead: OwnerId) -> bool;

    #[cfg(test)]
    fn noted(&self, owner: OwnerId) -> usize;
}

/// Keeps one entry registered: dropped, that entry goes, and no other.
///
/// The entry goes with its owner too, whichever comes first. Dropping costs O(log n) of the entries under its key.
#[must_use = "dropping the registration removes the entry at once"]
pub struct Registration {
    shard: Option<Arc<dyn Removal>>,
    note: Note,
    owner: OwnerId,
}

impl Registration {
    pub(crate) fn new(shard: Arc<dyn Removal>, note: Note, owner: OwnerId) -> Self {
        let shard = Some(shard);
        Self { shard, note, owner }
    }

    /// Who owns the entry.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// Leaves the entry to its owner: it stays until the owner dies or unregisters it.
    pub fn detach(mut self) {
        self.shard = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(shard) = self.shard.take() {
            shard.unregister(self.note);
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}
