//! The name of a node.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

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
