//! Why a connection did not come about, for the log.
//!
//! Pure: no clock, no I/O, no tasks.

use std::borrow::Cow;
use std::fmt;

/// How much of a text from outside is shown.
const MAX_FOREIGN_CHARS: usize = 120;

/// What is wrong, with what cures it, and of which kind that is.
///
/// Of one kind, one line for each place is enough: the words differ at each attempt, since clocks run on and
/// fingerprints change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The same for all that is told once. Never from outside, so there are few.
    pub(crate) kind: Cow<'static, str>,
    /// The words.
    pub(crate) text: String,
}

impl Trouble {
    pub(crate) fn new(kind: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text that somebody else wrote, fit for one line of the log.
pub(crate) fn foreign(text: &str) -> String {
    let shown = text.chars().take(MAX_FOREIGN_CHARS);
    shown.flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_on_its_line() {
        assert_eq!(foreign("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(foreign(&"x".repeat(10_000)).len(), MAX_FOREIGN_CHARS);
    }
}
