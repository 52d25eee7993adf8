//! When joins that are over ended, for those that follow them on their topics.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::{Duration, Instant};

use bytestring::ByteString;

/// How long a connection remembers that a join of a topic ended: 60 seconds.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(60);

/// The topics whose joins ended lately. A connection that never left one has none of it.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "an empty list costs each connection more"
)]
pub(super) struct Past(Option<Box<Vec<Ended>>>);

#[derive(Debug)]
struct Ended {
    topic: ByteString,
    /// Of those that followed each other before they were forgotten. What was sent to any of them may still be on its way.
    first: Instant,
    last: Instant,
}

impl Past {
    /// A join of this topic ended at that moment. Of so many topics it is remembered, and forgotten of the one whose last end is the oldest.
    pub(super) fn note(&mut self, topic: &ByteString, at: Instant, max_topics: usize) {
        self.forget(at);
        let all = self.0.get_or_insert_default();
        let known = all.iter().position(|ended| ended.topic == *topic);
        let (first, last) = known.map_or((at, at), |known| {
            let Ended { first, last, .. } = all.remove(known);
            (first.min(at), last.max(at))
        });
        all.push(Ended {
            topic: topic.clone(),
            first,
            last,
        });
        let excess = all.len().saturating_sub(max_topics);
        all.drain(..excess);
    }

    /// The first of the ends of this topic's joins that followed each other within [`REMEMBERED`], if the last of them is no longer ago.
    pub(super) fn of(&mut self, topic: &str, now: Instant) -> Option<Instant> {
        self.forget(now);
        let mut all = self.0.iter().flat_map(|all| all.iter());
        let ended = all.find(|ended| ended.topic == topic)?;
        Some(ended.first)
    }

    fn forget(&mut self, now: Instant) {
        let Some(all) = &mut self.0 else { return };
        all.retain(|ended| now.duration_since(ended.last) <= REMEMBERED);
        if all.is_empty() {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_end_is_remembered_for_so_long_and_then_takes_nothing() {
        let (mut past, start) = (Past::default(), Instant::now());
        assert_eq!(past.of("a", start), None);
        past.note(&"a".into(), start, 10);
        assert_eq!(past.of("a", start + REMEMBERED), Some(start));
        assert_eq!(past.of("b", start + REMEMBERED), None);
        assert_eq!(past.of("a", start + REMEMBERED + SECOND), None);
        assert!(past.0.is_none());
    }

    /// The client may still be sent what it was to see in the first of them.
    #[test]
    fn of_ends_close_behind_each_other_the_first_counts() {
        let (mut past, start) = (Past::default(), Instant::now());
        let later = start + REMEMBERED;
        past.note(&"a".into(), start, 10);
        past.note(&"a".into(), later, 10);
        assert_eq!(past.of("a", later + REMEMBERED), Some(start));
        let last = later + REMEMBERED + SECOND;
        past.note(&"a".into(), last, 10);
        assert_eq!(past.of("a", last), Some(last));
    }

    #[test]
    fn of_so_many_topics_the_oldest_are_forgotten() {
        let (mut past, start) = (Past::default(), Instant::now());
        for (topic, at) in [("a", 0), ("b", 1), ("a", 2), ("c", 3)] {
            past.note(&topic.into(), start + at * SECOND, 2);
        }
        let now = start + 4 * SECOND;
        assert_eq!(past.of("a", now), Some(start));
        assert_eq!(past.of("b", now), None);
        assert_eq!(past.of("c", now), Some(start + 3 * SECOND));
    }
}
