//! The guard of one entry.

use std::fmt;
use std::sync::Arc;

use crate::owner::Life;
use crate::{OwnerId, Reason};

/// An entry somewhere, that can be taken out from here without knowing the types of its registry.
pub(crate) trait Removal: Send + Sync {
    /// Takes the entry out. The owner's slot for it, if it was still there.
    fn remove(&self, reason: Reason) -> Option<usize>;

    /// Its serial, if it stands in the registry at that address under a key of that hash. Runs under the owner's lock.
    fn serial(&self, registry: *const (), hash: u64) -> Option<u64>;
}

/// Keeps one entry registered: dropped, that entry goes, and no other.
///
/// The entry goes with its owner too, whichever comes first. Dropping costs O(log n) plus at most one chunk.
#[must_use = "dropping the registration removes the entry at once"]
pub struct Registration {
    record: Option<Arc<dyn Removal>>,
    life: Arc<Life>,
}

impl Registration {
    pub(crate) fn new(record: Arc<dyn Removal>, life: Arc<Life>) -> Self {
        let record = Some(record);
        Self { record, life }
    }

    /// Who owns the entry.
    pub fn owner(&self) -> OwnerId {
        self.life.id()
    }

    /// Leaves the entry to its owner: it stays until the owner dies or unregisters it.
    pub fn detach(mut self) {
        self.record = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // First the entry, then the owner's note of it: an owner that dies meanwhile must not miss the entry.
        if let Some(slot) = self
            .record
            .take()
            .and_then(|record| record.remove(Reason::Explicit))
        {
            self.life.forget(slot);
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
