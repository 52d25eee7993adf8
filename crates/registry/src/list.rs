//! The entries of one key: a snapshot is a pointer, and a change copies O(log n) pointers, and only while a snapshot is out.
//!
//! Entries stand in the order of their serials, and new ones go to the end. Each is behind a pointer of its own, so a copy
//! clones no value, and what it replaces never has the last pointer to an entry: only who takes an entry out can drop one.
//! Pure: no clock, no I/O, no tasks.

use std::slice;
use std::sync::Arc;

use crate::Entry;
use crate::tree::{Children, Node};

/// The entries as they are changed.
pub(crate) enum List<V> {
    Empty,
    /// What nearly every key has.
    One(Arc<Entry<V>>),
    /// At least two.
    Many(Node<V>),
}

/// The entries as they stood at one moment.
pub(crate) enum SharedList<V> {
    One(Arc<Entry<V>>),
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

    /// The entries in runs that lie together in memory.
    pub(crate) fn runs(&self) -> Runs<'_, V> {
        match self {
            Self::One(entry) => Runs {
                first: Some(slice::from_ref(entry)),
                path: Vec::new(),
            },
            Self::Many(Node::Leaf(entries)) => Runs {
                first: Some(entries),
                path: Vec::new(),
            },
            Self::Many(Node::Branch(branch)) => Runs {
                first: None,
                path: vec![branch.children()],
            },
        }
    }
}

/// Iterates over the runs of a list, in order.
pub(crate) struct Runs<'a, V> {
    first: Option<&'a [Arc<Entry<V>>]>,
    /// What is left of each branch on the way from the root.
    path: Vec<Children<'a, V>>,
}

impl<V> Clone for Runs<'_, V> {
    fn clone(&self) -> Self {
        Self {
            first: self.first,
            path: self.path.clone(),
        }
    }
}

impl<'a, V> Iterator for Runs<'a, V> {
    type Item = &'a [Arc<Entry<V>>];

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            match self.path.last_mut()?.next() {
                None => drop(self.path.pop()),
                Some(Node::Leaf(entries)) => return Some(entries),
                Some(Node::Branch(branch)) => self.path.push(branch.children()),
            }
        }
    }
}

impl<V> List<V> {
    /// A snapshot; `None` if it is empty.
    pub(crate) fn share(&self) -> Option<SharedList<V>> {
        match self {
            Self::Empty => None,
            Self::One(entry) => Some(SharedList::One(Arc::clone(entry))),
            Self::Many(root) => Some(SharedList::Many(root.clone())),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(_) => 1,
            Self::Many(root) => root.len(),
        }
    }

    /// Whether the entry with that serial is here.
    pub(crate) fn contains(&self, serial: u64) -> bool {
        match self {
            Self::Empty => false,
            Self::One(entry) => entry.serial == serial,
            Self::Many(root) => root.get(serial).is_some(),
        }
    }

    /// Adds an entry whose serial is higher than all here.
    pub(crate) fn push(&mut self, entry: Arc<Entry<V>>) {
        match self {
            Self::Empty => *self = Self::One(entry),
            Self::One(first) => *self = Self::Many(Node::of(vec![Arc::clone(first), entry])),
            Self::Many(root) => root.push_at_root(entry),
        }
    }

    /// Takes the entry with that serial out.
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Arc<Entry<V>>> {
        if !self.contains(serial) {
            return None;
        }
        match std::mem::replace(self, Self::Empty) {
            Self::Empty => None,
            Self::One(entry) => Some(entry),
            Self::Many(mut root) => {
                let entry = root.remove_at_root(serial);
                *self = match root.only() {
                    Some(last) => Self::One(last),
                    None => Self::Many(root),
                };
                Some(entry)
            }
        }
    }
}

#[cfg(test)]
mod tests;
