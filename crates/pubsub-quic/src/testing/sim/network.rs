//! What is under way, and which ways are cut.
//!
//! As QUIC shows it to those above: streams stay in order and lose nothing, but stall, each by itself; handshakes are sent
//! again; a close is one packet and may be lost.
//!
//! Pure: no clock, no I/O, no tasks.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;

use super::cable::{Cable, CableId, Side};
use super::node::Life;
use crate::proto::mesh::Ended;
use crate::proto::peer::ConnectionId;

/// A node of the simulation, alive or dead.
pub(super) type NodeIndex = usize;

/// What comes to a node.
#[derive(Debug, Clone)]
pub(super) enum Packet {
    /// Somebody dials.
    Dial(CableId),
    /// The dialled node answers; whether it is whom the dialler trusts.
    Answer(CableId),
    /// The dialler does not trust the one it dialled, and says so.
    Alert(CableId),
    /// Bytes of one stream for that end.
    Bytes(CableId, Side, u16, Vec<Bytes>),
    /// So many bytes of that end's stream were read.
    Credit(CableId, Side, u16, usize),
    /// The other side ended the connection.
    Ended(CableId, Side, Ended),
}

impl Packet {
    /// Whether QUIC sends it again until it arrives.
    fn is_sent_again(&self) -> bool {
        matches!(self, Self::Bytes(..) | Self::Credit(..))
    }
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Happening {
    Tick(NodeIndex, Life),
    Alarm(NodeIndex, Life),
    /// The pubsub's hint that there are edges.
    Edges(NodeIndex, Life),
    Packet(NodeIndex, Packet),
    /// A dialler has had no answer.
    NoAnswer(CableId, u32),
    /// A connection's tasks have ended, for a reason of this side.
    TaskEnded(NodeIndex, Life, ConnectionId, Ended),
    /// A process that said goodbye waits no longer.
    FlushOver(NodeIndex, Life),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// When, in nanoseconds, in which order, and where it waits.
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    waiting: Vec<Option<Happening>>,
    free: Vec<usize>,
    sequence: u64,
    pub(super) cables: Vec<Cable>,
    /// From whom to whom nothing comes.
    cuts: BTreeSet<(NodeIndex, NodeIndex)>,
    held: Vec<(NodeIndex, NodeIndex, Packet)>,
}

impl Network {
    pub(super) fn at(&mut self, time: Duration, what: Happening) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        });
        self.waiting[place] = Some(what);
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.queue.push(Reverse((time, self.sequence, place)));
    }

    /// The next thing that happens until then.
    pub(super) fn next(&mut self, until: Duration) -> Option<(Duration, Happening)> {
        let Reverse((at, _, place)) = *self.queue.peek()?;
        let at = Duration::from_nanos(at);
        if at > until {
            return None;
        }
        self.queue.pop();
        self.free.push(place);
        Some((at, self.waiting[place].take()?))
    }

    pub(super) fn is_cut(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub(super) fn cut(&mut self, from: NodeIndex, to: NodeIndex) {
        self.cuts.insert((from, to));
    }

    /// Mends that way; gives what was to go it.
    pub(super) fn mend(&mut self, from: NodeIndex, to: NodeIndex) -> Vec<Packet> {
        self.cuts.remove(&(from, to));
        let held = std::mem::take(&mut self.held);
        let mut freed = Vec::new();
        for (a, b, packet) in held {
            if (a, b) == (from, to) {
                freed.push(packet);
            } else {
                self.held.push((a, b, packet));
            }
        }
        freed
    }

    /// The ways that are cut.
    pub(super) fn cuts(&self) -> Vec<(NodeIndex, NodeIndex)> {
        self.cuts.iter().copied().collect()
    }

    /// Keeps what a cut way will be given again; whether it was kept.
    pub(super) fn hold(&mut self, from: NodeIndex, to: NodeIndex, packet: Packet) -> bool {
        let kept = packet.is_sent_again();
        if kept {
            self.held.push((from, to, packet));
        }
        kept
    }

    pub(super) fn lay(&mut self, cable: Cable) -> CableId {
        self.cables.push(cable);
        self.cables.len() - 1
    }
}
