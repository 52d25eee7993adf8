//! How far a command is: numbered steps, with a spinner on a terminal and plain lines elsewhere.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where no spinner turns, a line this often shows that a long step is alive.
const LINE_EVERY: Duration = Duration::from_secs(30);
const SPIN_EVERY: Duration = Duration::from_millis(120);

/// Steps counted as they begin.
pub(crate) struct Steps {
    total: usize,
    begun: usize,
}

impl Steps {
    pub(crate) fn new(total: usize) -> Self {
        Steps { total, begun: 0 }
    }

    /// A step that shows its own progress below this line.
    pub(crate) fn announce(&mut self, what: impl Display) {
        say(format_args!("{} {what}", self.number()));
    }

    /// A step whose progress is shown here.
    pub(crate) fn begin(&mut self, what: impl Display) -> Step {
        Step::begin(format!("{} {what}", self.number()))
    }

    fn number(&mut self) -> String {
        self.begun += 1;
        let width = self.total.to_string().len();
        format!("[{:>width$}/{}]", self.begun, self.total)
    }
}

/// A step that is going on.
pub(crate) struct Step {
    what: String,
    began: Instant,
    spinner: ProgressBar,
    last_line: Instant,
}

impl Step {
    fn begin(what: String) -> Self {
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} {spinner} {elapsed} {wide_msg:.dim}")
        {
            spinner.set_style(style);
        }
        spinner.set_prefix(what.clone());
        spinner.enable_steady_tick(SPIN_EVERY);
        if spinner.is_hidden() {
            say(format_args!("{what} ..."));
        }
        Step {
            what,
            began: Instant::now(),
            spinner,
            last_line: Instant::now(),
        }
    }

    /// Shows what is going on within the step.
    pub(crate) fn note(&mut self, detail: impl Display) {
        if !self.spinner.is_hidden() {
            self.spinner.set_message(detail.to_string());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let so_far = seconds(self.began.elapsed());
            say(format_args!("{} ... {so_far} so far: {detail}", self.what));
        }
    }

    /// Ends the step with a word on how it went.
    pub(crate) fn end(self, how: impl Display) {
        self.spinner.finish_and_clear();
        let took = seconds(self.began.elapsed());
        say(format_args!("{}: {how} in {took}", self.what));
    }
}

/// One line for the person at the terminal, who may have closed it: then there is nobody to tell.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A duration for people: `0.4 s`, `75.0 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_in_columns() {
        let mut steps = Steps::new(12);
        assert_eq!(steps.number(), "[ 1/12]");
        assert_eq!(steps.number(), "[ 2/12]");
    }
}
