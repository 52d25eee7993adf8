//! Frames that the outboxes of many clients hold together, while those read nothing.
//!
//! A fan-out that put its frame into each of these by itself would have to find the end of each queue, which no processor has in
//! its near memory for long. Here it only counts: the frame stands in one [`Run`], and each outbox knows how far it goes.
//!
//! Pure: no clock, no I/O, no tasks.

// Not the outbox's locks: nothing is locked under this one, so a model checker needs no part in it.
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    super::{frame::Frame, stats::Gauge},
    counted::counted,
};

/// How many frames a run has at most. Whoever holds the last one of them keeps all of them in memory.
pub(super) const RUN_FRAMES: u8 = 32;

/// Frames of more bytes wait by themselves: the cost of a large one is not that of finding its place.
const RUN_FRAME_BYTES: usize = 512;

/// A frame on its way into many outboxes, for [`Outbox::shared_frame`](super::Outbox::shared_frame).
pub struct SharedFrame {
    frame: Frame,
    is_counted: bool,
    /// Where it stands in a run, once an outbox has put it there.
    place: Option<(Arc<Run>, u8)>,
}

impl SharedFrame {
    /// One that is in no outbox yet.
    pub fn new(frame: Frame) -> Self {
        Self {
            frame,
            is_counted: false,
            place: None,
        }
    }

    /// The frame itself.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(super) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// From now on it counts among these, once. Who holds it already holds it uncounted.
    pub(super) fn count(&mut self, all: &Arc<Gauge>) {
        if !mem::replace(&mut self.is_counted, true) {
            let frame = mem::replace(&mut self.frame, Frame::binary(Vec::new()));
            self.frame = counted(frame, all);
        }
    }

    pub(super) fn is_small(&self) -> bool {
        self.frame.len() <= RUN_FRAME_BYTES
    }
}

/// Frames in the order in which they were put, the same for all who hold them.
pub(super) struct Run {
    frames: Mutex<Vec<Frame>>,
}

impl Run {
    fn begin(frame: Frame) -> Arc<Self> {
        Arc::new(Self {
            frames: Mutex::new(vec![frame]),
        })
    }

    /// Puts a frame at this place, unless there is one already, or none may be.
    fn put(&self, place: u8, frame: &Frame) -> bool {
        let mut frames = self.lock();
        let is_free = place < RUN_FRAMES && frames.len() == usize::from(place);
        if is_free {
            frames.push(frame.clone());
        }
        is_free
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Frame>> {
        // Nothing inside calls foreign code, so a poisoned lock guards sound data.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a run waits in one outbox; never nothing.
pub(super) struct Part {
    run: Arc<Run>,
    from: u8,
    to: u8,
}

impl Part {
    /// The frame alone, to which others may come.
    pub(super) fn begin(shared: &mut SharedFrame) -> Self {
        let (run, from) = shared
            .place
            .get_or_insert_with(|| (Run::begin(shared.frame.clone()), 0));
        Self {
            run: Arc::clone(run),
            from: *from,
            to: *from + 1,
        }
    }

    /// Whether the frame could follow here.
    pub(super) fn push(&mut self, shared: &mut SharedFrame) -> bool {
        let follows = match &shared.place {
            Some((run, place)) => *place == self.to && Arc::ptr_eq(run, &self.run),
            None if self.run.put(self.to, &shared.frame) => {
                shared.place = Some((Arc::clone(&self.run), self.to));
                true
            }
            None => false,
        };
        self.to += u8::from(follows);
        follows
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.to - self.from)
    }

    /// Whether it is all that can be in a run, so that it keeps nothing in memory but what waits here.
    pub(super) fn is_whole(&self) -> bool {
        self.len() == usize::from(RUN_FRAMES)
    }

    /// Its first frame, and whether that was the last.
    pub(super) fn next(&mut self) -> (Frame, bool) {
        let frame = self.first();
        self.from += 1;
        (frame, self.from == self.to)
    }

    pub(super) fn first(&self) -> Frame {
        self.run.lock()[usize::from(self.from)].clone()
    }

    /// Its frames, by themselves.
    pub(super) fn into_frames(self) -> Vec<Frame> {
        self.run.lock()[usize::from(self.from)..usize::from(self.to)].to_vec()
    }
}
