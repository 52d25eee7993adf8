//! The guide's table of limits says what the code does.

use std::time::Duration;

use matryoshka_presence::PresenceConfig;
use matryoshka_presence::channel::transport::{
    self, ConnectionLimits, Limits, LongPollConfig, Rate, WebSocketConfig,
};
use matryoshka_presence::channel::{self, SocketsConfig, pubsub};
use matryoshka_presence::tracker::{Tracker, TrackerConfig};

use crate::sources::sources;

const PAGE: &str = include_str!("../../src/limits.md");

/// The names and defaults of the page's table.
fn table() -> Vec<(String, String, String)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let counters = cells.get(3).copied().unwrap_or_default();
        (
            cells[0].trim_matches('`').to_owned(),
            cells[1].to_owned(),
            counters.to_owned(),
        )
    })
    .collect()
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(bytes: usize) -> String {
    const KIB: usize = 1024;
    match bytes {
        _ if bytes.is_multiple_of(KIB * KIB) => format!("{} MiB", bytes / (KIB * KIB)),
        _ if bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{} bytes", grouped(bytes)),
    }
}

fn time(time: Duration) -> String {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    match time.as_secs() {
        seconds if seconds.is_multiple_of(DAY_SECONDS) => format!("{} days", seconds / DAY_SECONDS),
        seconds => format!("{seconds} s"),
    }
}

fn rate(rate: Option<Rate>) -> String {
    let rate = rate.expect("on by default");
    let [second, once] =
        [rate.each_second(), rate.at_once()].map(|number| grouped(number as usize));
    format!("{second} a second, {once} at once")
}

fn rate_of_bytes(rate: Option<Rate>) -> String {
    let rate = rate.expect("on by default");
    let [second, once] = [rate.each_second(), rate.at_once()].map(|number| bytes(number as usize));
    format!("{second} a second, {once} at once")
}

fn most(most: Option<usize>) -> String {
    grouped(most.expect("on by default"))
}

/// Fields and constants that look like limits of a client, and are none.
const NO_LIMITS: [&str; 6] = [
    "WebSocketConfig::read_buffer_bytes",
    "WebSocketConfig::write_buffer_bytes",
    "SocketsConfig::blocking_warning",
    "SocketsConfig::http",
    "MAX_MESSAGE_BYTES", // the default of several
    "MAX_KEYS",          // of the program's own
];

/// Every limit, by its name in the code. A new field of these types belongs here, and into the table.
fn limits() -> Vec<(&'static str, String)> {
    let connections = ConnectionLimits::default();
    let limits = Limits::default();
    let polls = LongPollConfig::default();
    let sockets = SocketsConfig::default();
    vec![
        (
            "ConnectionLimits::max_connections",
            most(connections.max_connections),
        ),
        (
            "ConnectionLimits::max_per_address",
            format!(
                "{}, loopback not counted",
                most(connections.max_per_address)
            ),
        ),
        (
            "ConnectionLimits::max_per_user",
            most(connections.max_per_user),
        ),
        (
            "ConnectionLimits::max_unfinished_bytes",
            bytes(connections.max_unfinished_bytes.expect("on by default")),
        ),
        (
            "ConnectionLimits::max_unread_bytes",
            bytes(connections.max_unread_bytes.expect("on by default")),
        ),
        (
            "ConnectionLimits::max_unhandled_bytes",
            bytes(connections.max_unhandled_bytes.expect("on by default")),
        ),
        ("Limits::handshake_timeout", time(limits.handshake_timeout)),
        ("Limits::idle_timeout", time(limits.idle_timeout)),
        ("Limits::message_timeout", time(limits.message_timeout)),
        ("Limits::close_timeout", time(limits.close_timeout)),
        ("Limits::inbound", rate(limits.inbound)),
        ("Limits::inbound_bytes", rate_of_bytes(limits.inbound_bytes)),
        ("Limits::outbox_bytes", bytes(limits.outbox_bytes)),
        (
            "Limits::outbox_large_bytes",
            bytes(limits.outbox_large_bytes),
        ),
        ("Limits::outbox_items", grouped(limits.outbox_items)),
        (
            "WebSocketConfig::max_message_bytes",
            bytes(WebSocketConfig::default().max_message_bytes),
        ),
        ("MAX_OUTGOING_BYTES", bytes(transport::MAX_OUTGOING_BYTES)),
        ("OUTPUT_PAUSE_BYTES", bytes(transport::OUTPUT_PAUSE_BYTES)),
        (
            "MAX_JSON_DEPTH",
            format!("{} levels", transport::MAX_JSON_DEPTH),
        ),
        ("MAX_REF_BYTES", bytes(transport::MAX_REF_BYTES)),
        ("MAX_EVENT_BYTES", bytes(transport::MAX_EVENT_BYTES)),
        ("MAX_QUERY_BYTES", bytes(transport::MAX_QUERY_BYTES)),
        ("MAX_PARAMS", grouped(transport::MAX_PARAMS)),
        (
            "MAX_PARAM_DEPTH",
            format!("{} brackets", transport::MAX_PARAM_DEPTH),
        ),
        (
            "MAX_CLOSE_REASON_BYTES",
            bytes(transport::MAX_CLOSE_REASON_BYTES),
        ),
        ("LongPollConfig::window", time(polls.window)),
        ("LongPollConfig::idle_timeout", time(polls.idle_timeout)),
        ("LongPollConfig::token_age", time(polls.token_age)),
        (
            "LongPollConfig::max_body_bytes",
            bytes(polls.max_body_bytes),
        ),
        ("LongPollConfig::body_timeout", time(polls.body_timeout)),
        (
            "LongPollConfig::max_posted_bytes",
            bytes(polls.max_posted_bytes),
        ),
        ("MAX_WAITING_POSTS", grouped(transport::MAX_WAITING_POSTS)),
        ("LongPollConfig::buffer_bytes", bytes(polls.buffer_bytes)),
        (
            "LongPollConfig::max_frame_bytes",
            bytes(polls.max_frame_bytes),
        ),
        ("LongPollConfig::max_sessions", grouped(polls.max_sessions)),
        (
            "LongPollConfig::max_sessions_per_address",
            format!(
                "{}, loopback not counted",
                most(polls.max_sessions_per_address)
            ),
        ),
        (
            "LongPollConfig::max_forwarded",
            format!("{} each way", grouped(polls.max_forwarded)),
        ),
        (
            "LongPollConfig::max_forwarded_bytes",
            format!("{} each way", bytes(polls.max_forwarded_bytes)),
        ),
        (
            "LongPollConfig::max_answer_bytes",
            bytes(polls.max_answer_bytes),
        ),
        ("SocketsConfig::max_channels", grouped(sockets.max_channels)),
        ("SocketsConfig::joins", rate(sockets.joins)),
        (
            "SocketsConfig::inbox_messages",
            grouped(sockets.inbox_messages),
        ),
        ("SocketsConfig::inbox_bytes", bytes(sockets.inbox_bytes)),
        ("SocketsConfig::waiting_bytes", bytes(sockets.waiting_bytes)),
        (
            "MAX_SUPERSEDED_JOINS",
            grouped(channel::MAX_SUPERSEDED_JOINS),
        ),
        (
            "REPLACED_CHANNEL_WAIT",
            time(channel::REPLACED_CHANNEL_WAIT),
        ),
        ("SocketsConfig::stall_timeout", time(sockets.stall_timeout)),
        (
            "SocketsConfig::terminate_timeout",
            time(sockets.terminate_timeout),
        ),
        ("MAX_HELD_FRAMES", grouped(channel::MAX_HELD_FRAMES)),
        ("MAX_HELD_BYTES", bytes(channel::MAX_HELD_BYTES)),
        (
            "MAX_TIMERS",
            format!("{} a channel", grouped(channel::MAX_TIMERS)),
        ),
        ("LISTED_PER_NODE", grouped(channel::LISTED_PER_NODE)),
        (
            "pubsub::Limits::topic_bytes",
            bytes(pubsub::Limits::default().topic_bytes()),
        ),
        ("MAX_TOKEN_BYTES", bytes(channel::MAX_TOKEN_BYTES)),
    ]
}

#[test]
fn the_table_of_limits_is_what_the_code_does() {
    let written: Vec<(String, String)> = table()
        .into_iter()
        .map(|(name, default, _)| (name, default))
        .collect();
    let limits: Vec<(String, String)> = limits()
        .into_iter()
        .map(|(name, default)| (name.to_owned(), default))
        .collect();
    assert_eq!(written, limits);
}

/// Those of lists: what may be named is, and of the rest the source is read.
#[test]
fn the_table_of_presence_is_what_the_code_does() {
    let tracker = TrackerConfig::default();
    let rows = [
        ("MAX_KEY_BYTES", bytes(Tracker::MAX_KEY_BYTES)),
        ("MAX_META_BYTES", bytes(Tracker::MAX_META_BYTES)),
        (
            "PresenceConfig::fetch_limit",
            time(PresenceConfig::DEFAULT_FETCH_LIMIT),
        ),
        ("TrackerConfig::inbox_bytes", bytes(tracker.inbox_bytes)),
        ("inbox_messages", grouped(tracker.inbox_messages)),
        (
            "TrackerConfig::consumer_diffs",
            grouped(tracker.consumer_diffs),
        ),
        ("TrackerConfig::log_bytes", bytes(tracker.log_bytes)),
        (
            "TrackerConfig::permdown_period",
            format!("{} min", tracker.permdown_period.as_secs() / 60),
        ),
    ];
    for (name, most) in rows {
        assert!(PAGE.contains(&format!("`{name}`, {most}")), "{name} {most}");
    }
    let source = sources(&["crates/presence/src"]);
    for (name, most, code) in [
        ("MAX_EXTRA_BYTES", "1 MiB", "usize = 1024 * 1024;"),
        ("MOST_WAITING", "16,384", "usize = 16_384;"),
        ("MAX_DIFF_BYTES", "7 MiB", "usize = 7 * 1024 * 1024;"),
        ("BASES", "8", "usize = 8;"),
        ("ASKED", "1,024", "usize = 1_024;"),
        ("KEPT", "60 s", "Duration = Duration::from_secs(60);"),
        ("MOST_BYTES", "32 MiB", "usize = 32 * 1024 * 1024;"),
    ] {
        assert!(PAGE.contains(&format!("`{name}`, {most}")), "{name}");
        assert!(source.contains(&format!("const {name}: {code}")), "{name}");
    }
}

#[test]
fn no_field_of_a_limit_is_left_out() {
    let named: Vec<&str> = limits().iter().map(|(name, _)| *name).collect();
    for (owner, all) in [
        (
            "ConnectionLimits",
            format!("{:?}", ConnectionLimits::default()),
        ),
        ("Limits", format!("{:?}", Limits::default())),
        ("LongPollConfig", format!("{:?}", LongPollConfig::default())),
        (
            "WebSocketConfig",
            format!("{:?}", WebSocketConfig::default()),
        ),
        ("SocketsConfig", format!("{:?}", SocketsConfig::default())),
        ("pubsub::Limits", format!("{:?}", pubsub::Limits::default())),
    ] {
        let body = all.split_once('{').unwrap().1;
        let (mut depth, mut fields) = (0, 0);
        for word in body.split_inclusive([' ', '{', '}', '(', ')']) {
            let ends_name = word.trim_end().strip_suffix(':').filter(|_| depth == 0);
            if let Some(field) = ends_name {
                let name = format!("{owner}::{field}");
                if !NO_LIMITS.contains(&name.as_str()) {
                    assert!(named.contains(&name.as_str()), "{name} is in no table");
                    fields += 1;
                }
            }
            match word.trim_end().chars().last() {
                Some('{' | '(') => depth += 1,
                Some('}' | ')') => depth -= 1,
                _ => {}
            }
        }
        let rows = named
            .iter()
            .filter(|name| name.starts_with(&format!("{owner}::")));
        assert_eq!(fields, rows.count(), "{all}");
    }
}

#[test]
fn no_constant_that_is_a_limit_is_left_out() {
    let named: Vec<&str> = limits().iter().map(|(name, _)| *name).collect();
    let sources = sources(&["crates/transport/src", "crates/channel/src"]);
    let constants = sources.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
        name.starts_with("MAX_").then_some(name)
    });
    let (known, left_out): (Vec<_>, Vec<_>) = constants
        .filter(|name| !NO_LIMITS.contains(name))
        .partition(|name| named.contains(name));
    assert!(known.len() > 10, "{known:?}");
    assert_eq!(left_out, [""; 0], "in no table");
}

#[test]
fn counters_of_the_table_are_counters_of_the_code() {
    let stats = format!(
        "{:?} {:?} {:?}",
        transport::Stats::default(),
        transport::LongPollStats::default(),
        channel::Stats::default()
    );
    for (name, _, counters) in table() {
        for counter in counters.split(", ").filter(|counter| !counter.is_empty()) {
            let counter = counter.trim_matches('`');
            assert!(
                stats.contains(&format!("{counter}: ")),
                "{name}: no counter {counter}"
            );
        }
    }
}
