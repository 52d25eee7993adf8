//! What a figure has to be, and whether it is.

/// What a value has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    /// The bar and whether `value` is within it.
    pub(crate) fn judge(self, value: f64) -> String {
        let (sign, bar, met) = match self {
            Self::AtLeast(bar) => (">=", bar, value >= bar),
            Self::AtMost(bar) => ("<=", bar, value <= bar),
        };
        let verdict = if met { "met" } else { "MISSED" };
        format!("bar {sign} {bar}: {verdict}")
    }
}
