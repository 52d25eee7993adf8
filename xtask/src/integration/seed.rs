//! Where a run's choices come from when nobody names a seed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A seed that no other run has.
pub(crate) fn fresh() -> u64 {
    // Small enough to be typed in again.
    RandomState::new().build_hasher().finish() % 1_000_000
}
