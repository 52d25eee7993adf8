//! The error of a bound of nothing.

use thiserror::Error;

/// A bound or a number was zero where at least one is needed. Nothing was made: give a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} must be at least 1, and 0 was given")]
pub struct ZeroBound {
    /// What was zero.
    pub what: &'static str,
}

/// `value`, unless it is zero.
pub(crate) fn at_least_one(what: &'static str, value: usize) -> Result<usize, ZeroBound> {
    if value == 0 {
        return Err(ZeroBound { what });
    }
    Ok(value)
}
