//! A value that moves behind a pointer when somebody else first needs it, and costs no allocation before.
//! Pure: no clock, no I/O, no tasks.

use std::ops::Deref;
use std::sync::Arc;

pub(crate) enum Sharable<T> {
    /// `None` only while it moves.
    Own(Option<T>),
    Shared(Arc<T>),
}

impl<T> Sharable<T> {
    pub(crate) fn own(value: T) -> Self {
        Self::Own(Some(value))
    }

    /// One more pointer to it.
    pub(crate) fn share(&mut self) -> Arc<T> {
        match self {
            Self::Shared(value) => Arc::clone(value),
            Self::Own(value) => {
                let value = Arc::new(value.take().expect(NEVER_MOVING));
                *self = Self::Shared(Arc::clone(&value));
                value
            }
        }
    }

    /// Whether it is what stands behind that pointer.
    pub(crate) fn is(&self, other: &Arc<T>) -> bool {
        matches!(self, Self::Shared(value) if Arc::ptr_eq(value, other))
    }
}

/// Nobody sees it move, since that takes it mutably.
const NEVER_MOVING: &str = "a value that moves is seen by nobody";

impl<T> Deref for Sharable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Own(value) => value.as_ref().expect(NEVER_MOVING),
            Self::Shared(value) => value,
        }
    }
}
