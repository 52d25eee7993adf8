//! The event that a thread's callback is for, in words that this thread writes and another one may read meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

use matryoshka_transport::excerpt;

/// The longest name that the log shows takes as many, behind its length.
const NAME_WORDS: usize = 13;

/// The beginning of an event's name, or none. Each message from a client writes it, so it takes neither a lock nor an allocation.
///
/// Read while it is written, it is a mixture of two names: whoever reads it has to find out.
#[derive(Debug, Default)]
pub(super) struct EventMark {
    /// In bytes, and one more; 0 is none.
    length: AtomicU64,
    name: [AtomicU64; NAME_WORDS],
}

impl EventMark {
    pub(super) fn write(&self, event: Option<&str>) {
        let Some(event) = event.map(excerpt) else {
            return self.length.store(0, Ordering::Relaxed);
        };
        let (whole, rest) = event.as_bytes().as_chunks();
        let mut last = [0; size_of::<u64>()];
        last[..rest.len()].copy_from_slice(rest);
        for (word, bytes) in self.name.iter().zip(whole.iter().chain([&last])) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        self.length.store(event.len() as u64 + 1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Option<String> {
        let length = self.length.load(Ordering::Relaxed).checked_sub(1)?;
        let words = self.name.iter().map(|word| word.load(Ordering::Relaxed));
        let bytes = words.flat_map(u64::to_le_bytes).take(length as usize);
        let bytes: Vec<u8> = bytes.collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_as_the_log_shows_it() {
        let mark = EventMark::default();
        assert_eq!(mark.read(), None);
        let long = format!("a{}", "é".repeat(100));
        for name in ["", "say", "new_msgs", "new_message", "é", &long] {
            mark.write(Some(name));
            assert_eq!(mark.read().as_deref(), Some(excerpt(name)));
        }
        assert_eq!(excerpt(&long).len(), 99);
        mark.write(None);
        assert_eq!(mark.read(), None);
    }
}
