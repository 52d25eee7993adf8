//! What the outbox locks with. One place, so that a model checker can put its own in the place of these.

pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
