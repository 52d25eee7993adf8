//! What two nodes say to each other on the control stream, as values. How that looks as bytes is the
//! [`codec`](super::codec)'s matter.
//!
//! Pure: no clock, no I/O, no tasks.

use matryoshka_pubsub::cluster::interest::ControlFrame;
use serde::{Deserialize, Serialize};

/// How many addresses one frame carries at most; a longer list is sent in several.
pub(crate) const MAX_ADDRESSES: usize = 128;

/// One thing a node says to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// First frame of the control stream, in both directions.
    Hello(Hello),
    /// The node with the larger name has nothing against the other's hello.
    Welcome,
    /// The node with the smaller name has nothing against it either, and has settled on this connection.
    Accept,
    /// Where other members are to be found.
    Addresses(Vec<MemberAddress>),
    /// Still here.
    Heartbeat,
    /// This node is about to go.
    Goodbye {
        /// Milliseconds within which it means to be back; `None`: it leaves for good.
        restart_within_ms: Option<u64>,
    },
    /// Nothing more will be sent: once so many lanes have been read to their ends, the connection may be closed.
    Finished {
        /// How many lanes were opened.
        lanes: u16,
    },
    /// What the two routers say to each other. Not in version 1.
    Routing(ControlFrame),
}

/// Who is speaking, and which versions of the protocol it knows. Version 1 has a smaller one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The newest protocol version spoken.
    pub(crate) protocol: u16,
    /// The oldest protocol version understood.
    pub(crate) oldest: u16,
    /// Optional parts of the protocol that the node offers; used if both do.
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The node's name.
    pub(crate) name: String,
    /// The node's incarnation.
    pub(crate) incarnation: u64,
    /// A random number of this process: tells a node from another one with the same name.
    pub(crate) instance: u64,
    /// Where the node is to be dialled; absent: where its packets come from.
    #[serde(default)]
    pub(crate) advertise: Option<String>,
    /// How many user lanes the node will open towards the other.
    #[serde(default)]
    pub(crate) lanes: u16,
    /// The node's wall clock, in milliseconds since 1970: clocks that part are told of before certificates are refused for it.
    /// Not in version 1.
    #[serde(default)]
    pub(crate) clock_ms: Option<u64>,
    /// The largest payload the node takes. Not in version 1, which takes 16 MiB.
    #[serde(default)]
    pub(crate) max_message_bytes: Option<u64>,
}

/// Where one member is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberAddress {
    /// The member's name.
    pub(crate) name: String,
    /// The incarnation that was seen there.
    pub(crate) incarnation: u64,
    /// Host and port.
    pub(crate) address: String,
}

/// Why bytes are not frames. The connection they came from must end; nothing else is affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The frame says it is longer than allowed here.
    #[error("a frame of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// What its header says.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The body of a known kind does not have that kind's form.
    #[error("the body of a frame of kind {kind} is malformed")]
    Malformed {
        /// The kind in its header.
        kind: u16,
    },
    /// A known kind where it does not belong.
    #[error("a frame of kind {kind} does not belong here")]
    Misplaced {
        /// The kind in its header.
        kind: u16,
    },
    /// A message is larger than this node said it takes.
    #[error("a message of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// What its first part says.
        bytes: usize,
        /// What this node takes.
        limit: usize,
    },
    /// A part of a message that does not follow the one before.
    #[error(
        "the parts of a message do not fit together: {at} bytes are there, and one comes for byte {got}"
    )]
    Broken {
        /// Bytes of the message that are there.
        at: usize,
        /// Where the part says it belongs; of another frame, 0.
        got: usize,
    },
}

impl Frame {
    /// What kind of frame it is, for the log.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Welcome => "welcome",
            Self::Accept => "accept",
            Self::Addresses(_) => "addresses",
            Self::Heartbeat => "heartbeat",
            Self::Goodbye { .. } => "goodbye",
            Self::Finished { .. } => "finished",
            Self::Routing(ControlFrame::Interest(_)) => "interest",
            Self::Routing(ControlFrame::Position(_)) => "position",
            Self::Routing(ControlFrame::Resync) => "resync",
            Self::Routing(ControlFrame::Last(_)) => "last",
        }
    }
}
