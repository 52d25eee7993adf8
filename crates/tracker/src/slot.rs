//! How what is tracked is named by those who change it: by its place, or by the `track` that made it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use crate::entry::Entry;

/// Where an entry is tracked: by whom, in which topic, under which key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) owner: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) key: Arc<str>,
}

impl Slot {
    pub(crate) fn of(entry: &Arc<Entry>) -> Self {
        Self {
            owner: entry.owner,
            topic: Arc::clone(&entry.topic),
            key: Arc::clone(&entry.key),
        }
    }
}

/// Names what one `track` made, through all its updates, by the first value: an entry tracked anew in the same slot has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(Arc<Entry>);

impl Ticket {
    /// Of that first value.
    pub(crate) fn of(first: &Arc<Entry>) -> Self {
        Self(Arc::clone(first))
    }

    /// The first value.
    pub(crate) fn first(&self) -> &Arc<Entry> {
        &self.0
    }

    /// Whether an entry of this node came by that `track` or by an update of what it made: these have one key in memory, which the
    /// ticket keeps from being another's.
    pub(crate) fn made(&self, entry: &Entry) -> bool {
        Arc::ptr_eq(&self.0.key, &entry.key)
    }

    /// The number of the first value.
    pub(crate) fn number(&self) -> u64 {
        self.0.reference.put_seq()
    }
}

/// What is to be changed.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Whatever is tracked there.
    Slot(Slot),
    /// What that `track` made, and nothing that is tracked in its slot later.
    Ticket(Ticket),
}

impl Target {
    pub(crate) fn topic(&self) -> &str {
        match self {
            Self::Slot(slot) => &slot.topic,
            Self::Ticket(ticket) => &ticket.first().topic,
        }
    }
}
