//! What is sent: bytes, what they are, and how urgent.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

/// What a payload is, hence which [`Dispatcher`](crate::Dispatcher) delivers it, on every node.
///
/// 0 and 1 are built in, 2 to 255 belong to Matryoshka's own crates, 256 and above to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// Bytes of the user's own meaning, delivered as they are. What plain strings and bytes become.
    pub const RAW: Kind = Kind(0);
    /// A value of a [`Topic`](crate::Topic), as MessagePack with field names.
    pub const TYPED: Kind = Kind(1);
    /// The first kind that no crate of Matryoshka will ever take.
    pub const FIRST_USER: Kind = Kind(256);
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a message travels between nodes. In this order of urgency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficClass {
    /// The cluster's own words. Never dropped: the link is closed instead.
    Control,
    /// Who is where. Never dropped: the link is closed instead.
    Tracker,
    /// What users publish. A full queue to one peer drops the newest for that peer.
    #[default]
    User,
    /// Large and patient: snapshots and transfers.
    Bulk,
}

/// What to publish: bytes with their kind and traffic class. Made of strings and bytes by itself ([`Kind::RAW`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub(crate) kind: Kind,
    pub(crate) class: TrafficClass,
    pub(crate) bytes: Bytes,
}

impl Payload {
    /// The largest payload that is accepted: 16 MiB.
    pub const MAX_BYTES: usize = 16 * 1024 * 1024;

    /// Bytes of that kind, in the class [`TrafficClass::User`].
    pub fn new(kind: Kind, bytes: impl Into<Bytes>) -> Self {
        Self {
            kind,
            class: TrafficClass::default(),
            bytes: bytes.into(),
        }
    }

    /// The same in another traffic class.
    #[must_use]
    pub fn with_class(self, class: TrafficClass) -> Self {
        Self { class, ..self }
    }

    /// What the bytes are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How it travels.
    pub fn class(&self) -> TrafficClass {
        self.class
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::new(Kind::RAW, bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(Kind::RAW, bytes)
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Self::new(Kind::RAW, bytes)
    }
}

/// Copies the text.
impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::new(Kind::RAW, Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::new(Kind::RAW, text)
    }
}

impl From<ByteString> for Payload {
    fn from(text: ByteString) -> Self {
        Self::new(Kind::RAW, text.into_bytes())
    }
}
