//! What `GET /metrics` says of the links to other nodes: sums, and one line for each of them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use matryoshka_pubsub_quic::pubsub::cluster::MemberState;
use matryoshka_pubsub_quic::pubsub::cluster::interest::Counters;
use matryoshka_pubsub_quic::{LinkInfo, PeerInfo, QuicAdapter, Stats};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Page;
use super::metric::{Metric, counter, gauge};

/// One of several values of a metric, told apart by a label.
type Labelled<T, N> = (&'static str, fn(&T) -> N);

const NODE: &[Metric<Stats>] = &[
    gauge("quic_up", "Other nodes with a link", |s| s.up),
    gauge(
        "quic_connections",
        "QUIC connections, in whatever stage",
        |s| s.connections,
    ),
    gauge(
        "quic_ring_entries",
        "Messages that wait since no other node asked for their topic",
        |s| s.ring_entries as u64,
    ),
    gauge("quic_ring_bytes", "The same in bytes", |s| {
        s.ring_bytes as u64
    }),
    gauge(
        "quic_topics_wanted",
        "Topics that this node wants of the others",
        |s| s.topics_wanted as u64,
    ),
    gauge(
        "quic_topics_of_peers",
        "Different topics that other nodes want",
        |s| s.topics_of_peers as u64,
    ),
    counter("quic_dials", "Attempts to reach another node", |s| s.dials),
    counter("quic_accepted", "Connections that others made", |s| {
        s.accepted
    }),
    counter("quic_refused", "Handshakes of others that failed", |s| {
        s.refused
    }),
    counter(
        "quic_skipped_frames",
        "Frames of a kind unknown to this version",
        |s| s.skipped_frames,
    ),
    counter(
        "quic_skipped_fields",
        "Fields unknown to this version",
        |s| s.skipped_fields,
    ),
    counter("quic_sent", "Messages queued for other nodes", |s| s.sent),
    counter(
        "quic_sent_bytes",
        "Bytes of payload queued for other nodes",
        |s| s.sent_bytes,
    ),
    counter(
        "quic_dropped",
        "Messages that a full queue to another node lost",
        |s| s.dropped,
    ),
    counter(
        "quic_dropped_too_large",
        "Messages larger than another node takes",
        |s| s.dropped_too_large,
    ),
    counter("quic_received", "Messages received from other nodes", |s| {
        s.received
    }),
    counter(
        "quic_received_bytes",
        "Bytes of payload received from other nodes",
        |s| s.received_bytes,
    ),
    counter(
        "quic_lost",
        "Messages that other nodes lost on their way here",
        |s| s.lost,
    ),
    counter(
        "quic_encoded",
        "Times that a message was written as bytes, whatever the number of nodes",
        |s| s.encoded,
    ),
    counter(
        "quic_arrived_for_nobody",
        "Messages received while nobody here was subscribed",
        |s| s.routing.arrived_for_nobody,
    ),
    counter(
        "quic_resyncs",
        "Times that another node was asked to tell its interest anew",
        |s| s.routing.resyncs,
    ),
];

/// Of each other node, whether it has a link now or not.
const PEER_SUMS: &[Metric<PeerInfo>] = &[
    counter("quic_peer_sent", "Messages queued for that node", |p| {
        p.sent
    }),
    counter(
        "quic_peer_sent_bytes",
        "Bytes of payload queued for that node",
        |p| p.sent_bytes,
    ),
    counter("quic_peer_dropped", "Messages dropped for that node", |p| {
        p.dropped
    }),
    counter(
        "quic_peer_dropped_too_large",
        "Messages larger than that node takes",
        |p| p.dropped_too_large,
    ),
    counter(
        "quic_peer_gaps",
        "Times that the node was told of dropped messages",
        |p| p.gaps,
    ),
    counter(
        "quic_peer_received",
        "Messages received from that node",
        |p| p.received,
    ),
    counter(
        "quic_peer_received_bytes",
        "Bytes of payload received from that node",
        |p| p.received_bytes,
    ),
    counter(
        "quic_peer_lost",
        "Messages that the node lost on their way here",
        |p| p.lost,
    ),
    counter(
        "quic_peer_reconnects",
        "Links to that node after the first",
        |p| p.links.saturating_sub(1),
    ),
];

/// Why a copy was sent, or what was done instead.
const ROUTES: &[Labelled<Counters, u64>] = &[
    ("wanted", |c| c.sent),
    ("flooded_start", |c| c.flooded_start),
    ("flooded_full", |c| c.flooded_full),
    ("flooded_old_peer", |c| c.flooded_old_peer),
    ("flooded_over_limit", |c| c.flooded_over_limit),
    ("flushed", |c| c.flushed),
    ("replayed", |c| c.replayed),
    ("held", |c| c.held),
    ("trimmed", |c| c.trimmed),
];

/// Of each other node with a link.
const LINK_GAUGES: &[Metric<LinkInfo, Option<f64>>] = &[
    gauge(
        "quic_peer_round_trip_seconds",
        "Round trip to that node",
        |link| Some(link.round_trip.as_secs_f64()),
    ),
    gauge(
        "quic_peer_protocol",
        "Version of the protocol spoken with that node",
        |link| Some(f64::from(link.protocol)),
    ),
    gauge(
        "quic_peer_interest",
        "1 if both ends of the link route by interest",
        |link| Some(f64::from(u8::from(link.interest))),
    ),
    gauge(
        "quic_peer_certificate_end_seconds",
        "End of that node's certificate, since 1970",
        |link| link.certificate_end.and_then(unix_seconds),
    ),
];

const QUEUES: &[Labelled<LinkInfo, usize>] = &[
    ("control", |link| link.queued.control),
    ("tracker", |link| link.queued.tracker),
    ("user", |link| link.queued.user),
    ("bulk", |link| link.queued.bulk),
];

const STATES: [(&str, MemberState); 5] = [
    ("up", MemberState::Up),
    ("suspect", MemberState::Suspect),
    ("down", MemberState::Down),
    ("leaving", MemberState::Leaving),
    ("restarting", MemberState::Restarting),
];

/// Writes all of it.
pub(super) fn write(page: &mut Page<'_>, adapter: &QuicAdapter) -> fmt::Result {
    let (stats, peers) = (adapter.stats(), adapter.peers());
    page.rows(NODE, &stats)?;
    for metric in PEER_SUMS {
        let mut family = Family::counter(metric.name, metric.help);
        for peer in &peers {
            family.line(of(peer), (metric.value)(peer));
        }
        family.write(page)?;
    }
    write_routes(page, &peers)?;
    write_states(page, &peers)?;
    write_links(page, &peers)
}

fn write_routes(page: &mut Page<'_>, peers: &[PeerInfo]) -> fmt::Result {
    let mut family = Family::counter(
        "quic_peer_copies",
        "Copies of messages for that node, by why they were sent or what was done instead",
    );
    for peer in peers {
        for (why, count) in ROUTES {
            family.line((of(peer), [("why", *why)]), count(&peer.routing));
        }
    }
    family.write(page)
}

fn write_states(page: &mut Page<'_>, peers: &[PeerInfo]) -> fmt::Result {
    let mut family = Family::gauge("quic_peer_state", "1 for the state that node is in");
    for peer in peers {
        for (word, state) in STATES {
            let is = f64::from(u8::from(peer.state == state));
            family.line((of(peer), [("state", word)]), is);
        }
    }
    family.write(page)
}

fn write_links(page: &mut Page<'_>, peers: &[PeerInfo]) -> fmt::Result {
    let linked = || {
        let linked = |peer| {
            let peer: &PeerInfo = peer;
            Some((peer, peer.link.as_ref()?))
        };
        peers.iter().filter_map(linked)
    };
    for metric in LINK_GAUGES {
        let mut family = Family::gauge(metric.name, metric.help);
        for (peer, link) in linked() {
            if let Some(value) = (metric.value)(link) {
                family.line(of(peer), value);
            }
        }
        family.write(page)?;
    }
    let mut family = Family::gauge("quic_peer_queued_bytes", "Bytes that wait for that node");
    for (peer, link) in linked() {
        for (class, bytes) in QUEUES {
            family.line((of(peer), [("class", *class)]), bytes(link) as f64);
        }
    }
    family.write(page)
}

/// A metric with a line for each set of labels.
struct Family<L, M> {
    name: &'static str,
    help: &'static str,
    make: fn(M) -> Box<dyn EncodeMetric>,
    lines: Vec<(L, M)>,
}

impl<L> Family<L, u64> {
    fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            make: |value| Box::new(ConstCounter::new(value)),
            lines: Vec::new(),
        }
    }
}

impl<L> Family<L, f64> {
    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            make: |value| Box::new(ConstGauge::new(value)),
            lines: Vec::new(),
        }
    }
}

impl<L: EncodeLabelSet, M> Family<L, M> {
    fn line(&mut self, labels: L, value: M) {
        self.lines.push((labels, value));
    }

    /// Without any line, nothing is written.
    fn write(self, page: &mut Page<'_>) -> fmt::Result {
        let mut lines = self
            .lines
            .into_iter()
            .map(|(labels, value)| (labels, (self.make)(value)));
        let Some(first) = lines.next() else {
            return Ok(());
        };
        let kind = first.1.metric_type();
        let mut encoder = page.0.encode_descriptor(self.name, self.help, None, kind)?;
        for (labels, metric) in std::iter::once(first).chain(lines) {
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn of(peer: &PeerInfo) -> [(&'static str, &str); 1] {
    [("peer", peer.name.as_str())]
}

fn unix_seconds(time: SystemTime) -> Option<f64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}
