//! The identity of one tracked value: `phx_ref`.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::life::Life;

/// Names one value that was tracked or updated, once in the life of a cluster.
///
/// Its text form is 16 characters of URL-safe base64, as Phoenix clients know it. The twelve bytes behind it are six
/// that stand for the tracker which wrote the value and six that count what it wrote, so the references of one tracker
/// sort by age ([`Ord`] compares the bytes, not the text).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PresenceRef([u8; BYTES]);

impl PresenceRef {
    /// The length of the text form, in bytes.
    pub const TEXT_LEN: usize = 16;

    /// Whether both were written by one tracker of one node, under one number of it. Owners' numbers mean the same only then.
    pub fn has_writer_of(self, other: Self) -> bool {
        self.writer() == other.writer()
    }

    /// All numbers are below this: there is room for no more.
    pub(crate) const NUMBERS: u64 = 1 << 48;

    pub(crate) fn new(writer: Writer, put_seq: u64) -> Self {
        let mut bytes = [0; BYTES];
        bytes[..HALF].copy_from_slice(&writer.0);
        bytes[HALF..].copy_from_slice(&put_seq.to_be_bytes()[2..]);
        Self(bytes)
    }

    pub(crate) fn put_seq(self) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0[HALF..]);
        u64::from_be_bytes(bytes)
    }

    pub(crate) fn writer(self) -> Writer {
        let mut bytes = [0; HALF];
        bytes.copy_from_slice(&self.0[..HALF]);
        Writer(bytes)
    }
}

impl fmt::Display for PresenceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PresenceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresenceRef({self})")
    }
}

impl FromStr for PresenceRef {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotAReference)?;
        let bytes = <[u8; BYTES]>::try_from(bytes).map_err(|_| NotAReference)?;
        Ok(Self(bytes))
    }
}

/// The text is not that of a [`PresenceRef`], which has 16 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a presence reference is 16 characters of URL-safe base64")]
pub struct NotAReference;

impl Serialize for PresenceRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PresenceRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The half of a reference that stands for one life of one shard of one node's tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Writer([u8; HALF]);

impl Writer {
    /// The same on every node and in every version: a reference is never sent, each node works it out.
    pub(crate) fn new(node: &str, shard: u32, life: Life) -> Self {
        let hash = [
            node.as_bytes(),
            &[0xff],
            &shard.to_be_bytes(),
            &life.incarnation.to_be_bytes(),
            &life.started.to_be_bytes(),
        ]
        .iter()
        .fold(FNV_OFFSET, |hash, bytes| fnv1a(hash, bytes));
        let mut half = [0; HALF];
        half.copy_from_slice(&mix(hash).to_be_bytes()[..HALF]);
        Self(half)
    }
}

/// The shard, of `shards`, that a topic belongs to: the same on every node.
pub(crate) fn shard_of(topic: &str, shards: usize) -> usize {
    let hash = mix(fnv1a(FNV_OFFSET, topic.as_bytes()));
    usize::try_from(hash % shards as u64).expect("a remainder of a usize is a usize")
}

pub(crate) fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

/// Spreads what FNV leaves in the low bits over all of them.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

const BYTES: usize = 12;
const HALF: usize = BYTES / 2;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Life = Life {
        incarnation: 7,
        started: 9,
    };

    #[test]
    fn text_is_sixteen_url_safe_characters() {
        for seq in [0, 1, 63, 1 << 20, (1 << 48) - 1] {
            let text = PresenceRef::new(Writer::new("n1", 0, LIFE), seq).to_string();
            assert_eq!(text.len(), PresenceRef::TEXT_LEN);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
                "{text}"
            );
        }
    }

    #[test]
    fn text_reads_back_and_other_text_is_refused() {
        let reference = PresenceRef::new(Writer::new("n1", 0, LIFE), 77);
        assert_eq!(reference.to_string().parse(), Ok(reference));
        for bad in ["", "short", "AAAAAAAAAAAAAAAAAAAA", "AAAA+AAAAAAAAAAA"] {
            assert_eq!(bad.parse::<PresenceRef>(), Err(NotAReference), "{bad}");
        }
    }

    #[test]
    fn writer_and_sequence_come_back_out() {
        let writer = Writer::new("n1", 3, LIFE);
        let reference = PresenceRef::new(writer, 123_456);
        assert_eq!(reference.writer(), writer);
        assert_eq!(reference.put_seq(), 123_456);
    }

    #[test]
    fn any_part_of_the_writer_makes_another_reference() {
        let next = LIFE.next().unwrap();
        let base = Writer::new("n1", 0, LIFE);
        assert_ne!(base, Writer::new("n2", 0, LIFE));
        assert_ne!(base, Writer::new("n1", 1, LIFE));
        assert_ne!(base, Writer::new("n1", 0, next));
        assert_ne!(base, Writer::new("n1", 0, Life::first_of(8)));
        let reference = |writer, put_seq| PresenceRef::new(writer, put_seq);
        assert!(reference(base, 1).has_writer_of(reference(base, 2)));
        let other = reference(Writer::new("n1", 0, next), 1);
        assert!(!reference(base, 1).has_writer_of(other));
    }

    #[test]
    fn references_of_one_writer_sort_by_age() {
        let writer = Writer::new("n1", 0, LIFE);
        assert!(PresenceRef::new(writer, 255) < PresenceRef::new(writer, 256));
    }

    #[test]
    fn what_other_nodes_must_agree_on_is_pinned() {
        let reference = PresenceRef::new(Writer::new("n1", 0, LIFE), 1);
        assert_eq!(reference.to_string(), "LqtnsevVAAAAAAAB");
        assert_eq!((shard_of("room:1", 8), shard_of("room:2", 8)), (1, 5));
    }
}
