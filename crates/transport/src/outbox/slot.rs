//! One place in an outbox.
//!
//! Pure: no clock, no I/O, no tasks.

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    super::{close::Close, frame::Frame},
    queue::Item,
    run::Part,
};

/// What a place counts beside its content where all connections count together, in bytes: it takes 40, and a list that grows keeps some free.
pub(super) const SLOT_BYTES: usize = 64;

/// An item and what it weighs, without a number beside a frame that knows its length.
pub(super) enum Slot<M> {
    Frame(Frame),
    /// A frame that is [counted](super::counted). Not as a frame and a word beside it, which would take a word more.
    CountedText(ByteString),
    CountedBytes(Bytes),
    /// Several that other outboxes hold as well. What is left of a whole one.
    Run(Part),
    Mail(M, usize),
    /// Boxed, or it would be the largest, for the one at the end.
    Close(Box<Close>),
    /// The place of a key whose latest had no room. The slots are numbered, so it stays; never as the first.
    Vacant,
}

impl<M> Slot<M> {
    pub(super) fn new(item: Item<M>, bytes: usize) -> Self {
        match item {
            Item::Frame(frame) => Self::Frame(frame),
            Item::Mail(mail) => Self::Mail(mail, bytes),
            Item::Close(close) => Self::Close(Box::new(close)),
        }
    }

    pub(super) fn counted(frame: Frame) -> Self {
        match frame {
            Frame::Text(text) => Self::CountedText(text),
            Frame::Binary(bytes) => Self::CountedBytes(bytes),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len(),
            Self::CountedText(text) => text.len(),
            Self::CountedBytes(bytes) => bytes.len(),
            Self::Run(part) => part.first().len(),
            Self::Mail(_, bytes) => *bytes,
            Self::Close(_) | Self::Vacant => 0,
        }
    }

    /// How many of these bytes count once with what others hold of them.
    pub(super) fn shared_bytes(&self) -> usize {
        match self {
            Self::CountedText(_) | Self::CountedBytes(_) | Self::Run(_) => self.bytes(),
            _ => 0,
        }
    }

    pub(super) fn is_vacant(&self) -> bool {
        matches!(self, Self::Vacant)
    }

    pub(super) fn into_item(self) -> Option<Item<M>> {
        match self {
            Self::Frame(frame) => Some(Item::Frame(frame)),
            Self::CountedText(text) => Some(Item::Frame(Frame::Text(text))),
            Self::CountedBytes(bytes) => Some(Item::Frame(Frame::Binary(bytes))),
            Self::Run(part) => Some(Item::Frame(part.first())),
            Self::Mail(mail, _) => Some(Item::Mail(mail)),
            Self::Close(close) => Some(Item::Close(*close)),
            Self::Vacant => None,
        }
    }
}

/// A fan-out writes one for each socket, and every idle connection keeps room for one.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Slot<Box<()>>>() <= 40);
