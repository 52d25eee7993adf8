//! One registration as a reader sees it, and a snapshot of all those under one key.

use std::fmt;
use std::slice;
use std::sync::Arc;

use crate::OwnerId;
use crate::list::SharedList;
use crate::rings::Slot;
use crate::tree::{Children, Node};

/// One registration: who owns it, and its value.
#[derive(Clone)]
pub struct Entry<V> {
    pub(crate) owner: OwnerId,
    /// Grows with each registration of a shard; finds this entry again.
    pub(crate) serial: u64,
    /// Where its shard notes whose it is.
    pub(crate) slot: Slot,
    pub(crate) value: V,
}

impl<V> Entry<V> {
    /// The owner with whose death this entry goes.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The value given at registration, or by the last update.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// The value, by value.
    pub fn into_value(self) -> V {
        self.value
    }
}

impl<V: fmt::Debug> fmt::Debug for Entry<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("owner", &self.owner)
            .field("value", &self.value)
            .finish()
    }
}

/// All entries under one key, as they stood at one moment: never empty.
///
/// It shares the registry's own memory and holds no lock. Entries of one owner come in the order of their registration;
/// unless split [by owner](crate::ShardBy::Owner), so do those of different owners.
pub struct Entries<V> {
    list: SharedList<V>,
}

impl<V> Clone for Entries<V> {
    fn clone(&self) -> Self {
        Self {
            list: self.list.clone(),
        }
    }
}

impl<V> Entries<V> {
    pub(crate) fn new(list: SharedList<V>) -> Self {
        Self { list }
    }

    /// Each entry, oldest first.
    pub fn iter(&self) -> EntriesIter<'_, V> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Always false for entries that a registry handed out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, V> IntoIterator for &'a Entries<V> {
    type Item = &'a Entry<V>;
    type IntoIter = EntriesIter<'a, V>;

    fn into_iter(self) -> EntriesIter<'a, V> {
        self.iter()
    }
}

impl<V: fmt::Debug> fmt::Debug for Entries<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterates over [`Entries`], oldest first.
pub struct EntriesIter<'a, V> {
    /// What is left of one run of entries that lie together.
    run: slice::Iter<'a, Arc<Entry<V>>>,
    /// What is left of each branch on the way from the root to it.
    path: Vec<Children<'a, V>>,
}

impl<'a, V> EntriesIter<'a, V> {
    pub(crate) fn run(entries: &'a [Arc<Entry<V>>]) -> Self {
        Self {
            run: entries.iter(),
            path: Vec::new(),
        }
    }

    pub(crate) fn tree(children: Children<'a, V>) -> Self {
        Self {
            run: [].iter(),
            path: vec![children],
        }
    }

    fn next_run(&mut self) -> Option<()> {
        loop {
            match self.path.last_mut()?.next() {
                None => drop(self.path.pop()),
                Some(Node::Branch(branch)) => self.path.push(branch.children()),
                Some(Node::Leaf(entries)) => {
                    self.run = entries.iter();
                    return Some(());
                }
            }
        }
    }
}

impl<V> Clone for EntriesIter<'_, V> {
    fn clone(&self) -> Self {
        Self {
            run: self.run.clone(),
            path: self.path.clone(),
        }
    }
}

impl<'a, V> Iterator for EntriesIter<'a, V> {
    type Item = &'a Entry<V>;

    #[inline]
    fn next(&mut self) -> Option<&'a Entry<V>> {
        loop {
            if let Some(entry) = self.run.next() {
                return Some(entry);
            }
            self.next_run()?;
        }
    }
}

impl<V> fmt::Debug for EntriesIter<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntriesIter").finish_non_exhaustive()
    }
}
