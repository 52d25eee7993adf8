//! What `GET /metrics` says of sockets, whatever their carrier, and of long polling.

use matryoshka_presence::channel::transport::{LongPollStats, Stats, Waiting};

use super::metric::{Metric, counter, gauge};

pub(super) const SOCKETS: &[Metric<Stats>] = &[
    gauge("connections", "Open sockets", |s| s.open as u64),
    counter("transport_opened", "Sockets let in", |s| s.opened),
    counter(
        "transport_refused",
        "Sockets refused by the application",
        |s| s.refused,
    ),
    counter(
        "transport_refused_closing",
        "Sockets refused while draining",
        |s| s.refused_closing,
    ),
    counter(
        "transport_refused_full",
        "Sockets refused at the limit of all sockets",
        |s| s.refused_full,
    ),
    counter(
        "transport_refused_address",
        "Sockets refused at the limit of their address",
        |s| s.refused_address,
    ),
    counter(
        "transport_refused_user",
        "Sockets refused at the limit of their user",
        |s| s.refused_user,
    ),
    counter(
        "transport_handshake_timeouts",
        "Sockets that took too long to open",
        |s| s.handshake_timeouts,
    ),
    counter(
        "transport_crashes",
        "Sockets that ended by a panic of their own",
        |s| s.crashes,
    ),
    counter("transport_closed_idle", "Sockets closed for silence", |s| {
        s.closed_idle
    }),
    counter(
        "transport_closed_slow",
        "Sockets closed for reading too slowly",
        |s| s.closed_slow,
    ),
    counter(
        "transport_closed_inbound",
        "Sockets closed for sending too much",
        |s| s.closed_inbound,
    ),
    counter(
        "transport_slowed_inbound",
        "Times that a socket began to be read more slowly for the bytes it had sent",
        |s| s.slowed_inbound,
    ),
    counter(
        "transport_paused_unhandled",
        "Times that a socket began not to be read for what channels had not worked off",
        |s| s.paused_unhandled,
    ),
    counter(
        "transport_closed_too_big",
        "Sockets closed for a message over the limit",
        |s| s.closed_too_big,
    ),
    counter(
        "transport_closed_unwritable",
        "Sockets closed for a frame larger than could be written to them",
        |s| s.closed_unwritable,
    ),
    counter(
        "transport_closed_unfinished",
        "Sockets closed for a large message that did not end in time or gave way",
        |s| s.closed_unfinished,
    ),
    counter(
        "transport_closed_unread",
        "Sockets closed since what they had not read gave way to others'",
        |s| s.closed_unread,
    ),
    counter(
        "transport_closed_malformed",
        "Sockets closed for bad UTF-8 or breaking their protocol",
        |s| s.closed_malformed,
    ),
    counter(
        "transport_frames_unwritable",
        "Broadcasts that passed a socket over, too large for its carrier",
        |s| s.frames_unwritable,
    ),
    counter(
        "transport_frames_dropped",
        "Frames dropped since their reader was slow",
        |s| s.frames_dropped,
    ),
    counter(
        "transport_frames_replaced",
        "Waiting frames that a later one of their key replaced",
        |s| s.frames_replaced,
    ),
    gauge(
        "transport_blocked",
        "Open sockets that cannot write what they have, since their clients read too slowly",
        |s| s.blocked as u64,
    ),
    counter(
        "transport_frames_written",
        "Frames written to sockets",
        |s| s.frames_written,
    ),
    counter("transport_bytes_written", "Bytes in these frames", |s| {
        s.bytes_written
    }),
];

pub(super) const OUTBOXES: &[Metric<Waiting>] = &[
    gauge(
        "transport_outbox_items",
        "Frames and mails that wait for clients to read",
        |s| s.items as u64,
    ),
    gauge("transport_outbox_bytes", "Bytes in these", |s| {
        s.bytes as u64
    }),
];

pub(super) const LONG_POLLING: &[Metric<LongPollStats>] = &[
    gauge("longpoll_sessions", "Long-poll sessions", |s| {
        s.sessions as u64
    }),
    counter("longpoll_opened", "Long-poll sessions opened", |s| s.opened),
    counter(
        "longpoll_full",
        "Clients that found all long-poll sessions in use",
        |s| s.full,
    ),
    counter(
        "longpoll_full_address",
        "Clients whose address had as many long-poll sessions as it may",
        |s| s.full_address,
    ),
    counter(
        "longpoll_posts_refused",
        "Posts refused since too many bytes of posts were here already, or too many requests were under way between nodes",
        |s| s.posts_refused,
    ),
    counter(
        "longpoll_forwarded",
        "Requests passed on to the node that has the session",
        |s| s.forwarded,
    ),
    counter(
        "longpoll_forwarded_in_vain",
        "Of these, those that found no session there",
        |s| s.forwarded_in_vain,
    ),
    counter(
        "longpoll_served",
        "Requests of other nodes for sessions of this one",
        |s| s.served,
    ),
    counter(
        "longpoll_binary_dropped",
        "Binary frames that long polling cannot carry",
        |s| s.binary_dropped,
    ),
];
