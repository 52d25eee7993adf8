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
pub(crate) enum List<V> {
    /// None that any snapshot has seen, fewer than a leaf holds; perhaps none at all.
    Fresh(Vec<Entry<V>>),
    /// One that a snapshot may have seen.
    One(Arc<Entry<V>>),
    /// Apart, so that the lists of most keys are small.
    Many(Box<Many<V>>),
}

pub(crate) struct Many<V> {
    /// What a snapshot may have seen: at least one.
    seen: Node<V>,
    /// What came since: fewer than a leaf holds, and at least one if only one was seen.
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
}

impl<V> Default for List<V> {
    fn default() -> Self {
        Self::Fresh(Vec::new())
    }
}

impl<V> List<V> {
    /// A snapshot; `None` if it is empty.
    #[inline]
    pub(crate) fn share(&mut self) -> Option<SharedList<V>> {
        if let Self::One(entry) = self {
            return Some(SharedList::One(Arc::clone(entry)));
        }
        self.show();
        match self {
            Self::Fresh(_) => None,
            Self::One(entry) => Some(SharedList::One(Arc::clone(entry))),
            Self::Many(many) => Some(SharedList::Many(many.seen.clone())),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Fresh(fresh) if fresh.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fresh(fresh) => fresh.len(),
            Self::One(_) => 1,
            Self::Many(many) => many.seen.len() + many.fresh.len(),
        }
    }

    /// Whether the entry with that serial is here.
    #[inline]
    pub(crate) fn contains(&self, serial: u64) -> bool {
        match self {
            Self::Fresh(fresh) => find(fresh, serial).is_some(),
            Self::One(entry) => entry.serial == serial,
            Self::Many(many) => {
                find(&many.fresh, serial).is_some() || many.seen.get(serial).is_some()
            }
        }
    }

    /// Where one more can be put without any ado, as long as it has the highest serial.
    #[inline(always)]
    pub(crate) fn room(&mut self) -> Option<&mut Vec<Entry<V>>> {
        match self {
            Self::Fresh(fresh) if fresh.len() < fresh.capacity().min(WIDTH - 1) => Some(fresh),
            _ => None,
        }
    }

    /// Adds an entry whose serial is higher than all here.
    pub(crate) fn push(&mut self, entry: Entry<V>) {
        match self {
            Self::Fresh(fresh) if fresh.len() + 1 < WIDTH => {
                if fresh.len() == fresh.capacity() {
                    // Most keys have one entry, and no room for more; many others two.
                    fresh.reserve_exact(fresh.len().max(1));
                }
                fresh.push(entry);
            }
            _ => self.push_to_many(entry),
        }
    }

    fn push_to_many(&mut self, entry: Entry<V>) {
        match self {
            Self::Fresh(_) => {
                self.show();
                self.push(entry);
            }
            Self::One(first) => {
                *self = Self::many(vec![Arc::clone(first)], vec![entry]);
            }
            Self::Many(many) => {
                if many.fresh.len() + 1 == WIDTH {
                    many.show();
                }
                many.fresh.push(entry);
            }
        }
    }

    /// The same for one that others see at once.
    pub(crate) fn push_shared(&mut self, entry: Arc<Entry<V>>) {
        self.show();
        match self {
            Self::Fresh(_) => *self = Self::One(entry),
            Self::One(first) => *self = Self::many(vec![Arc::clone(first), entry], Vec::new()),
            Self::Many(many) => many.seen.push_at_root(entry),
        }
    }

    fn many(seen: Vec<Arc<Entry<V>>>, fresh: Vec<Entry<V>>) -> Self {
        let seen = Node::of(seen);
        Self::Many(Box::new(Many { seen, fresh }))
    }

    /// Makes what is fresh such that snapshots can have it.
    fn show(&mut self) {
        match self {
            Self::One(_) => {}
            Self::Many(many) => many.show(),
            Self::Fresh(fresh) => {
                let fresh = std::mem::take(fresh);
                let mut seen: Vec<_> = fresh.into_iter().map(Arc::new).collect();
                match seen.len() {
                    0 => {}
                    1 => *self = seen.pop().map_or_else(Self::default, Self::One),
                    _ => *self = Self::many(seen, Vec::new()),
                }
            }
        }
    }

    /// Takes the entry with that serial out.
    #[inline]
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Sharable<Entry<V>>> {
        match self {
            Self::Fresh(fresh) => match fresh.pop_if(|last| last.serial == serial) {
                Some(last) => Some(Sharable::own(last)),
                None => {
                    let index = find(fresh, serial)?;
                    Some(Sharable::own(fresh.remove(index)))
                }
            },
            Self::One(entry) if entry.serial != serial => None,
            Self::One(_) => match std::mem::take(self) {
                Self::One(entry) => Some(Sharable::Shared(entry)),
                _ => None,
            },
            Self::Many(many) => {
                let entry = many.remove(serial)?;
                self.settle();
                Some(entry)
            }
        }
    }

    /// After a removal from many: there may be few.
    fn settle(&mut self) {
        let Self::Many(many) = self else { return };
        if many.seen.len() == 0 {
            *self = Self::Fresh(std::mem::take(&mut many.fresh));
        } else if many.fresh.is_empty()
            && let Some(last) = many.seen.only()
        {
            *self = Self::One(last);
        }
    }
}

impl<V> Many<V> {
    fn show(&mut self) {
        for entry in std::mem::take(&mut self.fresh) {
            self.seen.push_at_root(Arc::new(entry));
        }
    }

    fn remove(&mut self, serial: u64) -> Option<Sharable<Entry<V>>> {
        if let Some(index) = find(&self.fresh, serial) {
            return Some(Sharable::own(self.fresh.remove(index)));
        }
        self.seen.get(serial)?;
        Some(Sharable::Shared(self.seen.remove_at_root(serial)))
    }
}

/// Where among the fresh ones an entry stands. The last is often the first to go.
#[inline]
fn find<V>(fresh: &[Entry<V>], serial: u64) -> Option<usize> {
    match fresh.last() {
        Some(last) if last.serial == serial => Some(fresh.len() - 1),
        _ => fresh.binary_search_by_key(&serial, |e| e.serial).ok(),
    }
}

#[cfg(test)]
mod tests;
