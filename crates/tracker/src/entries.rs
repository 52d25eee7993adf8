//! The entries of one topic as an immutable list that is cheap to copy and cheap to copy with one change.
//!
//! A sorted list cut into chunks. A change copies one chunk and the list of chunks, whatever the list's length, and
//! only if somebody still holds the list as it was before.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::Ordering;
use std::fmt;
use std::hint::black_box;
use std::mem;
use std::sync::Arc;

use matryoshka_pubsub::NodeName;

use crate::entry::Entry;
use crate::reference::PresenceRef;

/// All entries of one topic at one moment, sorted by key, then by reference. A clone is two words.
#[derive(Clone, Default)]
pub struct Entries {
    chunks: Arc<Vec<Chunk>>,
    len: usize,
}

impl Entries {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// All entries in order, in the pieces that they are kept in; none of them is empty. A list and what became of it share the pieces
    /// in which nothing changed: the same place in memory, which is how to find what changed without a look at each entry.
    ///
    /// ```
    /// # use matryoshka_tracker::Entries;
    /// # let before = Entries::default();
    /// let now = before.clone();
    /// assert!(now.pieces().zip(before.pieces()).all(|(a, b)| std::ptr::eq(a, b)));
    /// ```
    pub fn pieces(&self) -> impl Iterator<Item = &[Arc<Entry>]> {
        self.chunks.iter().map(|chunk| chunk.as_slice())
    }

    /// The first so many entries. Its [pieces](Self::pieces) are those of this list but for the last, if the cut goes through it.
    pub fn first(&self, most: usize) -> Self {
        if most >= self.len {
            return self.clone();
        }
        let (mut chunks, mut room) = (Vec::new(), most);
        for chunk in self.chunks.iter() {
            if room == 0 {
                break;
            }
            chunks.push(match chunk.get(..room) {
                Some(first) if room < chunk.len() => Arc::new(first.to_vec()),
                _ => Arc::clone(chunk),
            });
            room = room.saturating_sub(chunk.len());
        }
        Self {
            chunks: Arc::new(chunks),
            len: most,
        }
    }

    /// All entries in order, in pieces of which each is about to be read: its entries and their values are on their way
    /// into the processor's caches. A list that nobody read for a while is in none of them, and who goes from entry to
    /// value and on to the next entry waits for each; what is read ahead is fetched many at a time.
    pub(crate) fn read_ahead(&self) -> impl Iterator<Item = &[Arc<Entry>]> {
        self.chunks.iter().map(|chunk| {
            let heads = chunk
                .iter()
                .map(|entry| Arc::strong_count(entry) + entry.meta.len());
            black_box(heads.fold(0, usize::wrapping_add));
            let ends = |entry: &Arc<Entry>| Some(entry.meta.first()? ^ entry.meta.last()?);
            black_box(chunk.iter().filter_map(ends).fold(0, |sum, end| sum ^ end));
            chunk.as_slice()
        })
    }

    /// The entries with that key, oldest first as far as one node wrote them.
    pub fn by_key<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> + Clone {
        let first = self.chunk_where(|last| last.key.as_ref() < key);
        self.chunks[first..]
            .iter()
            .flat_map(move |chunk| chunk[chunk.partition_point(|e| e.key.as_ref() < key)..].iter())
            .take_while(move |entry| entry.key.as_ref() == key)
    }

    #[cfg(test)]
    pub(crate) fn get(&self, place: &Place<'_>) -> Option<&Arc<Entry>> {
        let (chunk, index) = self.find(place).ok()?;
        Some(&self.chunks[chunk][index])
    }

    /// Adds an entry, or puts it in place of the one with its identity, which is given back.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let found = self.find(&Place::of(&entry));
        let chunks = Arc::make_mut(&mut self.chunks);
        let (at, index) = match found {
            Ok((at, index)) => {
                return Some(mem::replace(&mut writable(&mut chunks[at])[index], entry));
            }
            Err(place) => place,
        };
        if chunks.is_empty() {
            chunks.push(Chunk::default());
        }
        let is_last = at + 1 == chunks.len();
        let chunk = writable(&mut chunks[at]);
        if chunk.len() == chunk.capacity() {
            chunk.reserve_exact(CHUNK_ROOM);
        }
        chunk.insert(index, entry);
        self.len += 1;
        if chunk.len() > CHUNK_ENTRIES {
            let keep = if is_last {
                CHUNK_ENTRIES
            } else {
                CHUNK_ENTRIES / 2
            };
            let rest = chunk.split_off(keep);
            chunk.shrink_to_fit();
            chunks.insert(at + 1, Arc::new(rest));
        }
        None
    }

    /// Takes the entry of that identity out, and gives it back if it was there.
    pub(crate) fn remove(&mut self, entry: &Entry) -> Option<Arc<Entry>> {
        let (at, index) = self.find(&Place::of(entry)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let removed = writable(&mut chunks[at]).remove(index);
        self.len -= 1;
        self.mend(at);
        Some(removed)
    }

    /// The chunk and the index in it where an identity is, or would be.
    fn find(&self, place: &Place<'_>) -> Result<(usize, usize), (usize, usize)> {
        let at = self.chunk_where(|last| Place::of(last) < *place);
        let Some(chunk) = self.chunks.get(at) else {
            // After everything: into the last chunk, so that lists which grow in order have full chunks.
            let last = self.chunks.len().saturating_sub(1);
            return Err((last, self.chunks.last().map_or(0, |chunk| chunk.len())));
        };
        let found = chunk.binary_search_by(|entry| Place::of(entry).cmp(place));
        found.map(|index| (at, index)).map_err(|index| (at, index))
    }

    /// Keeps chunks from staying nearly empty after removals.
    fn mend(&mut self, at: usize) {
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks[at].is_empty() {
            chunks.remove(at);
            return;
        }
        // With the next, or with the one before: removals in ascending order have not come to the next yet.
        for first in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            if let [left, right, ..] = &chunks[first..]
                && left.len() + right.len() <= CHUNK_ENTRIES / 2
            {
                let right = chunks.remove(first + 1);
                return writable(&mut chunks[first]).extend(right.iter().cloned());
            }
        }
    }

    /// The first chunk whose last entry is not before what is sought.
    fn chunk_where(&self, before: impl Fn(&Entry) -> bool) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.last().is_some_and(|last| before(last)))
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

type Chunk = Arc<Vec<Arc<Entry>>>;

/// The chunk, copied if somebody else has it too: with room for a few more, and not for twice as many.
fn writable(chunk: &mut Chunk) -> &mut Vec<Arc<Entry>> {
    if Arc::get_mut(chunk).is_none() {
        let mut copy = Vec::with_capacity(chunk.len() + CHUNK_ROOM);
        copy.extend(chunk.iter().cloned());
        *chunk = Arc::new(copy);
    }
    Arc::make_mut(chunk)
}

/// Entries of one chunk: a change copies so many pointers, and one for each chunk of the list.
const CHUNK_ENTRIES: usize = 128;

/// For how many more entries a chunk gets room.
const CHUNK_ROOM: usize = 16;

#[cfg(test)]
mod tests;
