//! What `GET /metrics` says of topics and what is published on them.

use matryoshka_presence::channel::pubsub::Stats;

use super::metric::{Metric, counter, gauge};

pub(super) const TOPICS: &[Metric<Stats>] = &[
    gauge("pubsub_topics", "Topics with subscribers", |s| {
        s.topics as u64
    }),
    gauge("pubsub_subscriptions", "Subscriptions", |s| {
        s.subscriptions as u64
    }),
    counter("pubsub_published", "Messages published on this node", |s| {
        s.published
    }),
    counter(
        "pubsub_received",
        "Messages received from other nodes",
        |s| s.received,
    ),
    counter(
        "pubsub_delivered",
        "Deliveries to subscribers of this node",
        |s| s.delivered,
    ),
    counter("pubsub_dropped", "Messages that a full mailbox lost", |s| {
        s.dropped
    }),
    counter(
        "pubsub_dropped_for_peers",
        "Copies that the full queue to another node lost",
        |s| s.dropped_for_peers,
    ),
    counter(
        "pubsub_unknown_kind",
        "Messages of a kind without dispatcher",
        |s| s.unknown_kind,
    ),
    counter("pubsub_panics", "Panics of sinks and dispatchers", |s| {
        s.panics
    }),
];
