//! What an outbox holds that its client has not read, as it counts with that of all connections.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;

use super::{super::frame::Frame, queue::is_large};

/// What small things count by: whole steps of 64 KiB, so that an outbox which holds less is nobody's concern, and one that fills tells of it
/// once in so many bytes.
pub(crate) const STEP_BYTES: usize = 64 * 1024;

/// What waits in one outbox, or at one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Each thing that is large.
    pub(crate) large: Vec<Large>,
    /// The bytes of what is small and this client's alone, what its places in the outbox take included.
    pub(crate) own: usize,
    /// The bytes of broadcasts that came while the client took nothing. Others may hold them as well.
    pub(crate) shared: usize,
}

/// Something large that waits: what it keeps in memory.
#[derive(Clone, Debug)]
pub(crate) enum Large {
    /// The content of a frame.
    Frame(Bytes),
    /// So many bytes of a mail.
    Mail(usize),
}

/// How many whole steps that is.
pub(super) fn steps(bytes: usize) -> usize {
    bytes / STEP_BYTES
}

/// How much is held, as far as it is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) large_bytes: usize,
    own_steps: usize,
    shared_steps: usize,
}

impl Held {
    /// All of it, what others hold as well included.
    pub(crate) fn bytes(&self) -> usize {
        let large: usize = self.large.iter().map(Large::len).sum();
        large.saturating_add(self.own)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.large.is_empty() && self.own < STEP_BYTES && self.shared < STEP_BYTES
    }
}

impl Large {
    /// The frame, if it is large.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        is_large(frame.len()).then(|| Self::Frame(frame.bytes().clone()))
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Frame(bytes) => bytes.len(),
            Self::Mail(bytes) => *bytes,
        }
    }
}

impl Mark {
    pub(super) fn of(large_bytes: usize, own: usize, shared: usize) -> Self {
        Self {
            large_bytes,
            own_steps: steps(own),
            shared_steps: steps(shared),
        }
    }

    pub(super) fn is_much(self) -> bool {
        self.large_bytes > 0 || self.own_steps > 0 || self.shared_steps > 0
    }
}
