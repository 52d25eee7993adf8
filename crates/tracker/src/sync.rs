//! What [`LeftRight`](crate::left_right) is made of. One place, so that a model checker can put its own in the place of these.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::{
    Mutex, RwLock, RwLockReadGuard,
    atomic::{AtomicUsize, Ordering},
};
