//! A link between two nodes: ordered lanes and control streams both ways, and two ends that come and go on their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::LinkId;
use crate::cluster::interest::{ControlFrame, LaneFrame, Lanes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It will be up.
    Coming,
    Up,
    Down,
}

pub(super) struct Pipe {
    pub(super) nodes: [usize; 2],
    pub(super) ends: [End; 2],
    /// By the end that sends.
    pub(super) ways: [Way; 2],
    pub(super) capable: bool,
    /// Something other than a younger link ended it.
    pub(super) broken: bool,
}

/// One direction.
pub(super) struct Way {
    pub(super) lanes: Vec<VecDeque<LaneFrame>>,
    pub(super) control: VecDeque<ControlFrame>,
    /// Of a wrong variant: heard positions that travel on their own.
    pub(super) heard: VecDeque<u64>,
    /// Positions that a full lane refused.
    pub(super) refused: BTreeSet<u64>,
    pub(super) refused_by_lane: BTreeMap<u16, u64>,
    pub(super) told_by_lane: BTreeMap<u16, u64>,
    /// Of a wrong variant: the newest position by lane.
    pub(super) newest: BTreeMap<usize, u64>,
}

impl Pipe {
    pub(super) fn new(nodes: [usize; 2], capable: bool, lanes: usize) -> Self {
        let way = || Way {
            lanes: (0..lanes).map(|_| VecDeque::new()).collect(),
            control: VecDeque::new(),
            heard: VecDeque::new(),
            refused: BTreeSet::new(),
            refused_by_lane: BTreeMap::new(),
            told_by_lane: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        Self {
            nodes,
            ends: [End::Coming; 2],
            ways: [way(), way()],
            capable,
            broken: false,
        }
    }

    pub(super) fn side_of(&self, node: usize) -> usize {
        usize::from(self.nodes[1] == node)
    }

    pub(super) fn is_live(&self) -> bool {
        self.ends == [End::Up; 2]
    }

    /// What is under way to an end that is down goes nowhere.
    pub(super) fn close(&mut self, side: usize) {
        self.ends[side] = End::Down;
        let way = &mut self.ways[1 - side];
        way.lanes.iter_mut().for_each(VecDeque::clear);
        way.control.clear();
        way.heard.clear();
    }
}

/// The lanes of all links of one node.
pub(super) struct Queues<'a> {
    pub(super) pipes: &'a mut [Pipe],
    pub(super) node: usize,
    /// Frames per lane.
    pub(super) bound: usize,
}

impl Lanes for Queues<'_> {
    fn push(&mut self, link: LinkId, lane: u16, frames: &[LaneFrame]) -> bool {
        let pipe = &mut self.pipes[usize::try_from(link.0).unwrap()];
        let side = pipe.side_of(self.node);
        let nobody_reads = pipe.ends[1 - side] == End::Down;
        let way = &mut pipe.ways[side];
        let queue = &mut way.lanes[usize::from(lane)];
        if queue.len() + frames.len() <= self.bound {
            if !nobody_reads {
                queue.extend(frames.iter().cloned());
            }
            return true;
        }
        for frame in frames {
            if let LaneFrame::Message { pos, .. } = frame {
                way.refused.insert(*pos);
                *way.refused_by_lane.entry(lane).or_default() += 1;
            }
        }
        false
    }
}
