//! How much may be under way on a link.

mod floor;
mod open;

pub(crate) use open::{Openable, close};
