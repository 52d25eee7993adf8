//! What `GET /metrics` says of channels.

use matryoshka_presence::channel::Stats;

use super::metric::{Metric, counter, gauge};

pub(super) const CHANNELS: &[Metric<Stats>] = &[
    counter("channel_connected", "Connections accepted", |s| s.connected),
    counter(
        "channel_disconnected",
        "Accepted connections that ended",
        |s| s.disconnected,
    ),
    counter("channel_messages_in", "Messages from clients", |s| {
        s.messages_in
    }),
    counter(
        "channel_malformed_frames",
        "Frames that closed their socket with 1011",
        |s| s.malformed_frames,
    ),
    counter("channel_joins", "Joins that had a route", |s| s.joins),
    counter(
        "channel_joins_over_rate",
        "Joins that closed their socket, being too many",
        |s| s.joins_over_rate,
    ),
    counter("channel_joined", "Joins that were accepted", |s| s.joined),
    counter("channel_ended", "Joined channels that ended", |s| s.ended),
    counter(
        "channel_crashes",
        "Callbacks that panicked or failed",
        |s| s.crashes,
    ),
    counter(
        "channel_blocking",
        "Times that a callback kept its thread for too long",
        |s| s.blocking,
    ),
    gauge(
        "channel_inbox_waiting",
        "Messages that wait for channels",
        |s| s.inbox_waiting,
    ),
    counter(
        "channel_inbox_dropped",
        "Messages that a full channel inbox lost",
        |s| s.inbox_dropped,
    ),
    counter(
        "channel_unencodable",
        "Broadcasts that a client's version of the wire cannot carry",
        |s| s.unencodable,
    ),
];
