//! How much may be under way on a link.

mod open;

pub(crate) use open::{Openable, close};
