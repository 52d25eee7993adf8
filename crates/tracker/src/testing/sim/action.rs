//! One step of a history, in words: so that what is stored stays what it is when seeds come to mean something else.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;
use std::str::FromStr;

use super::network::Index;
use super::random::Random;

/// Something that happens on a node, with the chance that decides the rest: how long, which other node, what is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    pub(super) node: Index,
    pub(super) deed: Deed,
    pub(super) chance: u64,
}

macro_rules! deeds {
    ($($deed:ident: $words:literal,)*) => {
        /// What may happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Deed {
            $($deed,)*
        }

        const WORDS: &[(&str, Deed)] = &[$(($words, Deed::$deed),)*];
    };
}

deeds! {
    Track: "tracks",
    Update: "updates",
    Untrack: "untracks",
    OwnerDies: "loses an owner",
    Wait: "sees a moment pass",
    WaitLong: "sees seconds pass",
    WaitOut: "sees the permdown period pass",
    Part: "is cut off from one",
    Deafen: "hears one no more",
    PartBesideThird: "is cut off from one that a third hears",
    Heal: "sees all heal",
    AnnounceRestart: "announces a restart",
    RestartAsAnnounced: "restarts as announced",
    Crash: "crashes",
    CrashAndStart: "crashes and starts",
    Leave: "leaves",
    Pause: "stands still",
    Renumber: "takes a higher incarnation",
    LoseNews: "loses its news",
    RestartTracker: "restarts its tracker",
    BreakLink: "loses a link",
    JumpClock: "has its clock set",
    CloseTracker: "closes its tracker",
}

impl Action {
    /// What a number stands for. Other versions of the simulator may make something else of it.
    pub(super) fn of(number: u64, nodes: usize) -> Self {
        let mut random = Random::new(number);
        let node = random.below(nodes);
        let deed = Deed::any(&mut random);
        let chance = random.next();
        Self { node, deed, chance }
    }
}

impl Deed {
    fn any(random: &mut Random) -> Self {
        match random.below(100) {
            0..=29 => Self::Track,
            30..=42 => Self::Update,
            43..=54 => Self::Untrack,
            55..=58 => Self::OwnerDies,
            59..=85 => Self::Wait,
            86..=88 => Self::WaitLong,
            89 if random.one_in(6) => Self::WaitOut,
            89 => Self::Wait,
            90 => Self::Part,
            91 => Self::Deafen,
            92 => Self::PartBesideThird,
            93..=94 => Self::Heal,
            _ => Self::calamity(random),
        }
    }

    fn calamity(random: &mut Random) -> Self {
        match random.below(15) {
            0 | 1 => Self::Crash,
            2 => Self::CrashAndStart,
            3 => Self::Leave,
            4 => Self::Pause,
            5 => Self::Renumber,
            6 => Self::LoseNews,
            7 => Self::RestartTracker,
            8 => Self::BreakLink,
            9..=11 => Self::AnnounceRestart,
            12 => Self::RestartAsAnnounced,
            13 => Self::JumpClock,
            _ => Self::CloseTracker,
        }
    }

    /// Whether it befalls a process: of a node that has none, one is started instead.
    pub(super) fn needs_a_process(self) -> bool {
        !matches!(
            self,
            Self::Track
                | Self::Update
                | Self::Untrack
                | Self::OwnerDies
                | Self::Wait
                | Self::WaitLong
                | Self::WaitOut
                | Self::Part
                | Self::Deafen
                | Self::PartBesideThird
                | Self::Heal
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = WORDS.iter().find(|(_, deed)| *deed == self.deed);
        let (words, _) = words.expect("each deed has words");
        write!(f, "n{} {words}, {:016x}", self.node, self.chance)
    }
}

/// What is no action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAction(String);

impl fmt::Display for NoAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is nothing that happens", self.0)
    }
}

impl std::error::Error for NoAction {}

impl FromStr for Action {
    type Err = NoAction;

    fn from_str(text: &str) -> Result<Self, NoAction> {
        let parse = || {
            let (node, rest) = text.strip_prefix('n')?.split_once(' ')?;
            let (words, chance) = rest.split_once(", ")?;
            let (_, deed) = WORDS.iter().find(|(known, _)| *known == words)?;
            Some(Self {
                node: node.parse().ok()?,
                deed: *deed,
                chance: u64::from_str_radix(chance, 16).ok()?,
            })
        };
        parse().ok_or_else(|| NoAction(text.to_owned()))
    }
}
