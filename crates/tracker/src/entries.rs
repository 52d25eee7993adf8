//! The entries of one topic as an immutable list that is cheap to copy and cheap to copy with one change.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::Ordering;
use std::hint::black_box;
use std::sync::Arc;
use std::{fmt, mem, slice};

use matryoshka_pubsub::NodeName;

use crate::entry::Entry;
use crate::reference::PresenceRef;
use chunks::Chunks;

/// All entries of one topic at one moment, sorted by key, then by reference. A clone is two words.
#[derive(Clone)]
pub struct Entries(List);

#[derive(Clone)]
enum List {
    /// With nothing around it: where everybody has a topic of their own, that would be more than the entry.
    One(Arc<Entry>),
    /// None, or several.
    Chunked(Chunks),
}

impl Entries {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            List::One(_) => 1,
            List::Chunked(chunks) => chunks.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        self.pieces_from(0).flatten()
    }

    /// All entries in order, in the pieces that they are kept in; none of them is empty. A list and what became of it share the pieces
    /// in which nothing changed: the same place in memory, which is how to find what changed without a look at each entry. A list of one
    /// entry is a piece that it shares with none.
    ///
    /// ```
    /// # use matryoshka_tracker::Entries;
    /// # let before = Entries::default();
    /// let now = before.clone();
    /// assert!(now.pieces().zip(before.pieces()).all(|(a, b)| std::ptr::eq(a, b)));
    /// ```
    pub fn pieces(&self) -> impl Iterator<Item = &[Arc<Entry>]> {
        self.pieces_from(0)
    }

    /// The pieces from one on.
    fn pieces_from(&self, first: usize) -> impl Iterator<Item = &[Arc<Entry>]> + Clone {
        let (one, chunks) = match &self.0 {
            List::One(entry) => (Some(slice::from_ref(entry)), None),
            List::Chunked(chunks) => (None, Some(chunks.all()[first..].iter())),
        };
        let chunks = chunks.into_iter().flatten();
        one.into_iter().chain(chunks.map(|chunk| chunk.as_slice()))
    }

    /// The first so many entries. Its [pieces](Self::pieces) are those of this list but for the last, if the cut goes through it.
    pub fn first(&self, most: usize) -> Self {
        match &self.0 {
            _ if most >= self.len() => self.clone(),
            List::One(_) => Self::default(),
            List::Chunked(chunks) => {
                let first = chunks.first(most);
                let one = first.only().cloned().map(List::One);
                Self(one.unwrap_or(List::Chunked(first)))
            }
        }
    }

    /// All entries in order, in pieces of which each is about to be read: its entries and their values are on their way
    /// into the processor's caches. A list that nobody read for a while is in none of them, and who goes from entry to
    /// value and on to the next entry waits for each; what is read ahead is fetched many at a time.
    pub(crate) fn read_ahead(&self) -> impl Iterator<Item = &[Arc<Entry>]> {
        self.pieces_from(0).inspect(|piece| {
            let heads = piece
                .iter()
                .map(|entry| Arc::strong_count(entry) + entry.meta.len());
            black_box(heads.fold(0, usize::wrapping_add));
            let ends = |entry: &Arc<Entry>| Some(entry.meta.first()? ^ entry.meta.last()?);
            black_box(piece.iter().filter_map(ends).fold(0, |sum, end| sum ^ end));
        })
    }

    /// The entries with that key, oldest first as far as one node wrote them.
    pub fn by_key<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> + Clone {
        let first = match &self.0 {
            List::One(_) => 0,
            List::Chunked(chunks) => chunks.first_where(|last| last.key.as_ref() < key),
        };
        self.pieces_from(first)
            .flat_map(move |piece| piece[piece.partition_point(|e| e.key.as_ref() < key)..].iter())
            .take_while(move |entry| entry.key.as_ref() == key)
    }

    /// Whether an entry of some node has that key and reference. Of how many have the key does not matter.
    pub(crate) fn has(&self, key: &str, reference: PresenceRef) -> bool {
        let sought = (key, reference);
        let order = |entry: &Entry| (&*entry.key, entry.reference).cmp(&sought);
        match &self.0 {
            List::One(entry) => order(entry).is_eq(),
            List::Chunked(chunks) => {
                let at = chunks.first_where(|last| order(last).is_lt());
                let chunk = chunks.all().get(at);
                chunk.is_some_and(|chunk| chunk.binary_search_by(|entry| order(entry)).is_ok())
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn get(&self, place: &Place<'_>) -> Option<&Arc<Entry>> {
        self.iter().find(|entry| Place::of(entry) == *place)
    }

    /// Adds an entry, or puts it in place of the one with its identity, which is given back.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        match &mut self.0 {
            List::One(there) if Place::of(there) == Place::of(&entry) => {
                return Some(mem::replace(there, entry));
            }
            List::One(there) => {
                let both = Chunks::of([Arc::clone(there), entry]);
                self.0 = List::Chunked(both);
            }
            List::Chunked(chunks) if chunks.len() == 0 => self.0 = List::One(entry),
            List::Chunked(chunks) => return chunks.insert(entry),
        }
        None
    }

    /// Takes the entry of that identity out, and gives it back if it was there.
    pub(crate) fn remove(&mut self, entry: &Entry) -> Option<Arc<Entry>> {
        match &mut self.0 {
            List::One(there) if Place::of(there) == Place::of(entry) => match mem::take(self).0 {
                List::One(removed) => Some(removed),
                List::Chunked(_) => None,
            },
            List::One(_) => None,
            List::Chunked(chunks) => {
                let removed = chunks.remove(entry)?;
                if let Some(last) = chunks.only() {
                    self.0 = List::One(Arc::clone(last));
                }
                Some(removed)
            }
        }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self(List::Chunked(Chunks::default()))
    }
}

/// Puts them in order; of several with one key and reference on one node the last stays.
impl FromIterator<Arc<Entry>> for Entries {
    fn from_iter<I: IntoIterator<Item = Arc<Entry>>>(entries: I) -> Self {
        let mut all = Self::default();
        all.extend(entries);
        all
    }
}

/// Puts them into their places; of several with one key and reference on one node the last stays. [Pieces](Entries::pieces) in which
/// nothing is put stay shared with clones.
impl Extend<Arc<Entry>> for Entries {
    fn extend<I: IntoIterator<Item = Arc<Entry>>>(&mut self, entries: I) {
        for entry in entries {
            self.insert(entry);
        }
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Arc<Entry>;
    type IntoIter = Box<dyn Iterator<Item = &'a Arc<Entry>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Where an entry stands in its topic, and what makes it the same entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    key: &'a str,
    reference: PresenceRef,
    node: &'a NodeName,
}

impl<'a> Place<'a> {
    pub(crate) fn of(entry: &'a Entry) -> Self {
        Self {
            key: &entry.key,
            reference: entry.reference,
            node: &entry.node,
        }
    }
}

impl Ord for Place<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key
            .cmp(other.key)
            .then_with(|| self.reference.cmp(&other.reference))
            .then_with(|| self.node.cmp(other.node))
    }
}

impl PartialOrd for Place<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

mod chunks;

#[cfg(test)]
mod tests;
