//! Making a failing history short enough to be read.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Action, Plan, Report, Voice, play_with};

/// A history in which a checker found something wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that it came from.
    pub seed: u64,
    /// How many nodes it has.
    pub nodes: usize,
    /// The steps without which it does not fail any more. [`play`](super::play) runs them.
    pub actions: Vec<Action>,
    /// What the checker said of these steps.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            nodes,
            actions,
            message,
        } = self;
        let steps = actions.len();
        write!(
            f,
            "seed {seed} with {nodes} nodes fails: {message}\nits shortest history has {steps} steps:"
        )?;
        actions
            .iter()
            .try_for_each(|action| write!(f, "\n{action}"))
    }
}

impl std::error::Error for Failure {}

/// Runs a history; if it fails, drops steps from it as long as what is left fails too.
///
/// # Errors
///
/// The shortened history, which fails.
pub fn examine(seed: u64, plan: Plan) -> Result<Report, Box<Failure>> {
    let actions = plan.actions(seed);
    let message = match attempt(seed, plan.nodes, &actions) {
        Ok(report) => return Ok(report),
        Err(message) => message,
    };
    let mut failure = Failure {
        seed,
        nodes: plan.nodes,
        actions,
        message,
    };
    shorten(&mut failure);
    Err(Box::new(failure))
}

fn shorten(failure: &mut Failure) {
    let mut size = failure.actions.len().div_ceil(2);
    let mut tries = 0;
    while size > 0 && tries < TRIES {
        let mut start = 0;
        while start < failure.actions.len() && tries < TRIES {
            tries += 1;
            if !failure.drops(start, size) {
                start += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
}

impl Failure {
    /// Drops some steps, if it fails without them. Whether it does.
    fn drops(&mut self, start: usize, size: usize) -> bool {
        let end = (start + size).min(self.actions.len());
        let mut fewer = self.actions.clone();
        fewer.drain(start..end);
        let attempt = attempt(self.seed, self.nodes, &fewer);
        if let Err(message) = attempt {
            self.actions = fewer;
            self.message = message;
            return true;
        }
        false
    }
}

fn attempt(seed: u64, nodes: usize, actions: &[Action]) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| {
        play_with(seed, nodes, actions, Voice::Silent)
    }))
    .map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// Histories that are tried to make one shorter.
const TRIES: usize = 1_500;
