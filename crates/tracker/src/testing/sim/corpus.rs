//! Seeds that found something once. All of them are replayed by the tests, for ever.
//!
//! Pure: no clock, no I/O, no tasks.

use super::Plan;

/// Each seed with its plan.
pub const CORPUS: &[(u64, Plan)] = &[];
