//! What things are called: topics, nodes, their lives and the links between them.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The name of a topic: any text within the [`Limits`](crate::Limits) of the pubsub. Matched whole; there are no wildcards.
///
/// A clone shares the text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicName(ByteString);

impl TopicName {
    /// The longest name that any pubsub takes, in bytes: what fits between nodes.
    pub const MAX_BYTES: usize = 65_535;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text.
    pub fn as_byte_string(&self) -> &ByteString {
        &self.0
    }
}

/// As the text, so that a table of topics can be asked with a `&str`.
impl Hash for TopicName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Deref for TopicName {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for TopicName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for TopicName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for TopicName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&String> for TopicName {
    fn from(name: &String) -> Self {
        Self(name.as_str().into())
    }
}

impl From<ByteString> for TopicName {
    fn from(name: ByteString) -> Self {
        Self(name)
    }
}

impl From<&ByteString> for TopicName {
    fn from(name: &ByteString) -> Self {
        Self(name.clone())
    }
}

impl From<&TopicName> for TopicName {
    fn from(name: &TopicName) -> Self {
        name.clone()
    }
}

impl From<TopicName> for ByteString {
    fn from(name: TopicName) -> Self {
        name.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The name of a node, unique in its cluster: 1 to 64 of the characters `a-z`, `0-9`, `.`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// This is no name for a node.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name:?} is no node name: take 1 to 64 characters of a-z, 0-9, '.', '_' and '-'")]
pub struct InvalidNodeName {
    /// What was given.
    pub name: String,
}

impl NodeName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks and takes a name.
    ///
    /// # Errors
    ///
    /// [`InvalidNodeName`] if it is empty, too long, or has other characters.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidNodeName> {
        let name = name.as_ref();
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if (1..=Self::MAX_BYTES).contains(&name.len()) && name.bytes().all(good) {
            Ok(Self(name.into()))
        } else {
            let name = name.to_owned();
            Err(InvalidNodeName { name })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(name: &str) -> Result<Self, InvalidNodeName> {
        Self::new(name)
    }
}

impl TryFrom<&str> for NodeName {
    type Error = InvalidNodeName;

    fn try_from(name: &str) -> Result<Self, InvalidNodeName> {
        Self::new(name)
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for NodeName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for NodeName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(name).map_err(serde::de::Error::custom)
    }
}

/// Which life of a node: the wall clock at its start, in microseconds since 1970. The higher of two is the later life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The incarnation of a node that starts at `start`.
    pub fn at(start: SystemTime) -> Self {
        let since = start.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The lowest incarnation that is later than this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which connection to a peer: strictly grows within a process, so a message can be told from one of an earlier link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
