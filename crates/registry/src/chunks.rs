//! The entries of one key, in shared chunks: a snapshot is a pointer, a change copies at most one chunk.
//!
//! Entries stand in the order of their serials. New ones go to the end, so a serial is found by two binary searches.
//! Every change puts what it replaced into [`Retired`], which the caller drops after it let go of the lock: values belong
//! to the user, and so does the code in their `Drop`.
//! Pure: no clock, no I/O, no tasks.

use std::sync::Arc;

use crate::Entry;

/// Most entries of one chunk, hence most that one registration copies while a snapshot is out.
pub(crate) const CHUNK_ENTRIES: usize = 256;

/// Two neighbours that hold no more than this together become one.
const MERGE_ENTRIES: usize = CHUNK_ENTRIES / 2;

pub(crate) type Chunk<V> = Arc<Vec<Entry<V>>>;

pub(crate) enum ChunkedList<V> {
    /// What nearly every key has; it may be empty only between a removal and the removal of its key.
    One(Chunk<V>),
    /// At least two chunks, none empty.
    Many(Arc<Vec<Chunk<V>>>),
}

/// What a change took out of a list.
pub(crate) struct Retired<V> {
    pub(crate) entry: Option<Entry<V>>,
    chunks: [Option<Chunk<V>>; 3],
    list: Option<Arc<Vec<Chunk<V>>>>,
}

impl<V> Default for Retired<V> {
    fn default() -> Self {
        Self {
            entry: None,
            chunks: [None, None, None],
            list: None,
        }
    }
}

impl<V> Retired<V> {
    fn keep(&mut self, chunk: Chunk<V>) {
        let free = self.chunks.iter_mut().find(|place| place.is_none());
        *free.expect("one change replaces at most three chunks") = Some(chunk);
    }
}

impl<V> Clone for ChunkedList<V> {
    fn clone(&self) -> Self {
        match self {
            Self::One(chunk) => Self::One(Arc::clone(chunk)),
            Self::Many(list) => Self::Many(Arc::clone(list)),
        }
    }
}

impl<V> ChunkedList<V> {
    pub(crate) fn new(entry: Entry<V>) -> Self {
        Self::One(Arc::new(vec![entry]))
    }

    /// All entries of several lists, one list after another: to read only. `None` of none.
    pub(crate) fn chain(mut lists: Vec<Self>) -> Option<Self> {
        if lists.len() < 2 {
            return lists.pop();
        }
        let chunks = lists.iter().flat_map(|list| list.chunks().iter().cloned());
        Some(Self::Many(Arc::new(chunks.collect())))
    }

    pub(crate) fn chunks(&self) -> &[Chunk<V>] {
        match self {
            Self::One(chunk) => std::slice::from_ref(chunk),
            Self::Many(list) => list,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::One(chunk) if chunk.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks().iter().map(|chunk| chunk.len()).sum()
    }

    /// The entry with that serial.
    pub(crate) fn get(&self, serial: u64) -> Option<&Entry<V>> {
        let (chunk, place) = self.find(serial)?;
        Some(&self.chunks()[chunk][place])
    }

    /// The chunk and the place in it where `serial` stands.
    fn find(&self, serial: u64) -> Option<(usize, usize)> {
        let chunks = self.chunks();
        // Who came last is often who goes first, and the end is where nothing needs to be searched.
        if let Some(last) = chunks.last()
            && last.last().is_some_and(|entry| entry.serial == serial)
        {
            return Some((chunks.len() - 1, last.len() - 1));
        }
        let after =
            chunks.partition_point(|chunk| chunk.first().is_some_and(|e| e.serial <= serial));
        let chunk = after.checked_sub(1)?;
        let place = chunks[chunk]
            .binary_search_by_key(&serial, |e| e.serial)
            .ok()?;
        Some((chunk, place))
    }
}

impl<V: Clone> ChunkedList<V> {
    /// Adds an entry whose serial is higher than all here.
    pub(crate) fn push(&mut self, entry: Entry<V>, retired: &mut Retired<V>) {
        let room = self
            .chunks()
            .last()
            .is_some_and(|last| last.len() < CHUNK_ENTRIES);
        match self {
            Self::One(chunk) if room => writable(chunk, retired).push(entry),
            Self::One(chunk) => {
                *self = Self::Many(Arc::new(vec![Arc::clone(chunk), Arc::new(vec![entry])]))
            }
            Self::Many(list) => {
                let list = writable_list(list, retired);
                match list.last_mut() {
                    Some(last) if room => writable(last, retired).push(entry),
                    _ => list.push(Arc::new(vec![entry])),
                }
            }
        }
    }

    /// Takes the entry with that serial out. Its slot if it was here.
    pub(crate) fn remove(&mut self, serial: u64, retired: &mut Retired<V>) -> Option<usize> {
        let (index, place) = self.find(serial)?;
        let slot = self.chunks()[index][place].slot;
        match self {
            Self::One(chunk) => take(chunk, place, retired),
            Self::Many(list) => {
                let list = writable_list(list, retired);
                take(&mut list[index], place, retired);
                settle(list, index, retired);
                if let [only] = list.as_slice() {
                    *self = Self::One(Arc::clone(only));
                }
            }
        }
        Some(slot)
    }
}

/// Takes one entry out of a chunk, in place if nobody else reads it.
fn take<V: Clone>(chunk: &mut Chunk<V>, place: usize, retired: &mut Retired<V>) {
    if let Some(entries) = Arc::get_mut(chunk) {
        retired.entry = Some(entries.remove(place));
        if entries.len() < entries.capacity() / 4 {
            entries.shrink_to(entries.len() * 2);
        }
        return;
    }
    let (before, after) = (&chunk[..place], &chunk[place + 1..]);
    let rest = Arc::new([before, after].concat());
    retired.keep(std::mem::replace(chunk, rest));
}

/// After a removal from chunk `index`: no empty chunk, and no two small ones side by side.
fn settle<V: Clone>(list: &mut Vec<Chunk<V>>, index: usize, retired: &mut Retired<V>) {
    if list[index].is_empty() {
        retired.keep(list.remove(index));
        return;
    }
    let small = |left: usize| {
        left + 1 < list.len() && list[left].len() + list[left + 1].len() <= MERGE_ENTRIES
    };
    let Some(left) = [Some(index), index.checked_sub(1)]
        .into_iter()
        .flatten()
        .find(|&i| small(i))
    else {
        return;
    };
    let right = list.remove(left + 1);
    writable(&mut list[left], retired).extend_from_slice(&right);
    retired.keep(right);
}

/// The chunk's entries, copied first if a snapshot reads them.
fn writable<'a, V: Clone>(
    chunk: &'a mut Chunk<V>,
    retired: &mut Retired<V>,
) -> &'a mut Vec<Entry<V>> {
    if Arc::strong_count(chunk) > 1 {
        let mut copy = Vec::with_capacity(chunk.len() + 1);
        copy.extend_from_slice(chunk);
        retired.keep(std::mem::replace(chunk, Arc::new(copy)));
    }
    Arc::get_mut(chunk).expect("nobody else has the chunk, nor a way to it")
}

/// The list's chunk pointers, copied first if a snapshot reads them.
fn writable_list<'a, V>(
    list: &'a mut Arc<Vec<Chunk<V>>>,
    retired: &mut Retired<V>,
) -> &'a mut Vec<Chunk<V>> {
    if Arc::strong_count(list) > 1 {
        let copy = Vec::clone(list);
        retired.list = Some(std::mem::replace(list, Arc::new(copy)));
    }
    Arc::get_mut(list).expect("nobody else has the list, nor a way to it")
}

#[cfg(test)]
mod tests;
