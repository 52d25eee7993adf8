//! Random histories of a node's lists, of its teller, and of clients whose frames are on their way for a while.
//!
//! A seed decides everything that happens. A history is played with a model of the official client's `Presence` class
//! ([`JsPresence`](js_client::JsPresence)), which has to end with the server's lists, and told as a [`Script`] that the unmodified class can
//! follow. One that fails is shortened, and its steps are kept in the [corpus](CORPUS).
//!
//! What it takes for granted: a connection brings what was sent within half of the minute for which it is known who left, or it ends; and
//! what waits in the class for a list waits no longer than that either.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::mode::Mode;
use crate::teller::histories::step::Chance;
use crate::teller::histories::world::World;

mod client;
pub(crate) mod js_client;
mod script;
mod step;
mod world;

pub use script::Script;
pub use step::{NoStep, Step};

/// The topics of every history, all of them joined on one connection, and what each is told.
const TOPICS: [&str; 3] = ["full", "window", "count"];

/// How many steps a history has before everything on its way arrives.
const STEPS: usize = 400;

/// What is settled before anything happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// How many keys are told in the topic of that name.
    window: usize,
    has_handler: bool,
    /// The most bytes of a difference's part.
    part_bytes: usize,
    /// How long a client whose connection breaks stays listed.
    drop_grace: Duration,
}

/// A history from its beginning to where it becomes quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    plan: Plan,
    steps: Vec<Step>,
}

impl History {
    /// The history of a seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan {
            window: chance.below(4),
            has_handler: chance.below(2) == 0,
            // A part then has one or two entries.
            part_bytes: [usize::MAX, 300][chance.below(2)],
            drop_grace: Duration::from_secs([0, 5][chance.below(2)]),
        };
        let steps = (0..STEPS).map(|_| Step::of(&mut chance)).collect();
        Self { plan, steps }
    }

    /// Plays it to its end, and gives what each client saw.
    ///
    /// # Errors
    ///
    /// What is wrong where, if a client ends with another list than the server, or is told a change before its list.
    pub fn play(&self) -> Result<Vec<Script>, String> {
        let mut world = World::new(self.plan);
        for step in &self.steps {
            world.happen(*step)?;
        }
        world.settle()?;
        Ok(world.into_scripts())
    }

    /// The same without as many steps as it can fail without.
    pub fn shortened(&self) -> Self {
        let mut short = self.clone();
        let mut size = short.steps.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < short.steps.len() {
                let mut fewer = short.clone();
                let end = (at + size).min(fewer.steps.len());
                fewer.steps.drain(at..end);
                match fewer.play() {
                    Ok(_) => at += size,
                    Err(_) => short = fewer,
                }
            }
            size /= 2;
        }
        short
    }
}

/// As the corpus has it.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            window,
            has_handler,
            part_bytes,
            drop_grace,
        } = self.plan;
        let grace = drop_grace.as_secs();
        writeln!(f, "{window} {has_handler} {part_bytes} {grace}")?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl FromStr for History {
    type Err = NoStep;

    fn from_str(text: &str) -> Result<Self, NoStep> {
        let mut lines = text.lines();
        let first = lines.next().ok_or(NoStep)?;
        Ok(Self {
            plan: plan(first).ok_or(NoStep)?,
            steps: lines.map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}

fn plan(line: &str) -> Option<Plan> {
    let mut words = line.split(' ');
    Some(Plan {
        window: words.next()?.parse().ok()?,
        has_handler: words.next()?.parse().ok()?,
        part_bytes: words.next()?.parse().ok()?,
        drop_grace: Duration::from_secs(words.next()?.parse().ok()?),
    })
}

impl Plan {
    fn mode(self, topic: usize) -> Mode {
        match topic {
            0 => Mode::Full,
            1 => Mode::Window(self.window),
            _ => Mode::Count,
        }
    }
}

/// Histories that failed, each while a rule was broken by hand and then shortened: which rule, and the steps.
pub const CORPUS: &[(&str, &str)] = &[
    (
        "a list that was given is no base of the next difference",
        include_str!("histories/corpus/a_given_list_is_no_base.txt"),
    ),
    (
        "a list that was under way is none once it has arrived",
        include_str!("histories/corpus/a_list_under_way_is_no_base.txt"),
    ),
    (
        "a list that is given while a difference is told is none of the next",
        include_str!("histories/corpus/a_given_list_is_forgotten_early.txt"),
    ),
    (
        "who left is not noted",
        include_str!("histories/corpus/who_left_is_not_noted.txt"),
    ),
    (
        "who is back on a connection is not told who left since",
        include_str!("histories/corpus/who_left_since_is_not_told.txt"),
    ),
    (
        "nor who left and is back",
        include_str!("histories/corpus/who_is_back_is_not_told.txt"),
    ),
    (
        "nor who leaves by the difference that is being told",
        include_str!("histories/corpus/who_leaves_meanwhile_is_not_told.txt"),
    ),
    (
        "who left while nobody was subscribed is not noted",
        include_str!("histories/corpus/nobody_is_here_and_nothing_is_noted.txt"),
    ),
    (
        "a count is not told again where some were given another",
        include_str!("histories/corpus/a_count_is_not_told_again.txt"),
    ),
    (
        "a part of a difference is not whole",
        include_str!("histories/corpus/a_part_is_incomplete.txt"),
    ),
    (
        "after changes were lost a topic is not looked at where nobody is any more",
        include_str!("histories/corpus/known_topics_are_not_compared.txt"),
    ),
];

#[cfg(test)]
mod tests;
