//! Who has left lists of late, for clients that may still hear that they came.
//!
//! A client that leaves a topic and joins it again on the same connection may not have received yet all that it was told before. A broadcast
//! does not say of which join it is, so the official class takes such a diff for one of its new join, and applies it after the new list: whoever
//! came in it, and has left before that list was made, would stay with this client for good. So it is told after its list who has left since.
//! And who left in such a diff and is back under the same reference, by a link that healed or at the end of a window, comes once more.
//!
//! All is forgotten after a minute: the official client ends a connection on which a heartbeat stays without an answer until the next one,
//! half a minute later, so what was sent before that has come by then, or never will.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use matryoshka_tracker::{Entries, Entry, PresenceRef};

use crate::difference::Difference;

/// How long it is known that somebody has left.
pub(crate) const KEPT: Duration = Duration::from_secs(60);

/// The most bytes of entries that are kept, over all topics: beyond, the oldest are forgotten before their time.
pub(crate) const MOST_BYTES: usize = 32 * 1024 * 1024;

/// What an entry takes beside its key and its meta.
const ENTRY_BYTES: usize = 256;

/// Those who have left, of all topics, in the order in which clients were told.
#[derive(Debug)]
pub(crate) struct Departed {
    topics: BTreeMap<Arc<str>, VecDeque<Left>>,
    /// The topic of each, oldest first.
    order: VecDeque<Arc<str>>,
    bytes: usize,
    most_bytes: usize,
}

/// Somebody who has left, and when clients had been told.
#[derive(Debug)]
struct Left {
    at: Duration,
    entry: Arc<Entry>,
}

impl Departed {
    /// The clients of a topic have been told that these left.
    pub(crate) fn note(&mut self, now: Duration, topic: &Arc<str>, leaves: Vec<Arc<Entry>>) {
        for entry in leaves {
            self.bytes += bytes(&entry);
            self.order.push_back(Arc::clone(topic));
            let of_topic = self.topics.entry(Arc::clone(topic)).or_default();
            of_topic.push_back(Left { at: now, entry });
        }
        self.forget(now);
    }

    /// Forgets those whose time is over, and whoever is too much.
    pub(crate) fn forget(&mut self, now: Duration) {
        while let Some(topic) = self.order.front()
            && let Some(left) = self.topics.get(topic).and_then(VecDeque::front)
            && (left.at + KEPT <= now || self.bytes > self.most_bytes)
        {
            self.forget_oldest();
        }
    }

    /// When all that is known is over, if nobody leaves until then: whoever leaves meanwhile has the older ones forgotten.
    pub(crate) fn over_at(&self) -> Option<Duration> {
        let of_newest = self.topics.get(self.order.back()?)?;
        of_newest.back().map(|left| left.at + KEPT)
    }

    fn forget_oldest(&mut self) {
        let Some(topic) = self.order.pop_front() else {
            return;
        };
        let Some(of_topic) = self.topics.get_mut(&topic) else {
            return;
        };
        let left = of_topic.pop_front();
        self.bytes -= left.map_or(0, |left| bytes(&left.entry));
        if of_topic.is_empty() {
            self.topics.remove(&topic);
        }
    }

    /// What a client may have missed whose earlier join of a topic heard all that was told until `since`, while clients are told that
    /// these are leaving: it may have been away when they were, and ask before that is noted.
    pub(crate) fn missed(&self, topic: &str, since: Duration, leaving: &[Arc<Entry>]) -> Missed {
        let left = self.topics.get(topic).into_iter().flatten();
        let left = left.map(|left| (left.at >= since, Arc::clone(&left.entry)));
        let leaving = leaving.iter().map(|entry| (true, Arc::clone(entry)));
        Missed(left.chain(leaving).collect())
    }
}

impl Default for Departed {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            most_bytes: MOST_BYTES,
        }
    }
}

/// Who left a topic of late, and whether that was told only after the earlier join.
#[derive(Debug, Default)]
pub(crate) struct Missed(Vec<(bool, Arc<Entry>)>);

impl Missed {
    /// How many have left; many of them may come to nothing.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is to be told right after this list. Of a key, which may have thousands of metas, the list is walked once.
    pub(crate) fn after(&self, list: &Entries) -> Difference {
        let mut left: Vec<_> = self.0.iter().collect();
        left.sort_by(|(_, a), (_, b)| a.key.cmp(&b.key));
        let (mut joins, mut leaves, mut looked) = (Vec::new(), Vec::new(), 0);
        for of_key in left.chunk_by(|(_, a), (_, b)| a.key == b.key) {
            let (_, first) = of_key[0];
            let listed = list.by_key(&first.key).inspect(|_| looked += 1);
            let listed: BTreeSet<PresenceRef> = listed.map(|entry| entry.reference).collect();
            for (is_news, entry) in of_key {
                if listed.contains(&entry.reference) {
                    joins.push(Arc::clone(entry));
                } else if *is_news {
                    leaves.push(Arc::clone(entry));
                }
            }
        }
        Difference {
            looked,
            ..Difference::of(joins, leaves)
        }
    }
}

fn bytes(entry: &Entry) -> usize {
    ENTRY_BYTES + entry.key.len() + entry.meta.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TOPIC, entry, list};

    fn told(departed: &Departed, since: u64, now: &Entries) -> [Vec<Arc<Entry>>; 2] {
        let told = departed.missed(TOPIC, secs(since), &[]).after(now);
        [told.joins, told.leaves]
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn who_left_since_leaves_and_who_is_back_comes_whenever_it_left() {
        let (mut departed, topic) = (Departed::default(), Arc::from(TOPIC));
        departed.note(secs(1), &topic, vec![entry("b", 1), entry("a", 2)]);
        departed.note(secs(3), &topic, vec![entry("c", 3), entry("a", 4)]);
        departed.note(secs(4), &topic, vec![entry("a", 4)]);
        departed.note(secs(5), &"other".into(), vec![entry("a", 9)]);
        let nobody = Entries::default();
        assert_eq!(
            told(&departed, 2, &nobody),
            [vec![], vec![entry("a", 4), entry("c", 3)]]
        );
        assert_eq!(told(&departed, 5, &nobody), [vec![], vec![]]);
        let back = list(&[("a", 2), ("a", 4), ("z", 7)]);
        let expected = [vec![entry("a", 2), entry("a", 4)], vec![entry("c", 3)]];
        assert_eq!(told(&departed, 2, &back), expected);
    }

    /// All who gave no name may have one key.
    #[test]
    fn of_a_key_with_many_metas_the_list_is_walked_once() {
        const MANY: u64 = 1_000;
        let (mut departed, topic) = (Departed::default(), Arc::from(TOPIC));
        let guests = (0..MANY).map(|n| entry("guest", 2 * n)).collect();
        departed.note(secs(1), &topic, guests);
        let back: Entries = (0..MANY).map(|n| entry("guest", 3 * n)).collect();
        let told = departed.missed(TOPIC, secs(0), &[]).after(&back);
        assert_eq!(told.joins.len() + told.leaves.len(), MANY as usize);
        assert_eq!(told.looked, MANY);
    }

    #[test]
    fn after_a_minute_nothing_is_known_or_kept() {
        let (mut departed, topic) = (Departed::default(), Arc::from(TOPIC));
        departed.note(secs(1), &topic, vec![entry("a", 1)]);
        departed.note(secs(2), &topic, vec![entry("b", 2)]);
        departed.forget(secs(61));
        let nobody = Entries::default();
        assert_eq!(told(&departed, 0, &nobody), [vec![], vec![entry("b", 2)]]);
        departed.forget(secs(62));
        assert!(departed.topics.is_empty() && departed.order.is_empty());
        assert_eq!(departed.bytes, 0);
    }

    #[test]
    fn of_too_much_the_oldest_of_all_topics_is_forgotten() {
        let mut departed = Departed {
            most_bytes: 3 * bytes(&entry("a", 1)),
            ..Departed::default()
        };
        let (topic, other) = (Arc::from(TOPIC), Arc::from("other"));
        departed.note(secs(1), &other, vec![entry("a", 1)]);
        departed.note(secs(2), &topic, vec![entry("b", 2), entry("c", 3)]);
        departed.note(secs(3), &other, vec![entry("d", 4), entry("e", 5)]);
        let nobody = Entries::default();
        assert_eq!(told(&departed, 0, &nobody), [vec![], vec![entry("c", 3)]]);
        assert_eq!(departed.missed("other", secs(0), &[]).len(), 2);
        assert_eq!(departed.order.len(), 3);
    }
}
