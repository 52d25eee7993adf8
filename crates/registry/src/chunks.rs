//! The entries of one key: a snapshot is a pointer, a change copies at most one chunk, and only while a snapshot is out.
//!
//! Entries stand in the order of their serials. New ones go to the end, so a serial is found by two binary searches.
//! Every change hands back what it took out and what it replaced ([`Retired`]), for the caller to drop after it let go of the
//! lock: values belong to the user, and so does the code in their `Drop`.
//! Pure: no clock, no I/O, no tasks.

use std::mem;
use std::sync::Arc;

use crate::Entry;

/// Most entries of one chunk, hence most that one registration copies while a snapshot is out.
pub(crate) const CHUNK_ENTRIES: usize = 256;

/// Two neighbours that hold no more than this together become one.
const MERGE_ENTRIES: usize = CHUNK_ENTRIES / 2;

pub(crate) type Chunk<V> = Arc<Vec<Entry<V>>>;

/// The entries as they are changed.
pub(crate) enum ChunkedList<V> {
    /// What nearly every key has. It may be empty only between a removal and the removal of its key.
    Small(Small<V>),
    /// At least two chunks, none empty.
    Many(Arc<Vec<Chunk<V>>>),
}

/// One chunk's worth of entries.
pub(crate) struct Small<V> {
    /// All of them, if nobody has looked since the last change: nothing is shared then, so nothing need be counted.
    own: Vec<Entry<V>>,
    shared: Option<Chunk<V>>,
}

/// The entries as they stood at one moment.
pub(crate) enum SharedList<V> {
    One(Chunk<V>),
    /// At least two chunks, none empty.
    Many(Arc<Vec<Chunk<V>>>),
}

/// Where in a list an entry stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    chunk: usize,
    index: usize,
}

/// What a change replaced because a snapshot reads it: nothing, nearly always, and that is not even an empty list.
pub(crate) struct Retired<V>(Option<Vec<Replaced<V>>>);

enum Replaced<V> {
    Chunk(#[expect(dead_code, reason = "kept to be dropped")] Chunk<V>),
    List(#[expect(dead_code, reason = "kept to be dropped")] Arc<Vec<Chunk<V>>>),
}

impl<V> Default for Retired<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V> Retired<V> {
    fn chunk(&mut self, chunk: Chunk<V>) {
        self.keep(Replaced::Chunk(chunk));
    }

    fn keep(&mut self, replaced: Replaced<V>) {
        self.0.get_or_insert_default().push(replaced);
    }
}

impl<V> Clone for SharedList<V> {
    fn clone(&self) -> Self {
        match self {
            Self::One(chunk) => Self::One(Arc::clone(chunk)),
            Self::Many(list) => Self::Many(Arc::clone(list)),
        }
    }
}

impl<V> SharedList<V> {
    pub(crate) fn of(entry: Entry<V>) -> Self {
        Self::One(Arc::new(vec![entry]))
    }

    /// All entries of several lists, one list after another. `None` of none.
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

    pub(crate) fn len(&self) -> usize {
        self.chunks().iter().map(|chunk| chunk.len()).sum()
    }

    /// The entry with that serial.
    pub(crate) fn get(&self, serial: u64) -> Option<&Entry<V>> {
        let place = find_in(self.chunks(), serial)?;
        Some(&self.chunks()[place.chunk][place.index])
    }
}

fn find_in<V>(chunks: &[Chunk<V>], serial: u64) -> Option<Place> {
    let after = chunks.partition_point(|chunk| chunk.first().is_some_and(|e| e.serial <= serial));
    let chunk = after.checked_sub(1)?;
    let index = find(&chunks[chunk], serial)?;
    Some(Place { chunk, index })
}

fn find<V>(entries: &[Entry<V>], serial: u64) -> Option<usize> {
    // Who came last is often who goes first, and the end is where nothing needs to be searched.
    match entries.last() {
        Some(last) if last.serial == serial => Some(entries.len() - 1),
        _ => entries.binary_search_by_key(&serial, |e| e.serial).ok(),
    }
}

impl<V> ChunkedList<V> {
    pub(crate) fn new(entry: Entry<V>) -> Self {
        Self::Small(Small::of(entry))
    }

    /// A snapshot.
    pub(crate) fn share(&mut self) -> SharedList<V> {
        match self {
            Self::Small(small) => SharedList::One(small.share()),
            Self::Many(list) => SharedList::Many(Arc::clone(list)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Small(small) if small.entries().is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Small(small) => small.entries().len(),
            Self::Many(list) => list.iter().map(|chunk| chunk.len()).sum(),
        }
    }

    /// Where the entry with that serial stands.
    pub(crate) fn find(&self, serial: u64) -> Option<Place> {
        match self {
            Self::Small(small) => {
                let index = find(small.entries(), serial)?;
                Some(Place { chunk: 0, index })
            }
            Self::Many(list) => find_in(list, serial),
        }
    }

    /// The entry that stands there.
    pub(crate) fn at(&self, place: Place) -> &Entry<V> {
        match self {
            Self::Small(small) => &small.entries()[place.index],
            Self::Many(list) => &list[place.chunk][place.index],
        }
    }
}

impl<V: Clone> ChunkedList<V> {
    /// Adds an entry whose serial is higher than all here.
    pub(crate) fn push(&mut self, entry: Entry<V>, retired: &mut Retired<V>) {
        match self {
            Self::Small(small) if small.entries().len() < CHUNK_ENTRIES => {
                small.own(retired).push(entry);
            }
            Self::Small(small) => {
                let chunks = vec![small.share(), Arc::new(vec![entry])];
                *self = Self::Many(Arc::new(chunks));
            }
            Self::Many(list) => {
                let list = writable_list(list, retired);
                match list.last_mut() {
                    Some(last) if last.len() < CHUNK_ENTRIES => writable(last, retired).push(entry),
                    _ => list.push(Arc::new(vec![entry])),
                }
            }
        }
    }

    /// Takes the entry out that stands there.
    pub(crate) fn remove(&mut self, place: Place, retired: &mut Retired<V>) -> Entry<V> {
        match self {
            Self::Small(small) => take(small.own(retired), place.index),
            Self::Many(list) => {
                let list = writable_list(list, retired);
                let entry = take(writable(&mut list[place.chunk], retired), place.index);
                settle(list, place.chunk, retired);
                if let [only] = list.as_slice() {
                    let (own, shared) = (Vec::new(), Some(Arc::clone(only)));
                    *self = Self::Small(Small { own, shared });
                }
                entry
            }
        }
    }
}

impl<V> Small<V> {
    fn of(entry: Entry<V>) -> Self {
        Self {
            own: vec![entry],
            shared: None,
        }
    }

    fn entries(&self) -> &[Entry<V>] {
        self.shared.as_deref().unwrap_or(&self.own)
    }

    fn share(&mut self) -> Chunk<V> {
        let own = &mut self.own;
        let shared = || Arc::new(mem::take(own));
        Arc::clone(self.shared.get_or_insert_with(shared))
    }
}

impl<V: Clone> Small<V> {
    /// The entries to be changed.
    #[inline]
    fn own(&mut self, retired: &mut Retired<V>) -> &mut Vec<Entry<V>> {
        if self.shared.is_some() {
            self.take_back(retired);
        }
        &mut self.own
    }

    /// Takes back what was shared; if a snapshot reads it, a copy of it.
    fn take_back(&mut self, retired: &mut Retired<V>) {
        if let Some(chunk) = self.shared.take_if(|chunk| Arc::strong_count(chunk) == 1) {
            self.own = Arc::into_inner(chunk).expect(NOBODY_ELSE);
        } else if let Some(chunk) = &self.shared {
            self.own = copied(chunk);
            self.shared
                .take()
                .into_iter()
                .for_each(|c| retired.chunk(c));
        }
    }
}

/// Chunks and lists are handed out under the lock under which they are changed.
const NOBODY_ELSE: &str = "nobody else has it, nor a way to it";

fn take<V>(entries: &mut Vec<Entry<V>>, index: usize) -> Entry<V> {
    let entry = entries.remove(index);
    if entries.len() < entries.capacity() / 4 {
        entries.shrink_to(entries.len() * 2);
    }
    entry
}

/// After a removal from chunk `index`: no empty chunk, and no two small ones side by side.
fn settle<V: Clone>(list: &mut Vec<Chunk<V>>, index: usize, retired: &mut Retired<V>) {
    if list[index].is_empty() {
        retired.chunk(list.remove(index));
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
    retired.chunk(right);
}

/// The entries with room for one more.
fn copied<V: Clone>(entries: &[Entry<V>]) -> Vec<Entry<V>> {
    let mut copy = Vec::with_capacity(entries.len() + 1);
    copy.extend_from_slice(entries);
    copy
}

/// The chunk's entries, copied first if a snapshot reads them.
fn writable<'a, V: Clone>(
    chunk: &'a mut Chunk<V>,
    retired: &mut Retired<V>,
) -> &'a mut Vec<Entry<V>> {
    if Arc::strong_count(chunk) > 1 {
        let copy = Arc::new(copied(chunk));
        retired.chunk(mem::replace(chunk, copy));
    }
    Arc::get_mut(chunk).expect(NOBODY_ELSE)
}

/// The list's chunk pointers, copied first if a snapshot reads them.
fn writable_list<'a, V>(
    list: &'a mut Arc<Vec<Chunk<V>>>,
    retired: &mut Retired<V>,
) -> &'a mut Vec<Chunk<V>> {
    if Arc::strong_count(list) > 1 {
        let copy = Vec::clone(list);
        let before = mem::replace(list, Arc::new(copy));
        retired.keep(Replaced::List(before));
    }
    Arc::get_mut(list).expect(NOBODY_ELSE)
}

#[cfg(test)]
mod tests;
