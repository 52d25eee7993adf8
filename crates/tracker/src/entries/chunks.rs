//! Two entries or more as a sorted list that is cut into chunks. A change copies one chunk and the list of chunks, whatever the list's
//! length, and only if somebody still holds the list as it was before.
//!
//! Pure: no clock, no I/O, no tasks.

use std::mem;
use std::sync::Arc;

use super::Place;
use crate::entry::Entry;

#[derive(Clone, Default)]
pub(super) struct Chunks {
    chunks: Arc<Vec<Chunk>>,
    len: usize,
}

impl Chunks {
    pub(super) fn of(entries: [Arc<Entry>; 2]) -> Self {
        let mut all = Self::default();
        for entry in entries {
            all.insert(entry);
        }
        all
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// None of them is empty.
    pub(super) fn all(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The entry, if there is just one.
    pub(super) fn only(&self) -> Option<&Arc<Entry>> {
        (self.len == 1).then(|| self.chunks.first()?.first())?
    }

    /// The first so many entries, fewer than there are.
    pub(super) fn first(&self, most: usize) -> Self {
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

    /// Adds an entry, or puts it in place of the one with its identity, which is given back.
    pub(super) fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let found = self.find(&Place::of(&entry));
        let chunks = Arc::make_mut(&mut self.chunks);
        let (at, index) = match found {
            Ok((at, index)) => {
                return Some(mem::replace(&mut writable(&mut chunks[at])[index], entry));
            }
            Err(place) => place,
        };
        if chunks.is_empty() {
            chunks.reserve_exact(1);
            chunks.push(Chunk::default());
        }
        let is_last = at + 1 == chunks.len();
        let chunk = writable(&mut chunks[at]);
        if chunk.len() == chunk.capacity() {
            chunk.reserve_exact(room(chunk.len()));
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
    pub(super) fn remove(&mut self, entry: &Entry) -> Option<Arc<Entry>> {
        let (at, index) = self.find(&Place::of(entry)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let removed = writable(&mut chunks[at]).remove(index);
        self.len -= 1;
        self.mend(at);
        Some(removed)
    }

    /// The chunk and the index in it where an identity is, or would be.
    fn find(&self, place: &Place<'_>) -> Result<(usize, usize), (usize, usize)> {
        let at = self.first_where(|last| Place::of(last) < *place);
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
    pub(super) fn first_where(&self, before: impl Fn(&Entry) -> bool) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.last().is_some_and(|last| before(last)))
    }
}

pub(super) type Chunk = Arc<Vec<Arc<Entry>>>;

/// The chunk, copied if somebody else has it too: with room for a few more, and not for twice as many.
fn writable(chunk: &mut Chunk) -> &mut Vec<Arc<Entry>> {
    if Arc::get_mut(chunk).is_none() {
        let mut copy = Vec::with_capacity(chunk.len() + room(chunk.len()));
        copy.extend(chunk.iter().cloned());
        *chunk = Arc::new(copy);
    }
    Arc::make_mut(chunk)
}

/// For how many more entries a chunk of so many gets room: most lists are short, and there are many of them.
fn room(entries: usize) -> usize {
    entries.clamp(2, CHUNK_ROOM)
}

/// Entries of one chunk: a change copies so many pointers, and one for each chunk of the list.
pub(super) const CHUNK_ENTRIES: usize = 128;

/// The same of a long one.
const CHUNK_ROOM: usize = 16;
