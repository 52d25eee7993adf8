//! What a mailbox does with an item that comes: its policy, in few bytes.

use std::sync::Arc;

use super::bound::KeyOf;
use super::{Bound, Overflow, Policy};

pub(super) enum Rule<T> {
    InLine {
        /// Not `usize`, for smallness.
        messages: u32,
        overflow: Overflow,
        bytes: usize,
    },
    /// Apart, so that the mailboxes without a key are small.
    PerKey(Box<(Bound, Arc<KeyOf<T>>)>),
}

impl<T> Rule<T> {
    pub(super) fn new(Policy { bound, key }: Policy<T>) -> Self {
        let bound = Bound {
            messages: bound.messages.max(1),
            bytes: bound.bytes.max(1),
            ..bound
        };
        match key {
            None => Self::InLine {
                messages: bound.messages.try_into().unwrap_or(u32::MAX),
                overflow: bound.overflow,
                bytes: bound.bytes,
            },
            Some(key) => Self::PerKey(Box::new((bound, key))),
        }
    }

    pub(super) fn bound(&self) -> Bound {
        match *self {
            Self::PerKey(ref rule) => rule.0,
            Self::InLine {
                messages,
                overflow,
                bytes,
            } => Bound {
                messages: messages as usize,
                bytes,
                overflow,
            },
        }
    }

    /// Runs the user's key function: under no lock.
    pub(super) fn key(&self, item: &T) -> u128 {
        match self {
            Self::InLine { .. } => 0,
            Self::PerKey(rule) => rule.1(item),
        }
    }

    pub(super) fn on_overflow(&self) -> Loss {
        match self {
            Self::PerKey(_) => Loss::Latest,
            Self::InLine { overflow, .. } => match overflow {
                Overflow::DropNewest => Loss::Newest,
                Overflow::DropOldest => Loss::Oldest,
                Overflow::Close => Loss::All,
            },
        }
    }
}

/// What a full mailbox loses, by its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Newest,
    Oldest,
    Latest,
    All,
}
