//! Who published what, to whom it is owed, and who got it: Q1 to Q4 and Q7, checked with each delivery.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cable::{CableId, Side};
use super::network::NodeIndex;
use super::registry::Topic;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) node: NodeIndex,
    pub(super) topic: Topic,
    pub(super) lane: u16,
    pub(super) bytes: usize,
    pub(super) at: Duration,
    /// The subscriber who must not get it, though it is on its own node.
    pub(super) except: Option<usize>,
}

/// A subscription, of whatever life, ended or not.
#[derive(Debug)]
pub(super) struct Sub {
    topic: Topic,
    /// Publications from this one on were made after `subscribe` returned.
    since: usize,
    at: Duration,
    /// What was published longer before than this must not come, if nothing holds anything up.
    early: Option<Duration>,
    until: Option<usize>,
    /// How far it is with what it is owed.
    cursors: BTreeMap<(CableId, u16), usize>,
    /// The last one it got, by publisher's node and lane.
    last: BTreeMap<(NodeIndex, u16), usize>,
}

/// One way of one connection, as its publishing side names it.
pub(super) type Way = (CableId, Side);

/// What is owed over one way, of one topic and lane, in order.
#[derive(Debug, Default)]
struct Owed {
    entries: Vec<usize>,
    refused: BTreeSet<usize>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) published: Vec<Publication>,
    pub(super) subs: Vec<Sub>,
    owed: BTreeMap<(Way, Topic, u16), Owed>,
    /// What lanes were too full for, and what was told of it.
    refused: BTreeMap<(Way, u16), u64>,
    told: BTreeMap<(Way, u16), u64>,
    /// Messages that were older than their subscription.
    pub(super) early: u64,
}

impl Ledger {
    /// A message goes out over these ways.
    pub(super) fn publish(&mut self, publication: Publication, ways: &[Way]) -> usize {
        let number = self.published.len();
        for way in ways {
            let key = (*way, publication.topic, publication.lane);
            self.owed.entry(key).or_default().entries.push(number);
        }
        self.published.push(publication);
        number
    }

    /// A subscription made now; what was published longer than `early` before must not come to it.
    pub(super) fn subscribe(
        &mut self,
        topic: Topic,
        now: Duration,
        early: Option<Duration>,
    ) -> usize {
        self.subs.push(Sub {
            topic,
            since: self.published.len(),
            at: now,
            early,
            until: None,
            cursors: BTreeMap::new(),
            last: BTreeMap::new(),
        });
        self.subs.len() - 1
    }

    pub(super) fn unsubscribe(&mut self, sub: usize) {
        let now = self.published.len();
        self.subs[sub].until.get_or_insert(now);
    }

    /// That publication did not fit into the queue of that way.
    pub(super) fn refuse(&mut self, way: Way, lane: u16, number: usize) {
        let topic = self.published[number].topic;
        let owed = self.owed.entry((way, topic, lane)).or_default();
        owed.refused.insert(number);
        *self.refused.entry((way, lane)).or_default() += 1;
    }

    pub(super) fn gap(&mut self, way: Way, lane: u16, lost: u64) -> Result<(), String> {
        let told = self.told.entry((way, lane)).or_default();
        *told += lost;
        let refused = self.refused.get(&(way, lane)).copied().unwrap_or(0);
        if *told > refused {
            return Err(format!(
                "Q3: {told} told as lost on lane {lane}, {refused} were"
            ));
        }
        Ok(())
    }

    /// `number` came over `way` to `sub`.
    pub(super) fn deliver(&mut self, way: Way, number: usize, sub: usize) -> Result<(), String> {
        let Publication {
            node,
            topic,
            lane,
            at,
            ..
        } = self.published[number];
        let told = self.told.get(&(way, lane)).copied().unwrap_or(0);
        self.subs[sub].take(number, (topic, node, lane))?;
        let Some(owed) = self.owed.get(&(way, topic, lane)) else {
            return Err(format!("{number} came where it was not sent"));
        };
        let subscription = &mut self.subs[sub];
        if number < subscription.since {
            self.early += 1;
            return owed.sent(number).and_then(|()| self.in_time(sub, at));
        }
        let since = subscription.since;
        let first = || owed.entries.partition_point(|entry| *entry < since);
        let cursor = subscription
            .cursors
            .entry((way.0, lane))
            .or_insert_with(first);
        while let Some(next) = owed.entries.get(*cursor).copied() {
            *cursor += 1;
            if next == number {
                return owed.sent(number).and_then(|()| owed.told(number, told));
            }
            if !owed.refused.contains(&next) {
                return Err(format!(
                    "Q3, Q4: subscription {sub} got {number} and not {next}"
                ));
            }
        }
        Err(format!(
            "{number} came to subscription {sub} where it was not sent"
        ))
    }

    /// What was published before a subscription may come too, but only so long before.
    fn in_time(&self, sub: usize, published: Duration) -> Result<(), String> {
        let Sub { at, early, .. } = &self.subs[sub];
        let age = at.saturating_sub(published);
        if early.is_some_and(|bound| age > bound) {
            return Err(format!(
                "Q4: subscription {sub} got what was published {age:?} before it"
            ));
        }
        Ok(())
    }

    /// `number` is handed to subscriptions of its own node; to how many.
    pub(super) fn deliver_here(&mut self, number: usize, subs: &[usize]) -> Result<u64, String> {
        let Publication {
            node,
            topic,
            lane,
            except,
            ..
        } = self.published[number];
        let mut count = 0;
        for sub in subs.iter().copied().filter(|sub| Some(*sub) != except) {
            self.subs[sub].take(number, (topic, node, lane))?;
            count += 1;
        }
        Ok(count)
    }

    /// That way is whole, and nothing is under way on it: has `sub` got all it is owed?
    pub(super) fn is_even(&self, way: Way, sub: usize) -> Result<(), String> {
        let subscription = &self.subs[sub];
        let range = (way, subscription.topic, 0)..=(way, subscription.topic, u16::MAX);
        for ((_, _, lane), owed) in self.owed.range(range) {
            let first = owed
                .entries
                .partition_point(|entry| *entry < subscription.since);
            let cursor = subscription.cursors.get(&(way.0, *lane)).copied();
            let left = &owed.entries[cursor.unwrap_or(first)..];
            if let Some(missing) = left.iter().find(|number| !owed.refused.contains(number)) {
                return Err(format!(
                    "Q3, Q4: subscription {sub} never got {missing} on lane {lane}, which its link owes it"
                ));
            }
        }
        Ok(())
    }

    /// That way is whole and at rest: was all told that was lost on it?
    pub(super) fn gaps_are_told(&self, way: Way) -> Result<(), String> {
        for ((_, lane), refused) in self.refused.range((way, 0)..=(way, u16::MAX)) {
            let told = self.told.get(&(way, *lane)).copied().unwrap_or(0);
            if told != *refused {
                return Err(format!(
                    "Q3: {refused} messages of lane {lane} were lost, {told} told of"
                ));
            }
        }
        Ok(())
    }
}

impl Sub {
    /// It got one: of its topic, while it was there, and in the order in which that node published on that lane.
    fn take(
        &mut self,
        number: usize,
        (topic, node, lane): (Topic, NodeIndex, u16),
    ) -> Result<(), String> {
        if self.until.is_some() || self.topic != topic {
            return Err(format!("{number} came to a subscription that did not ask"));
        }
        match self.last.insert((node, lane), number) {
            Some(last) if last == number => Err(format!("Q2: {number} came twice")),
            Some(last) if last > number => Err(format!("Q1: {number} came after {last}")),
            _ => Ok(()),
        }
    }
}

impl Owed {
    fn sent(&self, number: usize) -> Result<(), String> {
        let there = self.entries.binary_search(&number).is_ok();
        if there && !self.refused.contains(&number) {
            Ok(())
        } else {
            Err(format!("{number} came where it was not sent"))
        }
    }

    /// Whoever gets a message was told before of what was lost before it.
    fn told(&self, number: usize, told: u64) -> Result<(), String> {
        let before = self.refused.range(..number).count() as u64;
        if told < before {
            return Err(format!(
                "Q3: {before} messages were lost before {number}, and {told} told of"
            ));
        }
        Ok(())
    }
}
