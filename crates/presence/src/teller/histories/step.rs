//! What can happen in a history, and where chance comes from.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::str::FromStr;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Somebody who is no client of this node comes.
    Track,
    /// Somebody's meta is replaced.
    Update,
    /// One of those who are no clients goes.
    Untrack,
    /// A node's link breaks: some entries are hidden. Broken again, it heals: the same entries are back.
    Break,
    /// The tracker ends a step: its lists show it, and its diffs are queued for the broadcaster.
    Show,
    /// The queue overflows: everything in it becomes one resync.
    Overflow,
    /// The broadcaster takes one item from the queue.
    Notice,
    /// A moment passes, and the broadcaster starts what is due.
    Work,
    /// What is fetched for a difference has come, and one part of it is told.
    Tell,
    /// What is fetched for a list has come: it is on its way to those who wait.
    Greet,
    /// Seconds or minutes pass, in which the server leaves nothing undone.
    Pause,
    /// The node restarts, and holds those who were connected to it for a while.
    Restart,
    /// A client joins a topic and asks for the list. Whether what is told meanwhile is held back for it, chance decides.
    Join,
    /// It asks for the list again, within its join.
    Refresh,
    /// It leaves a topic, and its connection stays.
    Leave,
    /// It takes a join that was not answered for one that never will be, and leaves.
    GiveUp,
    /// It joins again where something went wrong.
    Rejoin,
    /// A channel of a client ends with an error.
    Crash,
    /// The next things that a client has sent are read.
    Read,
    /// Lists are pushed to a client.
    Push,
    /// A few frames come to a client.
    Deliver,
    /// A client's connection breaks; what it holds it keeps.
    Lose,
    /// It is connected again, and joins again where it was.
    Connect,
}

/// How it is called, and how often it happens in how many steps.
const ALL: [(What, &str, u64); 23] = [
    (What::Track, "track", 12),
    (What::Update, "update", 10),
    (What::Untrack, "untrack", 16),
    (What::Break, "break", 6),
    (What::Show, "show", 30),
    (What::Overflow, "overflow", 2),
    (What::Notice, "notice", 40),
    (What::Work, "work", 60),
    (What::Tell, "tell", 50),
    (What::Greet, "greet", 60),
    (What::Pause, "pause", 2),
    (What::Restart, "restart", 1),
    (What::Join, "join", 36),
    (What::Refresh, "refresh", 8),
    (What::Leave, "leave", 24),
    (What::GiveUp, "give-up", 8),
    (What::Rejoin, "rejoin", 20),
    (What::Crash, "crash", 6),
    (What::Read, "read", 60),
    (What::Push, "push", 70),
    (What::Deliver, "deliver", 90),
    (What::Lose, "lose", 5),
    (What::Connect, "connect", 30),
];

/// A step, with chance of its own, so that the others stay what they are without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub(super) what: What,
    chance: u64,
}

impl Step {
    pub(super) fn of(chance: &mut Chance) -> Self {
        let all: u64 = ALL.iter().map(|(_, _, often)| often).sum();
        let mut place = chance.next() % all;
        let found = ALL.iter().find(|(_, _, often)| {
            let is_here = place < *often;
            place = place.saturating_sub(*often);
            is_here
        });
        Self {
            what: found.map_or(What::Work, |(what, _, _)| *what),
            chance: chance.next() % 1_000_000,
        }
    }

    pub(super) fn chance(self) -> Chance {
        Chance::new(self.chance)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALL.iter().find(|(what, _, _)| *what == self.what);
        let name = name.map_or("", |(_, name, _)| name);
        write!(f, "{name} {}", self.chance)
    }
}

impl FromStr for Step {
    type Err = NoStep;

    fn from_str(line: &str) -> Result<Self, NoStep> {
        let (name, chance) = line.split_once(' ').ok_or(NoStep)?;
        let (what, _, _) = ALL.iter().find(|of| of.1 == name).ok_or(NoStep)?;
        let chance = chance.parse().map_err(|_| NoStep)?;
        Ok(Self {
            what: *what,
            chance,
        })
    }
}

/// A line that is no step of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a step is its name and a whole number")]
pub struct NoStep;

/// SplitMix64: the same everywhere, so that a seed can be played again.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `limit` - 1; 0 of nothing.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).expect("a usize fits");
        usize::try_from(self.next() % limit).expect("below a usize")
    }
}
