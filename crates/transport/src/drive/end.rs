//! Why a connection ended: how it is counted, what its client is told, and what the log says.

use crate::{
    close::{Close, CloseCode},
    connections::Entered,
    excerpt::excerpt,
    log_limit::LogLimit,
    outbox::Overflowed,
    stats::{Counter, Counters},
    transport::{ReadError, WriteError},
};

/// Why the loop ended.
#[derive(Debug)]
pub(super) enum End {
    Client(Option<CloseCode>),
    Lost,
    Idle,
    Closed(Close),
    Breach(Breach),
    /// The session panicked.
    Crashed,
}

/// A limit that was broken, or a protocol.
#[derive(Debug)]
pub(super) enum Breach {
    /// A frame for the client is larger than its carrier can write.
    Unwritable {
        bytes: Option<usize>,
    },
    Slow,
    Inbound,
    TooBig,
    /// A large message took too long to come.
    Late,
    /// One gave way to those of others.
    GaveWay,
    /// What its client did not read gave way to that of others.
    Unread,
    NotUtf8,
    /// What was wrong, in the carrier's words.
    Protocol(String),
}

impl End {
    /// Counts it, if it is one of those that have a counter.
    pub(super) fn count(&self, counters: &Counters) {
        let counter: &Counter = match self {
            Self::Client(_) | Self::Lost | Self::Closed(_) => return,
            Self::Idle => &counters.closed_idle,
            Self::Crashed => &counters.crashes,
            Self::Breach(Breach::Unwritable { .. }) => &counters.closed_unwritable,
            Self::Breach(Breach::Slow) => &counters.closed_slow,
            Self::Breach(Breach::Inbound) => &counters.closed_inbound,
            Self::Breach(Breach::TooBig) => &counters.closed_too_big,
            Self::Breach(Breach::Late | Breach::GaveWay) => &counters.closed_unfinished,
            Self::Breach(Breach::Unread) => &counters.closed_unread,
            Self::Breach(Breach::NotUtf8 | Breach::Protocol(_)) => &counters.closed_malformed,
        };
        counter.add_one();
    }
}

impl Breach {
    /// One line that names the connection, the limit and the cure, or what the client did. It never repeats what was sent. Of its kind
    /// there is one a second, with the number of those left out.
    pub(super) fn explain(&self, entered: &Entered) {
        let Some(left_out) = self.lines(entered).pass_now() else {
            return;
        };
        let socket = entered.user().map(excerpt);
        let peer = entered.address().map(tracing::field::display);
        match self.limit_and_cure() {
            Some((limit, cure)) => tracing::warn!(
                limit,
                socket,
                peer,
                left_out,
                "a connection is closed: {cure}"
            ),
            None => self.explain_itself(socket, peer, left_out),
        }
    }

    /// The limit that was broken, by its name, and what to do; none for what has more to tell, or has no limit.
    fn limit_and_cure(&self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Slow => (
                "Limits::outbox_bytes, outbox_large_bytes or outbox_items",
                "its client reads too slowly; raise the limit, or let events give way by a WhenSlow",
            ),
            Self::Inbound => (
                "Limits::inbound",
                "its client sends too many messages, or pings; raise Limits::inbound if they are meant",
            ),
            Self::TooBig => (
                "WebSocketConfig::max_message_bytes",
                "its client sent a message over the limit; raise WebSocketConfig::max_message_bytes if it is meant",
            ),
            Self::Late => (
                "Limits::message_timeout",
                "its client sent a large message too slowly; raise Limits::message_timeout if its network is as slow",
            ),
            Self::GaveWay => (
                "ConnectionLimits::max_unfinished_bytes",
                "of all large messages that are not whole, together over the limit, those from its client's address have more than \
                 half of an equal share, and of such its own had not grown for the longest; \
                 raise ConnectionLimits::max_unfinished_bytes if so many are meant",
            ),
            Self::Unread => (
                "ConnectionLimits::max_unread_bytes",
                "of all that clients have not read, together over the limit, those for its client's address have more than \
                 half of an equal share, and of such clients its own had read nothing for the longest; \
                 raise ConnectionLimits::max_unread_bytes if so many are meant",
            ),
            Self::Unwritable { .. } | Self::NotUtf8 | Self::Protocol(_) => return None,
        })
    }

    fn explain_itself(
        &self,
        socket: Option<&str>,
        peer: Option<impl tracing::Value>,
        left_out: u64,
    ) {
        match self {
            Self::Unwritable { bytes } => tracing::warn!(
                limit = "MAX_OUTGOING_BYTES, or LongPollConfig::max_frame_bytes",
                bytes,
                socket,
                peer,
                left_out,
                "a connection is closed: a frame for its client is larger than its carrier can write, and will be again when the \
                 client is back; send less at once (a long presence list, say), or raise LongPollConfig::max_frame_bytes where it \
                 came by long polling"
            ),
            Self::NotUtf8 => tracing::info!(
                socket,
                peer,
                left_out,
                "a connection is closed: its client sent text that is not UTF-8; bytes go into binary frames"
            ),
            Self::Protocol(problem) => tracing::info!(
                // The words may be those of a carrier of the user's own.
                problem = %format_args!("{problem:.100}"),
                socket,
                peer,
                left_out,
                "a connection is closed: its client broke the protocol of its carrier"
            ),
            _ => {}
        }
    }

    fn lines<'a>(&self, entered: &'a Entered) -> &'a LogLimit {
        let lines = entered.breach_lines();
        match self {
            Self::Unwritable { .. } => &lines.unwritable,
            Self::Slow => &lines.slow,
            Self::Inbound => &lines.inbound,
            Self::TooBig => &lines.too_big,
            Self::Late => &lines.late,
            Self::GaveWay => &lines.gave_way,
            Self::Unread => &lines.unread,
            Self::NotUtf8 => &lines.not_utf8,
            Self::Protocol(_) => &lines.protocol,
        }
    }

    /// What its client is told.
    pub(super) fn code(&self) -> CloseCode {
        match self {
            Self::Unwritable { .. } => CloseCode::INTERNAL,
            Self::Slow | Self::Inbound | Self::Late => CloseCode::POLICY,
            Self::GaveWay | Self::Unread => CloseCode::TRY_AGAIN,
            Self::TooBig => CloseCode::TOO_BIG,
            Self::NotUtf8 => CloseCode::INVALID_UTF8,
            Self::Protocol(_) => CloseCode::PROTOCOL,
        }
    }
}

impl From<Overflowed> for End {
    fn from(_: Overflowed) -> Self {
        Self::Breach(Breach::Slow)
    }
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Closed(close)
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed(code) => Self::Client(code),
            ReadError::Lost(_) => Self::Lost,
            ReadError::TooBig => Self::Breach(Breach::TooBig),
            ReadError::NotUtf8 => Self::Breach(Breach::NotUtf8),
            ReadError::Protocol(problem) => Self::Breach(Breach::Protocol(problem)),
        }
    }
}

impl From<WriteError> for End {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::TooBig => Self::Breach(Breach::Unwritable { bytes: None }),
            WriteError::Lost(_) => Self::Lost,
        }
    }
}
