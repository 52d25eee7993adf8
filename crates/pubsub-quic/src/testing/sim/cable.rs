//! One connection: its two ends, and the streams between them.
//!
//! Pure: no clock, no I/O, no tasks.

use std::time::Duration;

use super::network::NodeIndex;
use super::node::Life;
use crate::proto::close::Close;
use crate::proto::lane::LANES;
use crate::proto::peer::ConnectionId;

/// Which connection of the whole history.
pub(super) type CableId = usize;
/// 0: who dialled; 1: who was dialled.
pub(super) type Side = usize;

/// The control stream; lane n is stream n + 1.
pub(super) const CONTROL: u16 = 0;
const STREAMS: usize = LANES as usize + 1;

/// One end.
#[derive(Debug, Clone)]
pub(super) struct CableEnd {
    pub(super) node: NodeIndex,
    pub(super) life: Life,
    /// What its node calls the connection, once it does.
    pub(super) id: Option<ConnectionId>,
    pub(super) open: bool,
    /// What it was closed with and when, for whoever goes on sending to it.
    pub(super) closed: Option<(Duration, Close)>,
}

/// One stream of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stream {
    /// Bytes that were written and not read.
    pub(super) under_way: usize,
    /// When the last packet arrives; later ones never overtake.
    pub(super) arrival: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cable {
    pub(super) ends: [CableEnd; 2],
    /// By the side that writes.
    pub(super) streams: [[Stream; STREAMS]; 2],
    /// Whether the dialled side answered.
    pub(super) answered: bool,
    pub(super) last_arrival: [Duration; 2],
}

impl Cable {
    /// A connection about to be dialled.
    pub(super) fn dialled(
        from: (NodeIndex, Life, ConnectionId),
        to: (NodeIndex, Life),
        now: Duration,
    ) -> Self {
        let end = |(node, life), id, open| CableEnd {
            node,
            life,
            id,
            open,
            closed: None,
        };
        Self {
            ends: [
                end((from.0, from.1), Some(from.2), true),
                end(to, None, false),
            ],
            streams: [[Stream::default(); STREAMS]; 2],
            answered: false,
            last_arrival: [now; 2],
        }
    }

    /// Whether both ends are there and neither was ended.
    pub(super) fn is_whole(&self) -> bool {
        self.ends.iter().all(|end| end.open)
    }
}
