//! What the mailbox locks and counts with. One place, so that a model checker can put its own in the place of these.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic::AtomicUsize, atomic::Ordering};
