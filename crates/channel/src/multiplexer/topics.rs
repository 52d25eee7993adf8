//! What one connection has joined, by topic: few topics on most connections, and one on many.
//!
//! Pure: no clock, no I/O, no tasks.

use bytestring::ByteString;

/// A sorted list. A hash map of one entry takes three times the memory, and every idle client pays for it.
#[derive(Debug)]
pub(super) struct Topics<T> {
    entries: Vec<(ByteString, Box<T>)>,
}

impl<T> Topics<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, topic: &str) -> Option<&T> {
        let at = self.find(topic).ok()?;
        Some(&self.entries[at].1)
    }

    pub(super) fn get_mut(&mut self, topic: &str) -> Option<&mut T> {
        let at = self.find(topic).ok()?;
        Some(&mut self.entries[at].1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ByteString, &T)> {
        let entries = self.entries.iter();
        entries.map(|(topic, entry)| (topic, &**entry))
    }

    /// Puts an entry in, in the place of an older one of its topic.
    pub(super) fn insert(&mut self, topic: ByteString, entry: T) {
        match self.find(&topic) {
            Ok(at) => *self.entries[at].1 = entry,
            Err(at) => {
                if self.entries.is_empty() {
                    // Most have one topic for good, and a list that grows by itself takes room for four.
                    self.entries.reserve_exact(1);
                }
                self.entries.insert(at, (topic, Box::new(entry)));
            }
        }
    }

    pub(super) fn remove(&mut self, topic: &str) -> Option<T> {
        let at = self.find(topic).ok()?;
        Some(*self.entries.remove(at).1)
    }

    /// Where a topic stands, or would.
    fn find(&self, topic: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(known, _)| (**known).cmp(topic))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(("[a-d]{1,2}", 0u8..3, any::<u32>()), 0..100)) {
            let (mut topics, mut map) = (Topics::new(), HashMap::new());
            for (topic, what, value) in steps {
                match what {
                    0 => {
                        topics.insert(topic.as_str().into(), value);
                        map.insert(topic.clone(), value);
                    }
                    1 => prop_assert_eq!(topics.remove(&topic), map.remove(&topic)),
                    _ => {
                        if let Some(known) = topics.get_mut(&topic) {
                            *known ^= value;
                        }
                        map.entry(topic.clone()).and_modify(|known| *known ^= value);
                    }
                }
                prop_assert_eq!(topics.get(&topic), map.get(&topic));
                prop_assert_eq!(topics.len(), map.len());
            }
        }
    }
}
