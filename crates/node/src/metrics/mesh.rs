//! What `GET /metrics` says of the links to other nodes: sums, and one line for each of them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use matryoshka_pubsub_quic::pubsub::cluster::MemberState;
use matryoshka_pubsub_quic::pubsub::cluster::interest::Counters;
use matryoshka_pubsub_quic::{LinkInfo, PeerInfo, QuicAdapter, Stats};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Page;

/// Name and meaning.
type Says = (&'static str, &'static str);

const SUMS: [(Says, fn(&Stats) -> u64); 15] = [
    (("quic_dials", "Attempts to reach another node"), |s| {
        s.dials
    }),
    (("quic_accepted", "Connections that others made"), |s| {
        s.accepted
    }),
    (("quic_refused", "Handshakes of others that failed"), |s| {
        s.refused
    }),
    (
        (
            "quic_skipped_frames",
            "Frames of a kind unknown to this version",
        ),
        |s| s.skipped_frames,
    ),
    (
        ("quic_skipped_fields", "Fields unknown to this version"),
        |s| s.skipped_fields,
    ),
    (("quic_sent", "Messages queued for other nodes"), |s| s.sent),
    (
        ("quic_sent_bytes", "Bytes of payload queued for other nodes"),
        |s| s.sent_bytes,
    ),
    (
        (
            "quic_dropped",
            "Messages that a full queue to another node lost",
        ),
        |s| s.dropped,
    ),
    (
        (
            "quic_dropped_too_large",
            "Messages larger than another node takes",
        ),
        |s| s.dropped_too_large,
    ),
    (
        ("quic_received", "Messages received from other nodes"),
        |s| s.received,
    ),
    (
        (
            "quic_received_bytes",
            "Bytes of payload received from other nodes",
        ),
        |s| s.received_bytes,
    ),
    (
        (
            "quic_lost",
            "Messages that other nodes lost on their way here",
        ),
        |s| s.lost,
    ),
    (
        (
            "quic_encoded",
            "Times that a message was written as bytes, whatever the number of nodes",
        ),
        |s| s.encoded,
    ),
    (
        (
            "quic_arrived_for_nobody",
            "Messages received while nobody here was subscribed",
        ),
        |s| s.routing.arrived_for_nobody,
    ),
    (
        (
            "quic_resyncs",
            "Times that another node was asked to tell its interest anew",
        ),
        |s| s.routing.resyncs,
    ),
];

const GAUGES: [(Says, fn(&Stats) -> u64); 6] = [
    (("quic_up", "Other nodes with a link"), |s| s.up),
    (
        ("quic_connections", "QUIC connections, in whatever stage"),
        |s| s.connections,
    ),
    (
        (
            "quic_ring_entries",
            "Messages that wait since no other node asked for their topic",
        ),
        |s| s.ring_entries as u64,
    ),
    (("quic_ring_bytes", "The same in bytes"), |s| {
        s.ring_bytes as u64
    }),
    (
        (
            "quic_topics_wanted",
            "Topics that this node wants of the others",
        ),
        |s| s.topics_wanted as u64,
    ),
    (
        (
            "quic_topics_of_peers",
            "Different topics that other nodes want",
        ),
        |s| s.topics_of_peers as u64,
    ),
];

/// Of each other node, whether it has a link now or not.
const PEER_SUMS: [(Says, fn(&PeerInfo) -> u64); 9] = [
    (("quic_peer_sent", "Messages queued for that node"), |p| {
        p.sent
    }),
    (
        (
            "quic_peer_sent_bytes",
            "Bytes of payload queued for that node",
        ),
        |p| p.sent_bytes,
    ),
    (
        ("quic_peer_dropped", "Messages dropped for that node"),
        |p| p.dropped,
    ),
    (
        (
            "quic_peer_dropped_too_large",
            "Messages larger than that node takes",
        ),
        |p| p.dropped_too_large,
    ),
    (
        (
            "quic_peer_gaps",
            "Times that the node was told of dropped messages",
        ),
        |p| p.gaps,
    ),
    (
        ("quic_peer_received", "Messages received from that node"),
        |p| p.received,
    ),
    (
        (
            "quic_peer_received_bytes",
            "Bytes of payload received from that node",
        ),
        |p| p.received_bytes,
    ),
    (
        (
            "quic_peer_lost",
            "Messages that the node lost on their way here",
        ),
        |p| p.lost,
    ),
    (
        ("quic_peer_reconnects", "Links to that node after the first"),
        |p| p.links.saturating_sub(1),
    ),
];

/// Why a copy was sent, or what was done instead.
const ROUTES: [(&str, fn(&Counters) -> u64); 9] = [
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
const LINK_GAUGES: [(Says, fn(&LinkInfo) -> Option<f64>); 4] = [
    (
        ("quic_peer_round_trip_seconds", "Round trip to that node"),
        |link| Some(link.round_trip.as_secs_f64()),
    ),
    (
        (
            "quic_peer_protocol",
            "Version of the protocol spoken with that node",
        ),
        |link| Some(f64::from(link.protocol)),
    ),
    (
        (
            "quic_peer_interest",
            "1 if both ends of the link route by interest",
        ),
        |link| Some(f64::from(u8::from(link.interest))),
    ),
    (
        (
            "quic_peer_certificate_end_seconds",
            "End of that node's certificate, since 1970",
        ),
        |link| link.certificate_end.and_then(unix_seconds),
    ),
];

const QUEUES: [(&str, fn(&LinkInfo) -> usize); 4] = [
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
    for ((name, help), value) in GAUGES {
        page.gauge(name, help, value(&stats))?;
    }
    for ((name, help), value) in SUMS {
        page.counter(name, help, value(&stats))?;
    }
    for (says, value) in PEER_SUMS {
        let of_each = peers.iter().map(|peer| (label(peer), value(peer)));
        family(page, says, MetricType::Counter, of_each, ConstCounter::new)?;
    }
    let says = (
        "quic_peer_copies",
        "Copies of messages for that node, by why they were sent or what was done instead",
    );
    let routes = peers.iter().flat_map(|peer| {
        ROUTES.map(|(why, count)| ((label(peer), [("why", why)]), count(&peer.routing)))
    });
    family(page, says, MetricType::Counter, routes, ConstCounter::new)?;
    write_states(page, &peers)?;
    write_links(page, &peers)
}

fn write_states(page: &mut Page<'_>, peers: &[PeerInfo]) -> fmt::Result {
    let says = ("quic_peer_state", "1 for the state that node is in");
    let states = peers.iter().flat_map(|peer| {
        let is = |state| u64::from(peer.state == state);
        STATES.map(|(word, state)| ((label(peer), [("state", word)]), is(state)))
    });
    family(page, says, MetricType::Gauge, states, ConstGauge::new)
}

fn write_links(page: &mut Page<'_>, peers: &[PeerInfo]) -> fmt::Result {
    let linked = |peer| {
        let peer: &PeerInfo = peer;
        Some((label(peer), peer.link.as_ref()?))
    };
    for (says, value) in LINK_GAUGES {
        let of_each = peers.iter().filter_map(linked);
        let of_each = of_each.filter_map(|(label, link)| Some((label, value(link)?)));
        family(page, says, MetricType::Gauge, of_each, ConstGauge::new)?;
    }
    let says = ("quic_peer_queued_bytes", "Bytes that wait for that node");
    let queues = peers.iter().filter_map(linked).flat_map(|(label, link)| {
        QUEUES.map(|(class, bytes)| ((label, [("class", class)]), bytes(link)))
    });
    family(page, says, MetricType::Gauge, queues, ConstGauge::new)
}

/// One metric with a line for each set of labels. Without any, it is not written at all.
fn family<L, N, M>(
    page: &mut Page<'_>,
    (name, help): Says,
    kind: MetricType,
    lines: impl IntoIterator<Item = (L, N)>,
    metric: impl Fn(N) -> M,
) -> fmt::Result
where
    L: EncodeLabelSet,
    M: EncodeMetric,
{
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    let mut encoder = page.0.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in lines {
        metric(value).encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

fn label(peer: &PeerInfo) -> [(&'static str, &str); 1] {
    [("peer", peer.name.as_str())]
}

fn unix_seconds(time: SystemTime) -> Option<f64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}
