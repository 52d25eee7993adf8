//! What changed in one topic in one step.
//!
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use crate::entry::Entry;

/// The exact difference of one topic's list before and after one step.
///
/// Apply it by [`reference`](Entry::reference), not by key: an update has the old value in `leaves` and the new one in
/// `joins`, under one key. What joined and left within one step is in neither. Never empty on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// The topic.
    pub topic: Arc<str>,
    /// What is listed now and was not before, in the list's order.
    pub joins: Vec<Arc<Entry>>,
    /// What was listed before and is not now, in the list's order.
    pub leaves: Vec<Arc<Entry>>,
}
