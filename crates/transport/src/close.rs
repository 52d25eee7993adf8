//! Why a connection ends: close codes, and what a session is told.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use bytestring::ByteString;

use crate::excerpt::cut;

/// Longest close reason on the wire, in bytes: a control frame holds 125, two of them are the code.
pub const MAX_CLOSE_REASON_BYTES: usize = 123;

/// A WebSocket close code.
///
/// The server never closes with 1000 on its own: many clients take that for "do not come back".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the other side is done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: go, and come back; also an idle client.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the client broke the WebSocket protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1007: text that is not UTF-8.
    pub const INVALID_UTF8: Self = Self(1007);
    /// 1008: a rule of the server was broken, such as reading too slowly.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: a message that cannot be decoded, or a fault of the session.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the server restarts; come back.
    pub const RESTART: Self = Self(1012);
    /// 1013: the server has no room now; come back later.
    pub const TRY_AGAIN: Self = Self(1013);
}

impl CloseCode {
    /// What a client is answered that closes with this code: the same, if clients may say it.
    pub(crate) fn answer(self) -> Self {
        match self.0 {
            1000..=1003 | 1007..=1011 | 3000.. => self,
            _ => Self::PROTOCOL,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order to close a connection: what the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: CloseCode,
    /// A short text for people; empty on everything the transport itself decides.
    pub reason: ByteString,
}

impl Close {
    /// A close with an empty reason.
    pub const fn new(code: CloseCode) -> Self {
        Self {
            code,
            reason: ByteString::new(),
        }
    }

    /// Adds a reason, cut at a character's end to [`MAX_CLOSE_REASON_BYTES`].
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<ByteString>) -> Self {
        let reason = reason.into();
        self.reason = reason.slice_ref(cut(&reason, MAX_CLOSE_REASON_BYTES));
        self
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.is_empty() {
            true => write!(f, "{}", self.code),
            false => write!(f, "{} ({})", self.code, self.reason),
        }
    }
}

/// How a connection ended, as its session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed, with the code it gave.
    Client(Option<CloseCode>),
    /// The network dropped, or the handshake was never completed.
    Lost,
    /// Nothing came from the client for the idle timeout; it was closed with 1001.
    Idle,
    /// The server closed: the session's own order, one through its outbox, or a breach of a limit.
    Closed(Close),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::new(CloseCode::POLICY).with_reason("é".repeat(100));
        assert_eq!(close.reason, "é".repeat(61));
        assert_eq!(
            Close::new(CloseCode::POLICY)
                .with_reason("short")
                .to_string(),
            "1008 (short)"
        );
        assert_eq!(Close::from(CloseCode::RESTART).to_string(), "1012");
    }
}
