//! For tests, measurements and fuzzing of this crate. Nothing here is promised to stay.

pub mod fuzz;
