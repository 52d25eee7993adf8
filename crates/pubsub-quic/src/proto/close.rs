//! Why a connection ends, in the form in which the other side is told: QUIC's close code and reason.
//!
//! A close is a single packet, so it carries all that its reader needs to act on.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

use matryoshka_pubsub::cluster::Alive;
use serde::{Deserialize, Serialize};

use super::codec::{Skipped, read_named};

/// A reason is cut to this many bytes, so that it fits into the smallest QUIC packet.
pub(crate) const MAX_REASON_BYTES: usize = 900;
const MAX_TEXT_BYTES: usize = 256;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Close {
    /// Another connection between the same two nodes is kept.
    Duplicate,
    /// The other side's incarnation is older than one that is known under its name.
    Older {
        /// The newer incarnation.
        incarnation: u64,
        /// Whether the newer one lives, as far as who says this knows. Version 1 knew no doubt, and takes it for a yes.
        alive: Alive,
        /// Where the newer one is.
        address: String,
    },
    /// The node reached itself.
    Myself,
    /// The other side uses this node's name, and this node is the older one of the two.
    Twin,
    /// No protocol version that both speak.
    Version {
        /// The newest that the closing side speaks.
        protocol: u16,
        /// The oldest that it understands.
        oldest: u16,
    },
    /// The other side belongs to a cluster of another name.
    OtherCluster {
        /// The closing side's cluster.
        cluster: String,
    },
    /// The name in the hello is not one that the certificate was issued for, or no valid name.
    NameNotCertified,
    /// The closing side knows as many nodes as it is willing to.
    Full,
    /// The greeting took too long.
    TooSlow,
    /// Nothing was heard for too long.
    Silent,
    /// Frames that must not be lost did not fit into their queue.
    Overflow,
    /// The closing side takes a higher incarnation and will be back at once.
    Renumbered,
    /// The closing side has left the cluster or is about to.
    Leaving,
    /// Frames that this protocol does not allow.
    Protocol {
        /// What was wrong.
        text: String,
    },
    /// A code of a later version.
    Unknown {
        /// The code.
        code: u64,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Detail {
    #[serde(default)]
    incarnation: u64,
    #[serde(default)]
    up: bool,
    #[serde(default)]
    unsure: bool,
    #[serde(default)]
    address: String,
    #[serde(default)]
    protocol: u16,
    #[serde(default)]
    oldest: u16,
    #[serde(default)]
    text: String,
}

impl Close {
    /// The QUIC application error code.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::Duplicate => 1,
            Self::Older { .. } => 2,
            Self::Myself => 3,
            Self::Twin => 4,
            Self::Version { .. } => 5,
            Self::OtherCluster { .. } => 6,
            Self::NameNotCertified => 7,
            Self::Full => 8,
            Self::TooSlow => 9,
            Self::Silent => 10,
            Self::Overflow => 11,
            Self::Renumbered => 12,
            Self::Leaving => 13,
            Self::Protocol { .. } => 14,
            Self::Unknown { code } => u32::try_from(*code).unwrap_or(u32::MAX),
        }
    }

    /// The QUIC reason phrase.
    pub(crate) fn reason(&self) -> Vec<u8> {
        let mut detail = Detail::default();
        match self {
            Self::Older {
                incarnation,
                alive,
                address,
            } => {
                detail.incarnation = *incarnation;
                detail.up = *alive != Alive::No;
                detail.unsure = *alive == Alive::Unsure;
                detail.address = shortened(address);
            }
            Self::Version { protocol, oldest } => {
                detail.protocol = *protocol;
                detail.oldest = *oldest;
            }
            Self::OtherCluster { cluster } => detail.text = shortened(cluster),
            Self::Protocol { text } => detail.text = shortened(text),
            _ => return Vec::new(),
        }
        let mut reason = rmp_serde::to_vec_named(&detail).expect("plain structs always serialise");
        reason.truncate(MAX_REASON_BYTES);
        reason
    }

    /// Reads what the other side closed with. An unreadable reason counts as an empty one.
    pub(crate) fn read(code: u64, reason: &[u8]) -> Self {
        let detail: Detail = read_named(reason, &mut Skipped::default()).unwrap_or_default();
        match code {
            1 => Self::Duplicate,
            2 => Self::Older {
                incarnation: detail.incarnation,
                alive: match (detail.up, detail.unsure) {
                    (_, true) => Alive::Unsure,
                    (true, false) => Alive::Yes,
                    (false, false) => Alive::No,
                },
                address: detail.address,
            },
            3 => Self::Myself,
            4 => Self::Twin,
            5 => Self::Version {
                protocol: detail.protocol,
                oldest: detail.oldest,
            },
            6 => Self::OtherCluster {
                cluster: detail.text,
            },
            7 => Self::NameNotCertified,
            8 => Self::Full,
            9 => Self::TooSlow,
            10 => Self::Silent,
            11 => Self::Overflow,
            12 => Self::Renumbered,
            13 => Self::Leaving,
            14 => Self::Protocol { text: detail.text },
            code => Self::Unknown { code },
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate => write!(f, "another connection between the two is kept"),
            Self::Older {
                incarnation,
                address,
                ..
            } => write!(
                f,
                "a newer node of that name (incarnation {incarnation}) is at {address}"
            ),
            Self::Myself => write!(f, "that address is this very node"),
            Self::Twin => write!(f, "the two have the same name"),
            Self::Version { protocol, oldest } => {
                write!(f, "it speaks only protocol versions {oldest} to {protocol}")
            }
            Self::OtherCluster { cluster } => write!(f, "it belongs to cluster \"{cluster}\""),
            Self::NameNotCertified => {
                write!(f, "the name said is not one of the certificate's")
            }
            Self::Full => write!(f, "it knows as many nodes as it may"),
            Self::TooSlow => write!(f, "the greeting took too long"),
            Self::Silent => write!(f, "nothing was heard for too long"),
            Self::Overflow => write!(f, "a queue that must not lose anything was full"),
            Self::Renumbered => write!(f, "it takes a higher incarnation"),
            Self::Leaving => write!(f, "it leaves the cluster"),
            Self::Protocol { text } => write!(f, "protocol error: {text}"),
            Self::Unknown { code } => write!(f, "close code {code}, unknown to this version"),
        }
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=MAX_TEXT_BYTES.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_is_read_back_as_it_was_written() {
        let closes = [
            Close::Duplicate,
            Close::Older {
                incarnation: u64::MAX,
                alive: Alive::Yes,
                address: "10.0.0.1:5000".into(),
            },
            Close::Older {
                incarnation: 0,
                alive: Alive::Unsure,
                address: String::new(),
            },
            Close::Older {
                incarnation: 1,
                alive: Alive::No,
                address: String::new(),
            },
            Close::Myself,
            Close::Twin,
            Close::Version {
                protocol: 3,
                oldest: 2,
            },
            Close::OtherCluster {
                cluster: "blue".into(),
            },
            Close::NameNotCertified,
            Close::Full,
            Close::TooSlow,
            Close::Silent,
            Close::Overflow,
            Close::Renumbered,
            Close::Leaving,
            Close::Protocol {
                text: "hello twice".into(),
            },
            Close::Unknown { code: 77 },
        ];
        for close in closes {
            assert_eq!(Close::read(close.code().into(), &close.reason()), close);
        }
    }

    #[test]
    fn a_reason_always_fits_into_a_packet() {
        let close = Close::OtherCluster {
            cluster: "ü".repeat(10_000),
        };
        assert!(close.reason().len() <= MAX_REASON_BYTES);
        assert!(matches!(
            Close::read(6, &close.reason()),
            Close::OtherCluster { cluster } if cluster.starts_with('ü')
        ));
    }

    #[test]
    fn an_unreadable_reason_is_an_empty_one() {
        assert_eq!(
            Close::read(6, b"\xc1nonsense"),
            Close::OtherCluster {
                cluster: String::new()
            }
        );
    }
}
