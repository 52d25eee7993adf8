//! What a command says when it cannot go on: one line that names the cause and, where there is one, the cure.

use std::fmt;

/// The result of anything that can fail in this program.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// One line for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
    /// The person asked for it, so nothing else is to be tried.
    is_stop: bool,
}

impl Failure {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Failure {
            line: line.into(),
            is_stop: false,
        }
    }

    /// What ends because a stop was requested.
    pub(crate) fn stopped(request: &str) -> Self {
        Failure {
            line: format!("stopped by {request}"),
            is_stop: true,
        }
    }

    /// The same, with what failed before it.
    pub(crate) fn of(self, what: &str) -> Self {
        Failure {
            line: format!("`{what}`: {}", self.line),
            ..self
        }
    }

    /// The same, with what may help behind it; a stop needs no help.
    pub(crate) fn followed_by(self, help: &str) -> Self {
        if self.is_stop {
            return self;
        }
        Failure {
            line: format!("{}; {help}", self.line),
            ..self
        }
    }

    pub(crate) fn is_stop(&self) -> bool {
        self.is_stop
    }
}

/// Ends the current function with this line as its failure.
macro_rules! fail {
    ($($line:tt)*) => {
        return Err($crate::failure::Failure::new(format!($($line)*)))
    };
}
pub(crate) use fail;

/// Says what was tried when a lower call failed.
pub(crate) trait Explain<T> {
    fn explain(self, tried: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> Explain<T> for Result<T, E> {
    fn explain(self, tried: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure::new(format!("{tried}: {error}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.line)
    }
}
