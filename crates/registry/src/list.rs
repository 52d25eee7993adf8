//! The entries of one key: a snapshot is a pointer, and a change copies O(log n) pointers, and only while a snapshot is out.
//!
//! Entries stand in the order of their serials, and new ones go to the end. What a snapshot has seen is behind a pointer of
//! its own, so a copy clones no value, and what it replaces never has the last pointer to an entry: only who takes an
//! entry out can drop one. What no snapshot has seen yet costs no allocation.
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use crate::sharable::Sharable;
use crate::tree::{Node, WIDTH};
use crate::{EntriesIter, Entry};

/// The entries as they are changed.
pub(crate) struct List<V> {
    /// What a snapshot may have seen.
    seen: Option<SharedList<V>>,
    /// What came since: fewer than a leaf holds.
    fresh: Vec<Entry<V>>,
}

/// The entries as they stood at one moment.
pub(crate) enum SharedList<V> {
    /// What nearly every key has.
    One(Arc<Entry<V>>),
    /// At least two.
    Many(Node<V>),
}

impl<V> Clone for SharedList<V> {
    fn clone(&self) -> Self {
        match self {
            Self::One(entry) => Self::One(Arc::clone(entry)),
            Self::Many(root) => Self::Many(root.clone()),
        }
    }
}

impl<V> SharedList<V> {
    /// All entries of several lists, one list after another. `None` of none.
    pub(crate) fn chain(mut lists: Vec<Self>) -> Option<Self> {
        if lists.len() < 2 {
            return lists.pop();
        }
        let roots = lists.into_iter().map(Self::into_root);
        Some(Self::Many(Node::beside(roots)))
    }

    fn into_root(self) -> Node<V> {
        match self {
            Self::One(entry) => Node::of(vec![entry]),
            Self::Many(root) => root,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(root) => root.len(),
        }
    }

    /// The entry with that serial. Not for lists that were chained.
    pub(crate) fn get(&self, serial: u64) -> Option<&Arc<Entry<V>>> {
        match self {
            Self::One(entry) => (entry.serial == serial).then_some(entry),
            Self::Many(root) => root.get(serial),
        }
    }

    pub(crate) fn iter(&self) -> EntriesIter<'_, V> {
        match self {
            Self::One(entry) => EntriesIter::run(std::slice::from_ref(entry)),
            Self::Many(Node::Leaf(entries)) => EntriesIter::run(entries),
            Self::Many(Node::Branch(branch)) => EntriesIter::tree(branch.children()),
        }
    }

    /// Adds an entry whose serial is higher than all here.
    fn push(&mut self, entry: Arc<Entry<V>>) {
        match self {
            Self::One(first) => *self = Self::Many(Node::of(vec![Arc::clone(first), entry])),
            Self::Many(root) => root.push_at_root(entry),
        }
    }
}

impl<V> Default for List<V> {
    fn default() -> Self {
        Self {
            seen: None,
            fresh: Vec::new(),
        }
    }
}

impl<V> List<V> {
    /// A snapshot; `None` if it is empty.
    #[inline]
    pub(crate) fn share(&mut self) -> Option<SharedList<V>> {
        if !self.fresh.is_empty() {
            self.show();
        }
        self.seen.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_none() && self.fresh.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.as_ref().map_or(0, SharedList::len) + self.fresh.len()
    }

    /// Whether the entry with that serial is here.
    #[inline]
    pub(crate) fn contains(&self, serial: u64) -> bool {
        match self.fresh.first() {
            Some(first) if first.serial <= serial => self.fresh_index(serial).is_some(),
            _ => self
                .seen
                .as_ref()
                .is_some_and(|seen| seen.get(serial).is_some()),
        }
    }

    /// Where among the fresh ones it stands. The last is often the first to go.
    #[inline]
    fn fresh_index(&self, serial: u64) -> Option<usize> {
        match self.fresh.last() {
            Some(last) if last.serial == serial => Some(self.fresh.len() - 1),
            _ => self.fresh.binary_search_by_key(&serial, |e| e.serial).ok(),
        }
    }

    /// Adds an entry whose serial is higher than all here.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry<V>) {
        if self.fresh.len() + 1 == WIDTH {
            self.show();
        }
        self.fresh.push(entry);
    }

    /// The same for one that others see at once.
    pub(crate) fn push_shared(&mut self, entry: Arc<Entry<V>>) {
        self.show();
        self.push_seen(entry);
    }

    /// Makes what is fresh such that snapshots can have it.
    fn show(&mut self) {
        for entry in std::mem::take(&mut self.fresh) {
            self.push_seen(Arc::new(entry));
        }
    }

    fn push_seen(&mut self, entry: Arc<Entry<V>>) {
        match &mut self.seen {
            None => self.seen = Some(SharedList::One(entry)),
            Some(seen) => seen.push(entry),
        }
    }

    /// Takes the entry with that serial out.
    #[inline]
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Sharable<Entry<V>>> {
        if let Some(index) = self.fresh_index(serial) {
            return Some(Sharable::own(self.fresh.remove(index)));
        }
        self.remove_seen(serial).map(Sharable::Shared)
    }

    fn remove_seen(&mut self, serial: u64) -> Option<Arc<Entry<V>>> {
        self.seen.as_ref()?.get(serial)?;
        match self.seen.take()? {
            SharedList::One(entry) => Some(entry),
            SharedList::Many(mut root) => {
                let entry = root.remove_at_root(serial);
                self.seen = Some(match root.only() {
                    Some(last) => SharedList::One(last),
                    None => SharedList::Many(root),
                });
                Some(entry)
            }
        }
    }
}

#[cfg(test)]
mod tests;
