//! All that waits to be written to one peer: the control stream's queue and one for each lane.
//!
//! Whoever publishes pushes, whoever writes takes; each queue has a lock of its own, held for a copy at most.
//!
//! Pure: no clock, no I/O, no tasks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use matryoshka_pubsub::TrafficClass;

use super::codec::Codec;
use super::frame::Frame;
use super::lane::{Encoded, LANES, LaneQueue, Pushed, class_of};

/// How many bytes may wait for one peer on one user lane: twice the default ring, so that neither a flush nor a replay alone
/// overflows it. Full: the newest message is dropped for that peer, which is told how many it lost.
pub(crate) const USER_LANE_BYTES: usize = 16 * 1024 * 1024;
/// As [`USER_LANE_BYTES`], for the bulk lane.
pub(crate) const BULK_LANE_BYTES: usize = 32 * 1024 * 1024;
/// How many bytes may wait for one peer on the tracker's or the control lane. Full: the link is closed.
pub(crate) const TRACKER_LANE_BYTES: usize = 64 * 1024 * 1024;
/// How many bytes may wait on the control stream. Full: the link is closed.
pub(crate) const CONTROL_STREAM_BYTES: usize = 256 * 1024;

/// The bounds of an outbox that depend on the node's settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Of each user lane.
    pub(crate) user_lane_bytes: usize,
    /// Of the tracker's lane and the control lane.
    pub(crate) tracker_lane_bytes: usize,
}

/// `S` is how whoever writes is woken; nothing here calls it.
#[derive(Debug)]
pub(crate) struct Outbox<S> {
    control: Mutex<LaneQueue>,
    lanes: Vec<Mutex<LaneQueue>>,
    /// How whoever writes is woken.
    pub(crate) signals: S,
}

/// Bytes that wait, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) control: usize,
    pub(crate) tracker: usize,
    pub(crate) user: usize,
    pub(crate) bulk: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            user_lane_bytes: USER_LANE_BYTES,
            tracker_lane_bytes: TRACKER_LANE_BYTES,
        }
    }
}

impl<S> Outbox<S> {
    /// Empty queues.
    pub(crate) fn new(bounds: Bounds, signals: S) -> Self {
        let queue = |lane| {
            Mutex::new(LaneQueue::new(match class_of(lane) {
                TrafficClass::Control | TrafficClass::Tracker => bounds.tracker_lane_bytes,
                TrafficClass::User => bounds.user_lane_bytes,
                TrafficClass::Bulk => BULK_LANE_BYTES,
            }))
        };
        Self {
            control: Mutex::new(LaneQueue::new(CONTROL_STREAM_BYTES)),
            lanes: (0..LANES).map(queue).collect(),
            signals,
        }
    }

    /// Queues a frame for the control stream. [`Pushed::Full`]: the link must end.
    pub(crate) fn push_control(&self, codec: Codec, frame: &Frame) -> Pushed {
        let Some(bytes) = codec.encode(frame) else {
            // Nothing that the version has no word for is ever due on such a link.
            return Pushed::Queued { first: false };
        };
        let mut encoded = Encoded::default();
        encoded.put(&bytes);
        self.control().push(&[&encoded])
    }

    /// Queues frames for a lane.
    pub(crate) fn push(&self, lane: u16, frames: &[&Encoded]) -> Pushed {
        self.lane(lane).push(frames)
    }

    /// Moves some of what waits for the control stream to `batch`; whether there was any.
    pub(crate) fn take_control(&self, batch: &mut Vec<Bytes>) -> bool {
        self.control().take_batch(batch)
    }

    /// Moves some of what waits for a lane to `batch`. False: nothing waits.
    pub(crate) fn take(&self, lane: u16, batch: &mut Vec<Bytes>) -> bool {
        self.lane(lane).take_batch(batch)
    }

    /// Takes nothing more; what waits can still be taken.
    pub(crate) fn end(&self) {
        (0..LANES).for_each(|lane| self.lane(lane).close());
        // The last one: so that whoever sees it closed knows the same of the others.
        self.control().close();
    }

    /// Whether nothing is taken any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.control().is_closed()
    }

    /// Bytes that wait now.
    pub(crate) fn queued(&self) -> Queued {
        let mut queued = Queued {
            control: self.control().bytes(),
            ..Queued::default()
        };
        for lane in 0..LANES {
            let bytes = self.lane(lane).bytes();
            *match class_of(lane) {
                TrafficClass::Control => &mut queued.control,
                TrafficClass::Tracker => &mut queued.tracker,
                TrafficClass::User => &mut queued.user,
                TrafficClass::Bulk => &mut queued.bulk,
            } += bytes;
        }
        queued
    }

    fn control(&self) -> MutexGuard<'_, LaneQueue> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, lane: u16) -> MutexGuard<'_, LaneQueue> {
        let queue = &self.lanes[usize::from(lane)];
        queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
