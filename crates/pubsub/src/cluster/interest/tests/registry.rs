//! A node's subscriptions as the pubsub keeps them, and what became of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Edge, TopicName};

/// A subscription, of whatever node, dead or alive.
pub(super) struct Sub {
    pub(super) node: usize,
    pub(super) topic: usize,
    /// Publications from this one on were made after `subscribe` returned.
    pub(super) since: usize,
    /// Publications from this one on were made after it ended.
    pub(super) until: Option<usize>,
    /// What it got: publication and link.
    pub(super) got: Vec<(usize, usize)>,
}

/// What one node has now.
#[derive(Default)]
pub(super) struct Registry {
    topics: BTreeMap<usize, Vec<usize>>,
    edges: BTreeSet<usize>,
    /// Of a wrong variant: edges that have not reached the queue.
    late: BTreeSet<usize>,
    edges_are_late: bool,
}

impl Registry {
    pub(super) fn new(edges_are_late: bool) -> Self {
        Self {
            edges_are_late,
            ..Self::default()
        }
    }

    /// Whether it is the topic's first.
    pub(super) fn subscribe(&mut self, topic: usize, sub: usize) -> bool {
        let subs = self.topics.entry(topic).or_default();
        subs.push(sub);
        let first = subs.len() == 1;
        if first && self.edges_are_late {
            self.late.insert(topic);
        } else if first {
            self.edges.insert(topic);
        }
        first
    }

    pub(super) fn unsubscribe(&mut self, topic: usize, sub: usize) {
        let subs = self.topics.get_mut(&topic).expect("it is subscribed");
        subs.retain(|other| *other != sub);
        if subs.is_empty() {
            self.topics.remove(&topic);
            self.edges.insert(topic);
        }
    }

    pub(super) fn subscribers(&self, topic: usize) -> &[usize] {
        self.topics.get(&topic).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has_edges(&self) -> bool {
        !self.edges.is_empty()
    }

    pub(super) fn let_late_edges_in(&mut self) {
        self.edges.append(&mut self.late);
    }

    /// The first half of taking the edges.
    pub(super) fn swap_edges(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.edges)
    }

    /// The second half.
    pub(super) fn ask(&self, topics: BTreeSet<usize>) -> Vec<Edge> {
        let edge = |topic| Edge {
            topic: name(topic),
            interested: !self.subscribers(topic).is_empty(),
        };
        topics.into_iter().map(edge).collect()
    }

    pub(super) fn take_edges(&mut self) -> Vec<Edge> {
        let topics = self.swap_edges();
        self.ask(topics)
    }
}

pub(super) fn name(topic: usize) -> TopicName {
    TopicName::from(format!("t{topic}"))
}

pub(super) fn number(topic: &TopicName) -> usize {
    topic[1..].parse().unwrap()
}
