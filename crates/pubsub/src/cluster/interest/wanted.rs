//! What this node wants: the router's own view, changed only by edges and by the end of a linger.
//!
//! A topic that lost its last subscriber lingers: it stays wanted for a while, so that one who comes and goes costs the peers
//! nothing. The peers know of no linger.
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

use super::config::Config;
use crate::{Edge, TopicName};

#[derive(Debug, Default)]
pub(super) struct Wanted {
    topics: BTreeMap<TopicName, State>,
    /// The lingering ones, by when they end.
    lingers: BTreeSet<(Instant, TopicName)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Linger { ends: Instant, left: u32 },
}

impl Wanted {
    /// Takes an edge in; whether the peers must be told.
    pub(super) fn handle_edge(&mut self, edge: &Edge, config: &Config, now: Instant) -> bool {
        match (self.topics.get(&edge.topic).copied(), edge.interested) {
            (None, true) => {
                self.topics.insert(edge.topic.clone(), State::Live);
                return true;
            }
            (Some(State::Linger { ends, .. }), true) => self.revive(&edge.topic, ends),
            (Some(State::Live), false) => self.start_linger(&edge.topic, config, now),
            (Some(State::Live), true) | (Some(State::Linger { .. }) | None, false) => {}
        }
        false
    }

    /// A message of that topic came, and nobody was there; whether that ended its linger.
    pub(super) fn handle_unwanted(&mut self, topic: &TopicName) -> bool {
        let Some(State::Linger { ends, left }) = self.topics.get_mut(topic) else {
            return false;
        };
        *left = left.saturating_sub(1);
        let (ends, over) = (*ends, *left == 0);
        if over {
            self.lingers.remove(&(ends, topic.clone()));
            self.topics.remove(topic);
        }
        over
    }

    /// Ends a linger that is over by now. To be repeated until there is none.
    pub(super) fn end_linger(&mut self, now: Instant) -> Option<TopicName> {
        let (ends, _) = self.lingers.first()?;
        if *ends > now {
            return None;
        }
        let (_, topic) = self.lingers.pop_first()?;
        self.topics.remove(&topic);
        Some(topic)
    }

    /// When the first linger ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.lingers.first().map(|(ends, _)| *ends)
    }

    pub(super) fn contains(&self, topic: &TopicName) -> bool {
        self.topics.contains_key(topic)
    }

    /// Whether it has subscribers, as far as is known here.
    pub(super) fn is_live(&self, topic: &TopicName) -> bool {
        self.topics.get(topic) == Some(&State::Live)
    }

    #[cfg(test)]
    pub(super) fn lingers(&self, topic: &TopicName) -> bool {
        matches!(self.topics.get(topic), Some(State::Linger { .. }))
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// The topics behind that one, or all, in a fixed order.
    pub(super) fn after<'a>(
        &'a self,
        topic: Option<&TopicName>,
    ) -> impl Iterator<Item = &'a TopicName> + use<'a> {
        let from = topic.map_or(Unbounded, Excluded);
        let behind = self.topics.range::<TopicName, _>((from, Unbounded));
        behind.map(|(topic, _)| topic)
    }

    fn revive(&mut self, topic: &TopicName, ends: Instant) {
        self.lingers.remove(&(ends, topic.clone()));
        self.topics.insert(topic.clone(), State::Live);
    }

    fn start_linger(&mut self, topic: &TopicName, config: &Config, now: Instant) {
        let (ends, left) = (now + config.linger, config.linger_messages);
        self.lingers.insert((ends, topic.clone()));
        self.topics
            .insert(topic.clone(), State::Linger { ends, left });
    }
}
