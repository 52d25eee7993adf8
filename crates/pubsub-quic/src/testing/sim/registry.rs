//! A node's subscriptions, as its pubsub keeps them.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, BTreeSet};

use matryoshka_pubsub::{Edge, TopicName};

/// Which topic.
pub(super) type Topic = u8;

/// What one life of a node has subscribed, by the numbers of the subscriptions.
#[derive(Debug, Default)]
pub(super) struct Registry {
    topics: BTreeMap<Topic, Vec<usize>>,
    edges: BTreeSet<Topic>,
}

impl Registry {
    pub(super) fn subscribe(&mut self, topic: Topic, sub: usize) {
        let subs = self.topics.entry(topic).or_default();
        subs.push(sub);
        if subs.len() == 1 {
            self.edges.insert(topic);
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: Topic, sub: usize) {
        let Some(subs) = self.topics.get_mut(&topic) else {
            return;
        };
        subs.retain(|other| *other != sub);
        if subs.is_empty() {
            self.topics.remove(&topic);
            self.edges.insert(topic);
        }
    }

    pub(super) fn subscribers(&self, topic: Topic) -> &[usize] {
        self.topics.get(&topic).map_or(&[], Vec::as_slice)
    }

    /// All subscriptions.
    pub(super) fn all(&self) -> impl Iterator<Item = (Topic, usize)> {
        let each = |(topic, subs): (&Topic, &Vec<usize>)| {
            let topic = *topic;
            subs.clone().into_iter().map(move |sub| (topic, sub))
        };
        self.topics.iter().flat_map(each)
    }

    /// How many topics have subscribers.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn has_edges(&self) -> bool {
        !self.edges.is_empty()
    }

    /// First the queue is emptied, then each topic is asked about.
    pub(super) fn take_edges(&mut self) -> Vec<Edge> {
        let topics = std::mem::take(&mut self.edges);
        let edge = |topic| Edge {
            topic: name(topic),
            interested: self.topics.contains_key(&topic),
        };
        topics.into_iter().map(edge).collect()
    }
}

/// What a topic is called.
pub(super) fn name(topic: Topic) -> TopicName {
    TopicName::from(format!("t{topic}"))
}

/// Which topic is called that.
pub(super) fn topic(name: &TopicName) -> Topic {
    name[1..].parse().unwrap_or(Topic::MAX)
}
