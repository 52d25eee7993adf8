//! How often each fault was played and each path was taken: a simulator that never came by a path has said nothing of it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::fmt;

macro_rules! seen {
    ($($(#[$doc:meta])* $name:ident = $words:literal,)*) => {
        /// One thing that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Seen {
            $($(#[$doc])* $name,)*
        }

        impl Seen {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What the report calls it.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

seen! {
    /// A step of a plan.
    Step = "steps",
    /// A message was published.
    Published = "published",
    /// A subscriber of the publisher's own node got one.
    DeliveredHere = "delivered on the publisher's node",
    /// A subscriber of another node got one.
    Delivered = "delivered to another node",
    /// A subscriber got one that was published before it subscribed.
    Early = "older than their subscription",
    /// Of these, the ones that had to come within the bound for such messages.
    EarlyInTime = "of these, held to their bound",
    /// A packet was lost once or more, so that its stream stalled.
    Lost = "packets lost",
    /// A stream arrived before an older packet of another one.
    Reordered = "packets overtaken",
    /// A datagram came twice; QUIC drops it, save that a handshake may be answered twice.
    Duplicated = "handshakes doubled",
    /// A handshake packet was lost or cut off, and sent again.
    Redialled = "handshakes sent again",
    /// Nobody answered at an address for so long that the attempt was given up.
    GivenUp = "dials given up",
    /// Somebody shook hands and then said nothing.
    Stalled = "handshakes that stalled",
    /// A connection took too long to be settled, and was closed.
    TooSlow = "connections closed as too slow",
    /// Of what a node says on a link to be heard, two in a row were lost.
    HeartbeatsLost = "heartbeats lost twice in a row",
    /// One way between two nodes was cut.
    CutOneWay = "one-way cuts",
    /// Both ways were.
    CutBothWays = "two-way cuts",
    /// Two of three that reach the third could not reach each other.
    NonTransitive = "non-transitive partitions",
    /// A close was lost.
    CloseLost = "closes lost",
    /// A connection broke at one end.
    BrokenAtOneEnd = "broken at one end",
    /// A connection broke at both ends.
    BrokenAtBothEnds = "broken at both ends",
    /// A process was stopped and went on.
    Paused = "pauses",
    /// It had a backlog to read when it went on.
    Backlog = "backlogs read after a pause",
    /// It was ticked before it read that.
    JudgedFirst = "ticks before the backlog",
    /// A process was killed.
    Killed = "kills",
    /// One came back under the same name.
    Restarted = "restarts",
    /// Its clock had gone back.
    ClockBack = "clocks set back",
    /// Its clock had gone forward.
    ClockForward = "clocks set forward",
    /// A node said goodbye, wrote what it had and ended.
    LeftCleanly = "clean leaves",
    /// A second node of one name was started.
    Twin = "twins",
    /// One of two with one name left.
    TwinLeft = "twins left",
    /// A node took a higher incarnation.
    Renumbered = "renumberings",
    /// Somebody without the secret, with a wrong name or of another cluster knocked.
    Intruder = "intruders",
    /// Nodes refused each other.
    Refused = "refusals",
    /// An older life was refused.
    RefusedOlder = "older lives refused",
    /// A newer life replaced one that had a link.
    Superseded = "lives replaced by newer ones",
    /// A further connection between two nodes was closed.
    DuplicateLink = "duplicate links closed",
    /// A link came up.
    Up = "links up",
    /// A link went down.
    Down = "links down",
    /// Nothing was heard for a while.
    Suspect = "suspected",
    /// And then it was heard again.
    Recovered = "suspects that recovered",
    /// It was silent for too long.
    Silent = "links silent for too long",
    /// A link ended since what must not be lost did not fit.
    Overflow = "links ended by a full queue",
    /// A reader did not read for a while.
    SlowReader = "slow readers",
    /// Messages were dropped for a peer.
    Dropped = "messages dropped for a peer",
    /// A gap was told.
    Gap = "gaps told",
    /// The ring was full.
    RingOverflow = "ring overflows",
    /// What was held went out when it was asked for.
    Replayed = "replayed",
    /// What was held was wanted by nobody.
    Trimmed = "trimmed",
    /// What waited went out as it was.
    Flushed = "flushed",
    /// Sent before it was known what the peer wants.
    FloodedAtStart = "flooded at start",
    /// Sent to a peer that does not route.
    FloodedToOld = "flooded to peers that do not route",
    /// A link between two versions of the protocol.
    OldVersion = "links of the old version",
    /// A link on which one side does not route.
    InterestOff = "links without interest",
    /// A message in parts was put together.
    Parts = "messages put together from parts",
    /// A message was larger than its peer takes.
    TooLarge = "messages larger than a peer takes",
    /// A message for one node alone.
    Direct = "direct sends",
    /// A message that left its publisher's own subscriptions out.
    BroadcastFrom = "broadcasts from",
    /// A linger ended.
    Lingered = "messages that arrived for nobody",
    /// A node was forgotten.
    Forgotten = "members forgotten",
}

/// The counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    counts: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: vec![0; Seen::ALL.len()],
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, seen: Seen) {
        self.add(seen, 1);
    }

    pub(super) fn add(&mut self, seen: Seen, times: u64) {
        self.counts[seen as usize] += times;
    }

    /// How often that was seen.
    #[must_use]
    pub fn of(&self, seen: Seen) -> u64 {
        self.counts[seen as usize]
    }

    /// With what another run saw.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// What was never seen.
    #[must_use]
    pub fn missing(&self) -> Vec<Seen> {
        let never = |seen: &&Seen| self.of(**seen) == 0;
        Seen::ALL.iter().filter(never).copied().collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for seen in Seen::ALL {
            writeln!(f, "{:>12}  {}", self.of(*seen), seen.words())?;
        }
        Ok(())
    }
}
