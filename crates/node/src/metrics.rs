//! `GET /metrics`: the crates' own counters, rendered as Prometheus text at each request.
//!
//! The library crates keep their counters as values; nothing here counts anything itself.

mod mesh;

use std::fmt;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use matryoshka_presence::channel::transport::{LongPollStats, TransportStats, Waiting};
use matryoshka_presence::channel::{self, HandlerTime, pubsub};
use matryoshka_presence::tracker;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::answer::{Refusal, with_type};
use crate::readiness::Phase;
use crate::server::Server;

/// One name before all of them.
const PREFIX: &str = "matryoshka";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The older format; what is written here is valid in both.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of this node, now.
pub(crate) async fn show(State(server): State<Server>, headers: HeaderMap) -> Response {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Node(server)));
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => with_type(StatusCode::OK, format_for(&headers), page),
        Err(_) => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics could not be written",
        )
        .into_response(),
    }
}

fn format_for(headers: &HeaderMap) -> &'static str {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    if accepts.contains("application/openmetrics-text") {
        OPEN_METRICS
    } else {
        PROMETHEUS
    }
}

/// Reads every part's snapshot when asked for.
struct Node(Server);

impl Collector for Node {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let server = &self.0;
        let mut page = Page(encoder);
        page.gauge(
            "ready",
            "1 while clients are welcome",
            usize::from(server.readiness.phase() == Phase::Ready),
        )?;
        page.transport(&server.sockets.connections().stats())?;
        page.outboxes(server.sockets.connections().waiting())?;
        page.sockets(&server.sockets.stats())?;
        page.long_polling(&server.long_polling.stats())?;
        page.pubsub(&server.pubsub.stats())?;
        page.presence(&server.presence.stats())?;
        page.tracker(&server.presence.tracker().stats())?;
        match &server.mesh {
            Some(adapter) => mesh::write(&mut page, adapter),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Node")
    }
}

/// The text being written: each metric's name, meaning and value stand together here, once.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn sockets(&mut self, stats: &channel::Stats) -> fmt::Result {
        self.counter("channel_connected", "Connections accepted", stats.connected)?;
        self.counter(
            "channel_disconnected",
            "Accepted connections that ended",
            stats.disconnected,
        )?;
        self.counter(
            "channel_messages_in",
            "Messages from clients",
            stats.messages_in,
        )?;
        self.counter(
            "channel_malformed_frames",
            "Frames that closed their socket with 1011",
            stats.malformed_frames,
        )?;
        self.counter("channel_joins", "Joins that had a route", stats.joins)?;
        self.counter(
            "channel_joins_over_rate",
            "Joins that closed their socket, being too many",
            stats.joins_over_rate,
        )?;
        self.counter("channel_joined", "Joins that were accepted", stats.joined)?;
        self.counter("channel_ended", "Joined channels that ended", stats.ended)?;
        self.counter(
            "channel_crashes",
            "Callbacks that panicked or failed",
            stats.crashes,
        )?;
        self.counter(
            "channel_blocking",
            "Times that a callback kept its thread for too long",
            stats.blocking,
        )?;
        self.gauge(
            "channel_inbox_waiting",
            "Messages that wait for channels",
            stats.inbox_waiting,
        )?;
        self.counter(
            "channel_inbox_dropped",
            "Messages that a full channel inbox lost",
            stats.inbox_dropped,
        )?;
        self.counter(
            "channel_unencodable",
            "Broadcasts that a client's version of the wire cannot carry",
            stats.unencodable,
        )?;
        self.write(
            "channel_handler_seconds",
            "How long callbacks of channels took",
            &Seconds(&stats.handler_time),
        )
    }

    fn outboxes(&mut self, waiting: Waiting) -> fmt::Result {
        self.gauge(
            "transport_outbox_items",
            "Frames and mails that wait for clients to read",
            waiting.items,
        )?;
        self.gauge("transport_outbox_bytes", "Bytes in these", waiting.bytes)
    }

    fn transport(&mut self, stats: &TransportStats) -> fmt::Result {
        self.gauge("connections", "Open sockets", stats.open)?;
        self.counter("transport_opened", "Sockets let in", stats.opened)?;
        self.counter(
            "transport_refused",
            "Sockets refused by the application",
            stats.refused,
        )?;
        self.counter(
            "transport_refused_closing",
            "Sockets refused while draining",
            stats.refused_closing,
        )?;
        self.counter(
            "transport_refused_full",
            "Sockets refused at the limit of all sockets",
            stats.refused_full,
        )?;
        self.counter(
            "transport_refused_address",
            "Sockets refused at the limit of their address",
            stats.refused_address,
        )?;
        self.counter(
            "transport_refused_user",
            "Sockets refused at the limit of their user",
            stats.refused_user,
        )?;
        self.counter(
            "transport_handshake_timeouts",
            "Sockets that took too long to open",
            stats.handshake_timeouts,
        )?;
        self.counter(
            "transport_crashes",
            "Sockets that ended by a panic of their own",
            stats.crashes,
        )?;
        self.counter(
            "transport_closed_idle",
            "Sockets closed for silence",
            stats.closed_idle,
        )?;
        self.counter(
            "transport_closed_slow",
            "Sockets closed for reading too slowly",
            stats.closed_slow,
        )?;
        self.counter(
            "transport_closed_inbound",
            "Sockets closed for sending too much",
            stats.closed_inbound,
        )?;
        self.counter(
            "transport_slowed_inbound",
            "Times that a socket began to be read more slowly for the bytes it had sent",
            stats.slowed_inbound,
        )?;
        self.counter(
            "transport_closed_too_big",
            "Sockets closed for a message over the limit",
            stats.closed_too_big,
        )?;
        self.counter(
            "transport_closed_unwritable",
            "Sockets closed for a frame larger than could be written to them",
            stats.closed_unwritable,
        )?;
        self.counter(
            "transport_closed_unfinished",
            "Sockets closed for a large message that did not end in time or gave way",
            stats.closed_unfinished,
        )?;
        self.counter(
            "transport_closed_unread",
            "Sockets closed since large frames that they had not read gave way to others'",
            stats.closed_unread,
        )?;
        self.counter(
            "transport_closed_malformed",
            "Sockets closed for bad UTF-8 or breaking their protocol",
            stats.closed_malformed,
        )?;
        self.counter(
            "transport_frames_unwritable",
            "Broadcasts that passed a socket over, too large for its carrier",
            stats.frames_unwritable,
        )?;
        self.counter(
            "transport_frames_dropped",
            "Frames dropped since their reader was slow",
            stats.frames_dropped,
        )?;
        self.counter(
            "transport_frames_replaced",
            "Waiting frames that a later one of their key replaced",
            stats.frames_replaced,
        )?;
        self.gauge(
            "transport_blocked",
            "Open sockets that cannot write what they have, since their clients read too slowly",
            stats.blocked,
        )?;
        self.counter(
            "transport_frames_written",
            "Frames written to sockets",
            stats.frames_written,
        )?;
        self.counter(
            "transport_bytes_written",
            "Bytes in these frames",
            stats.bytes_written,
        )
    }

    fn long_polling(&mut self, stats: &LongPollStats) -> fmt::Result {
        self.gauge("longpoll_sessions", "Long-poll sessions", stats.sessions)?;
        self.counter("longpoll_opened", "Long-poll sessions opened", stats.opened)?;
        self.counter(
            "longpoll_full",
            "Clients that found all long-poll sessions in use",
            stats.full,
        )?;
        self.counter(
            "longpoll_full_address",
            "Clients whose address had as many long-poll sessions as it may",
            stats.full_address,
        )?;
        self.counter(
            "longpoll_posts_refused",
            "Posts refused since too many bytes of posts were here already, or too many requests were under way between nodes",
            stats.posts_refused,
        )?;
        self.counter(
            "longpoll_forwarded",
            "Requests passed on to the node that has the session",
            stats.forwarded,
        )?;
        self.counter(
            "longpoll_forwarded_in_vain",
            "Of these, those that found no session there",
            stats.forwarded_in_vain,
        )?;
        self.counter(
            "longpoll_served",
            "Requests of other nodes for sessions of this one",
            stats.served,
        )?;
        self.counter(
            "longpoll_binary_dropped",
            "Binary frames that long polling cannot carry",
            stats.binary_dropped,
        )
    }

    fn pubsub(&mut self, stats: &pubsub::Stats) -> fmt::Result {
        self.gauge("pubsub_topics", "Topics with subscribers", stats.topics)?;
        self.gauge("pubsub_subscriptions", "Subscriptions", stats.subscriptions)?;
        self.counter(
            "pubsub_published",
            "Messages published on this node",
            stats.published,
        )?;
        self.counter(
            "pubsub_received",
            "Messages received from other nodes",
            stats.received,
        )?;
        self.counter(
            "pubsub_delivered",
            "Deliveries to subscribers of this node",
            stats.delivered,
        )?;
        self.counter(
            "pubsub_dropped",
            "Messages that a full mailbox lost",
            stats.dropped,
        )?;
        self.counter(
            "pubsub_dropped_for_peers",
            "Copies that the full queue to another node lost",
            stats.dropped_for_peers,
        )?;
        self.counter(
            "pubsub_unknown_kind",
            "Messages of a kind without dispatcher",
            stats.unknown_kind,
        )?;
        self.counter(
            "pubsub_panics",
            "Panics of sinks and dispatchers",
            stats.panics,
        )
    }

    fn presence(&mut self, stats: &matryoshka_presence::Stats) -> fmt::Result {
        self.counter(
            "presence_diffs",
            "presence_diff broadcasts to this node's clients",
            stats.diffs,
        )?;
        self.counter(
            "presence_counts",
            "presence_count broadcasts to this node's clients",
            stats.counts,
        )?;
        self.counter("presence_states", "presence_state pushes", stats.states)?;
        self.counter(
            "presence_lists_written",
            "Lists written for those pushes, each shared by clients that join at about the same time",
            stats.lists_written,
        )?;
        self.counter(
            "presence_entries_compared",
            "Entries of lists looked at to find out what changed",
            stats.entries_compared,
        )?;
        self.counter(
            "presence_resyncs",
            "Times that single diffs were lost and lists compared instead",
            stats.resyncs,
        )?;
        self.counter(
            "presence_fetches_failed",
            "Fetches that failed, panicked or took too long",
            stats.fetches_failed,
        )?;
        self.counter(
            "presence_fetches_panicked",
            "Fetches that panicked",
            stats.fetches_panicked,
        )?;
        self.counter(
            "presence_fetches_too_long",
            "Fetches dropped at their time limit",
            stats.fetches_too_long,
        )?;
        self.counter(
            "presence_fetches_not_begun",
            "Fetches that never began, since too many were under way or waiting",
            stats.fetches_not_begun,
        )?;
        self.counter(
            "presence_fetched_unasked",
            "Keys for which a fetch gave data that it was not asked for",
            stats.fetched_unasked,
        )?;
        self.counter(
            "presence_fetched_unfit",
            "Keys whose fetched data were left out, since they were no JSON object or too large",
            stats.fetched_unfit,
        )?;
        self.counter(
            "presence_handler_panics",
            "Calls of a handler of metas that panicked",
            stats.handler_panics,
        )
    }

    fn tracker(&mut self, stats: &tracker::Stats) -> fmt::Result {
        self.gauge(
            "tracker_own_entries",
            "Presences tracked on this node",
            stats.own_entries,
        )?;
        self.gauge(
            "tracker_linked_peers",
            "Links to other nodes, once per shard",
            stats.linked_peers,
        )?;
        self.gauge(
            "tracker_remembered_peers",
            "Nodes remembered, once per shard",
            stats.remembered_peers,
        )?;
        self.counter(
            "tracker_pushes_sent",
            "Batches of own operations sent to all",
            stats.pushes_sent,
        )?;
        self.counter(
            "tracker_vectors_sent",
            "Vectors sent to all",
            stats.vectors_sent,
        )?;
        self.counter(
            "tracker_pulls_sent",
            "Times that a peer was asked for what is missing",
            stats.pulls_sent,
        )?;
        self.counter(
            "tracker_ops_served",
            "Answers made of missed operations",
            stats.ops_served,
        )?;
        self.counter(
            "tracker_log_truncated",
            "Times that a peer had missed more than the log has",
            stats.log_truncated,
        )?;
        self.counter(
            "tracker_states_served",
            "Answers made of everything tracked here",
            stats.states_served,
        )?;
        self.counter(
            "tracker_states_resumed",
            "Times that a peer asked again for a state on its way, which went on",
            stats.states_resumed,
        )?;
        self.counter(
            "tracker_states_taken",
            "Complete states of peers taken over",
            stats.states_taken,
        )?;
        self.counter(
            "tracker_old_states",
            "Complete states that brought nothing new",
            stats.old_states,
        )?;
        self.counter(
            "tracker_broken_states",
            "Complete states with a part missing",
            stats.broken_states,
        )?;
        self.counter(
            "tracker_old_ops",
            "Operations that brought nothing new",
            stats.old_ops,
        )?;
        self.counter(
            "tracker_gaps",
            "Gaps noticed in what peers sent",
            stats.gaps,
        )?;
        self.counter(
            "tracker_stale_messages",
            "Messages of a link that is over",
            stats.stale_messages,
        )?;
        self.counter(
            "tracker_silent_peers",
            "Peers whose trackers were taken for closed, though their links were up",
            stats.silent_peers,
        )?;
        self.counter(
            "tracker_refused_lives",
            "Messages and links of a life that is over",
            stats.refused_lives,
        )?;
        self.counter(
            "tracker_refused_numbers",
            "Numbers that a peer asked for and none of this node can have had",
            stats.refused_numbers,
        )?;
        self.counter(
            "tracker_malformed_messages",
            "Malformed messages",
            stats.malformed_messages,
        )?;
        self.counter(
            "tracker_renumbered",
            "Times that this node took a higher number",
            stats.renumbered,
        )?;
        self.counter(
            "tracker_resets",
            "Times that all links started again",
            stats.resets,
        )?;
        self.counter(
            "tracker_inbox_dropped",
            "Messages that a full shard queue lost",
            stats.inbox_dropped,
        )?;
        self.gauge(
            "tracker_held_sets_now",
            "What nodes tracked before a restart and is held now, once per shard",
            stats.held_sets_now,
        )?;
        self.counter(
            "tracker_held_sets",
            "Copies of nodes that announced a restart and ended",
            stats.held_sets,
        )?;
        self.counter(
            "tracker_held_sets_asked",
            "Times that a peer was asked for what it holds of a third node",
            stats.held_sets_asked,
        )?;
        self.counter(
            "tracker_held_sets_taken",
            "Held sets taken over from peers",
            stats.held_sets_taken,
        )?;
        self.counter(
            "tracker_grace_used",
            "Held presences whose user came back in time",
            stats.grace_used,
        )?;
        self.counter(
            "tracker_grace_ended",
            "Held sets and presences whose time was over",
            stats.grace_ended,
        )?;
        self.counter(
            "tracker_holds_unconfirmed",
            "Holds that a linked node did not confirm in time",
            stats.holds_unconfirmed,
        )?;
        self.counter(
            "tracker_undecodable",
            "Entries left out of a typed list",
            stats.undecodable,
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.write(name, help, &ConstCounter::new(value))
    }

    fn gauge<N: TryInto<i64>>(&mut self, name: &str, help: &str, value: N) -> fmt::Result {
        self.write(
            name,
            help,
            &ConstGauge::new(value.try_into().unwrap_or(i64::MAX)),
        )
    }

    fn write(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }
}

/// Durations, as a histogram in seconds.
struct Seconds<'a>(&'a HandlerTime);

impl EncodeMetric for Seconds<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = HandlerTime::BOUNDS.iter().map(Duration::as_secs_f64);
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.counts).collect();
        let count = self.0.counts.iter().sum();
        let sum = self.0.total.as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
