//! One node, as long as the history lasts: its lives come and go.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use matryoshka_pubsub::cluster::{MemberEvent, MemberTable};
use matryoshka_pubsub::{Incarnation, LinkId, NodeName};

use super::cable::{CableId, Side};
use super::network::{NodeIndex, Packet};
use super::registry::{Registry, Topic};
use crate::proto::codec::Codec;
use crate::proto::control::ControlReader;
use crate::proto::lane::{LANES, LaneReader};
use crate::proto::mesh::Mesh;
use crate::proto::notice::Level;
use crate::proto::outbox::Outbox;
use crate::proto::peer::ConnectionId;
use crate::proto::terms::{Offer, Terms};
use crate::proto::traffic::Traffic;

/// Counts the processes of one node.
pub(super) type Life = u32;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Stopped by a signal: nothing is lost on it, nothing happens on it.
    Paused,
    /// No process.
    Dead,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    /// What its certificate is for.
    pub(super) certified: NodeName,
    /// What its certificate is issued by.
    pub(super) secret: u64,
    pub(super) cluster: &'static str,
    pub(super) offer: Offer,
    pub(super) join: Vec<String>,
    pub(super) life: Life,
    pub(crate) state: State,
    /// Why it left the cluster, if it has.
    pub(crate) left: Option<String>,
    pub(crate) mesh: Option<Mesh>,
    pub(crate) table: MemberTable,
    pub(crate) notices: Vec<(Level, String)>,
    pub(crate) events: Vec<(Duration, MemberEvent)>,
    pub(super) traffic: Traffic<ConnectionId>,
    pub(super) registry: Registry,
    /// When each topic was subscribed last.
    pub(super) asked: BTreeMap<Topic, Duration>,
    pub(super) links: BTreeMap<ConnectionId, LinkEnd>,
    pub(super) by_link: BTreeMap<LinkId, ConnectionId>,
    pub(super) dials: BTreeMap<ConnectionId, CableId>,
    pub(super) backlog: VecDeque<Packet>,
    pub(super) newest: BTreeMap<NodeName, Incarnation>,
    /// What this life published, by position.
    pub(super) published: Vec<usize>,
    /// Since when it has been running without a pause.
    pub(super) awake_since: Duration,
    /// When its last life ended.
    pub(super) died: Duration,
    pub(super) slow: bool,
    /// It shakes hands and never says anything.
    pub(super) stalls: bool,
    pub(super) flushing: bool,
    pub(super) alarm: Option<Duration>,
    pub(super) incarnation: Incarnation,
}

/// A connection as its node's driver has it.
#[derive(Debug)]
pub(super) struct LinkEnd {
    pub(super) cable: CableId,
    pub(super) side: Side,
    pub(super) outbox: Arc<Outbox<ConnectionId>>,
    pub(super) control: ControlReader,
    pub(super) lanes: Vec<Option<LaneReader>>,
    /// Once it is up.
    pub(super) raised: Option<Arc<Raised>>,
    /// Whether publishes go there.
    pub(super) routed: bool,
    pub(super) heard: bool,
    /// When anything came last.
    pub(super) heard_at: Duration,
    /// Since when there has been this connection.
    pub(super) since: Duration,
    /// How many heartbeats, from the next one on, are lost on their way to the other side.
    pub(super) loses: u8,
    /// What came on lanes and is not read yet.
    pub(super) unread: VecDeque<(u16, Vec<Bytes>)>,
    /// Lanes on which something was written.
    pub(super) opened: u32,
    /// Whether all was written that will be.
    pub(super) finished: bool,
    /// Lanes that were read to their ends.
    pub(super) read_to_end: u16,
    /// How many lanes the other side wrote, once it said that it has finished.
    pub(super) to_read: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Raised {
    pub(super) name: NodeName,
    pub(super) incarnation: Incarnation,
    pub(super) link: LinkId,
    pub(super) terms: Terms,
    pub(super) since: Duration,
}

impl LinkEnd {
    pub(super) fn new(
        cable: CableId,
        side: Side,
        newest: Codec,
        outbox: Outbox<ConnectionId>,
        now: Duration,
    ) -> Self {
        Self {
            cable,
            side,
            outbox: Arc::new(outbox),
            control: ControlReader::new(newest),
            lanes: (0..LANES).map(|_| None).collect(),
            raised: None,
            routed: false,
            heard: false,
            heard_at: now,
            since: now,
            loses: 0,
            unread: VecDeque::new(),
            opened: 0,
            finished: false,
            read_to_end: 0,
            to_read: None,
        }
    }
}

impl Node {
    /// Whether it is a process that runs and has not left the cluster.
    pub(crate) fn is_member(&self) -> bool {
        self.state != State::Dead && self.left.is_none() && !self.flushing
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }
}

/// Where that node listens.
pub(crate) fn address(node: NodeIndex) -> SocketAddr {
    SocketAddr::from((
        [10, 0, 0, 1],
        5000 + u16::try_from(node).unwrap_or(u16::MAX),
    ))
}

/// Which node listens there.
pub(super) fn at_address(address: &str) -> Option<NodeIndex> {
    let address: SocketAddr = address.parse().ok()?;
    address.port().checked_sub(5000).map(usize::from)
}
