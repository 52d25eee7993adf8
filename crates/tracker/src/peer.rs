//! What a shard keeps of one other node: which lives count, the link, the copy of its entries.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::BTreeSet;
use std::time::Duration;

use matryoshka_pubsub::cluster::Member;
use matryoshka_pubsub::{LinkId, NodeName};

use crate::held::Taking;
use crate::life::Life;
use crate::message::{PartTaken, Position};
use crate::owner_log::wire_size;
use crate::replica::{Assembly, Kept, Replica};

/// One other node. What is remembered of it outlives its link by the permdown period, and its copy by another one.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) floor: Floor,
    /// The current link, if there is one.
    pub(crate) link: Option<Link>,
    /// Made by the first message over a link, never by what others say.
    pub(crate) replica: Option<Replica>,
    /// Whether the copy's entries are visible. Only with a link, and only once it has caught up over that link.
    pub(crate) shown: bool,
    /// That the present life will restart, and for how long its entries are held then.
    pub(crate) restarting: Option<(Life, Duration)>,
    /// Over how much a copy has to be to be shown, besides what was said over the link: while a held set of the same life
    /// is shown instead, as far as that.
    pub(crate) at_least: u64,
    /// When the peer's own word counts for more than how far that set is.
    pub(crate) believed_at: Duration,
    /// When the link ended, or what was left of the copy was dropped.
    pub(crate) since: Duration,
    /// A link that was not taken because a later life was heard: once that is forgotten, it is.
    pub(crate) refused: Option<Member>,
}

impl Peer {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            floor: Floor {
                life: Life::first_of(incarnation),
                ended: false,
            },
            link: None,
            replica: None,
            shown: false,
            restarting: None,
            at_least: 0,
            believed_at: Duration::ZERO,
            since: Duration::ZERO,
            refused: None,
        }
    }

    /// The peer took a higher number and went on: its copy is of that number now. The goodbye that it said comes again with whatever told so.
    pub(crate) fn renumber(&mut self, to: Life, formerly: &[Life]) {
        let Some(replica) = &mut self.replica else {
            return;
        };
        replica.renumber(to, formerly);
        if let Some(link) = &mut self.link {
            // No part of a state under the earlier number counts any more.
            link.assembly = None;
        }
        if self.floor.life < to {
            self.floor = Floor {
                life: to,
                ended: false,
            };
        }
    }

    /// What this node holds of the peer's entries.
    pub(crate) fn have(&self) -> Option<Position> {
        self.replica.as_ref().map(Replica::at)
    }

    /// Whether the peer is heard directly: not who is silent, nor whose life does not count any more, of which there may be a copy still, in
    /// case it takes a higher number.
    pub(crate) fn heard(&self) -> Option<(&Link, &Replica)> {
        let link = self.link.as_ref().filter(|link| !link.is_silent())?;
        let replica = self.replica.as_ref();
        let replica = replica.filter(|replica| self.floor.admits(replica.life()))?;
        Some((link, replica))
    }

    /// Whether the copy has all that the peer said was there when the link came up.
    pub(crate) fn caught_up(&self) -> bool {
        self.heard().is_some_and(|(link, replica)| {
            link.target
                .is_some_and(|target| replica.seq() >= target.max(self.at_least))
        })
    }

    /// When to believe the peer that it is no further than it says, if others say that it is.
    pub(crate) fn believed_at(&self) -> Option<Duration> {
        let (link, _) = self.heard()?;
        (link.known < self.at_least).then_some(self.believed_at)
    }

    /// From now on only what the peer itself says counts.
    pub(crate) fn believe(&mut self) {
        if let Some(link) = &self.link {
            self.at_least = self.at_least.min(link.known);
        }
    }

    /// Whether the peer itself said that it has more than the copy.
    pub(crate) fn behind(&self) -> bool {
        self.heard()
            .is_some_and(|(link, replica)| replica.seq() < link.known)
    }

    /// When to ask again, if an answer is still missing.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        let link = self.link.as_ref()?;
        let asked = link.asked?;
        (self.behind() && self.replica.is_some()).then(|| asked + link.patience)
    }
}

/// The lowest life of a node that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) life: Life,
    /// That life is itself over: only higher ones count.
    pub(crate) ended: bool,
}

impl Floor {
    pub(crate) fn admits(self, life: Life) -> bool {
        life > self.life || (life == self.life && !self.ended)
    }

    /// The lowest life that is admitted, if there is one.
    pub(crate) fn least(self) -> Option<Life> {
        if self.ended {
            self.life.next()
        } else {
            Some(self.life)
        }
    }
}

/// The state of one link. All of it is forgotten when the link ends.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// The peer's incarnation, as the link knows it.
    pub(crate) incarnation: u64,
    /// How far the peer was when it first said so over this link. Whatever was deleted before the link came up has a
    /// lower number, so a copy that is this far shows nothing of it.
    pub(crate) target: Option<u64>,
    /// The highest number that the peer has told of itself.
    pub(crate) known: u64,
    /// When the peer was last asked for what is missing, or last sent some of it.
    pub(crate) asked: Option<Duration>,
    /// After so long without anything more of an answer, the question is taken for lost.
    patience: Duration,
    /// Messages were lost, or another node sees more of the peer than this one: to be looked at when that time has come.
    pub(crate) suspicion: Option<Suspicion>,
    pub(crate) assembly: Option<Assembly>,
    /// Own entries on their way to the peer.
    pub(crate) sending: Option<Sending>,
    /// When the peer was last sent entries of which it had asked for all.
    served: Option<Duration>,
    /// How many bytes of other answers the peer was given since then.
    told: (Duration, usize),
    /// The step in which the peer was last sent a part of a held set.
    served_held: Option<u64>,
    /// Held sets that the peer offered and that are still to be asked for.
    pub(crate) wanted: BTreeSet<(NodeName, Life)>,
    /// The held set that the peer is being asked for.
    pub(crate) taking: Option<Taking>,
    /// The peer wants to be told when its copy is that far.
    pub(crate) to_confirm: Option<u64>,
    /// So far the peer has said that its copy of this node's entries is.
    pub(crate) confirmed: u64,
    /// A hold was left unanswered by it. If nothing was heard of a tracker there either, it is not waited for again.
    pub(crate) let_down: bool,
    /// The other nodes that the peer hears, as long as this one waits for a first state of all that are there.
    pub(crate) hears: BTreeSet<Box<str>>,
    /// That the process at the other end, of that incarnation, will restart: which of its trackers that is about, the link's end says.
    pub(crate) restarting: Option<(u64, Duration)>,
    /// So many vector periods of this node are over in which the peer said nothing.
    pub(crate) unheard: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspicion {
    pub(crate) seq: u64,
    pub(crate) due: Duration,
}

impl Link {
    pub(crate) fn new(id: LinkId, incarnation: u64, now: Duration) -> Self {
        Self {
            id,
            incarnation,
            target: None,
            known: 0,
            asked: Some(now),
            patience: RETRY_PERIOD,
            suspicion: None,
            assembly: None,
            sending: None,
            served: None,
            told: (Duration::ZERO, 0),
            served_held: None,
            wanted: BTreeSet::new(),
            taking: None,
            to_confirm: None,
            confirmed: 0,
            let_down: false,
            hears: BTreeSet::new(),
            restarting: None,
            unheard: 0,
        }
    }

    /// A new life speaks over the same link: nothing said before is about it.
    pub(crate) fn restart(&mut self) {
        let (sending, taking) = (self.sending.take(), self.taking.take());
        *self = Self {
            asked: None,
            sending,
            served: self.served,
            told: self.told,
            served_held: self.served_held,
            wanted: std::mem::take(&mut self.wanted),
            taking,
            confirmed: self.confirmed,
            restarting: self.restarting,
            unheard: self.unheard,
            ..Self::new(self.id, self.incarnation, Duration::ZERO)
        };
    }

    /// The peer is asked for what is missing. If it was asked before and has not answered, it may be slow: the next time it is given
    /// longer, until it has.
    pub(crate) fn ask(&mut self, now: Duration) {
        if self.asked.replace(now).is_some() {
            self.patience = (2 * self.patience).min(LONGEST_PATIENCE);
        }
    }

    /// Some of what was asked for has come, and more is to come.
    pub(crate) fn fed(&mut self, now: Duration) {
        self.asked = Some(now);
    }

    /// Nothing is asked for any more.
    pub(crate) fn answered(&mut self) {
        self.asked = None;
        self.patience = RETRY_PERIOD;
    }

    /// Whether a peer that asks for all gets some of it now: not so soon again that nobody would ask who waits for an answer. A few
    /// bytes of a question bring many of an answer, and a new state is looked for among all entries.
    pub(crate) fn may_serve(&mut self, now: Duration) -> bool {
        let may = self
            .served
            .is_none_or(|served| now >= served + RETRY_PERIOD / 2);
        if may {
            self.served = Some(now);
        }
        may
    }

    /// Whether a peer is told something of so many bytes because it asked, or said something that is answered: not if it was told `most`
    /// in this half of the time after which a question is taken for lost. A question has a few bytes, and the log may have many.
    pub(crate) fn may_tell(&mut self, bytes: usize, most: usize, now: Duration) -> bool {
        if now >= self.told.0 + RETRY_PERIOD / 2 {
            self.told = (now, 0);
        }
        let may = self.told.1 < most;
        if may {
            self.told.1 += bytes;
        }
        may
    }

    /// Whether the peer gets a part of a held set in this step: the next one it asks for when that is there.
    pub(crate) fn may_serve_held(&mut self, step: u64) -> bool {
        self.served_held.replace(step) != Some(step)
    }

    pub(crate) fn announced(&mut self, seq: u64) {
        self.target.get_or_insert(seq);
        self.known = self.known.max(seq);
    }

    /// There may be operations up to `seq` that are missing here: to be looked at when `due`, or earlier if it is already.
    pub(crate) fn suspect(&mut self, seq: u64, due: Duration) {
        let suspicion = self.suspicion.get_or_insert(Suspicion { seq, due });
        suspicion.seq = suspicion.seq.max(seq);
    }

    /// Takes the suspicion that is due. While an answer may still come it is put off.
    pub(crate) fn due_suspicion(&mut self, now: Duration) -> Option<Suspicion> {
        let suspicion = self
            .suspicion
            .as_mut()
            .filter(|suspicion| suspicion.due <= now)?;
        if let Some(asked) = self.asked
            && now < asked + self.patience
        {
            suspicion.due = asked + self.patience;
            return None;
        }
        self.suspicion.take()
    }

    /// Whether the peer is being asked for that held set.
    pub(crate) fn is_taking(&self, node: &NodeName, life: Life) -> bool {
        let taking = self.taking.as_ref();
        taking.is_some_and(|taking| taking.is_of(node, life))
    }

    /// Something that came by it was lost, perhaps what its tracker said: its silence counts from now. One that is hidden already has
    /// to speak for itself.
    pub(crate) fn lost(&mut self) {
        if !self.is_silent() {
            self.unheard = 0;
        }
    }

    /// Whether no tracker is there any more that would speak or answer, as far as one can know.
    pub(crate) fn is_silent(&self) -> bool {
        self.unheard >= SILENT_PERIODS
    }

    /// Whether an answer is on its way, as far as one can know.
    pub(crate) fn waiting(&self, now: Duration) -> bool {
        self.asked.is_some_and(|asked| now < asked + self.patience)
    }
}

/// All own entries at one number, frozen, of which a peer has not taken all parts yet.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) at: Position,
    entries: Vec<Kept>,
    /// Where each part ends.
    ends: Vec<usize>,
    /// The part that is sent next, and how many have ever been sent.
    next: u32,
    sent: u32,
    taken: u32,
    /// How many parts may be under way.
    window: u32,
}

impl Sending {
    /// Cuts the entries into parts of at most `part_bytes`. The first one is small, so that on a slow link it is there soon: it shows that
    /// the others are coming.
    pub(crate) fn new(at: Position, entries: Vec<Kept>, part_bytes: usize) -> Self {
        let sizes = entries.iter().map(|kept| wire_size(&kept.entry));
        let ends = cut(sizes, part_bytes / FIRST_PART, part_bytes);
        Self {
            at,
            entries,
            ends,
            next: 0,
            sent: 0,
            taken: 0,
            window: PARTS_IN_FLIGHT,
        }
    }

    pub(crate) fn parts(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("fewer than 2^32 parts")
    }

    /// The peer has that part and all before it. If it is the last one, the peer needs no more, sent or not.
    pub(crate) fn taken(&mut self, part: u32) {
        let taken = part.saturating_add(1);
        if taken >= self.parts() {
            self.sent = self.parts();
        }
        let taken = taken.min(self.sent);
        if taken > self.taken {
            self.taken = taken;
            self.window = (self.window + 1).min(PARTS_IN_FLIGHT);
        }
        self.next = self.next.max(self.taken);
    }

    /// The peer asks again, and names the last part that it has; nothing, if it has none. Unless it has given up what it took before,
    /// it gets the next part once more, and that alone until it says that it is there: all may only be slow. Whether it does.
    pub(crate) fn again(&mut self, has: Option<&PartTaken>) -> bool {
        let next = match has {
            Some(has) if has.at == self.at => has.part.saturating_add(1).min(self.sent),
            None if self.taken == 0 => 0,
            _ => return false,
        };
        (self.next, self.taken, self.window) = (next, next, 1);
        next < self.parts()
    }

    pub(crate) fn finished(&self) -> bool {
        self.taken == self.parts()
    }

    /// The next part to send, if the peer has taken enough of those before.
    pub(crate) fn next(&mut self) -> Option<(u32, &[Kept])> {
        if self.next == self.parts() || self.next - self.taken >= self.window {
            return None;
        }
        let part = self.next;
        self.next += 1;
        self.sent = self.sent.max(self.next);
        let index = part as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some((part, &self.entries[start..self.ends[index]]))
    }
}

/// Cuts a sequence of sizes into pieces of at most `limit`, the first of at most `first` (a larger single one is a piece of its own), and says
/// where each ends. There is always one piece, and none begins with a size of 0.
pub(crate) fn cut(sizes: impl Iterator<Item = usize>, first: usize, limit: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut count, mut bytes, mut most) = (0, 0, first);
    for size in sizes {
        if size > 0 && bytes > 0 && bytes + size > most {
            ends.push(count);
            (bytes, most) = (0, limit);
        }
        bytes += size;
        count += 1;
    }
    ends.push(count);
    ends
}

/// What the entries or operations of one message take at most, unless a single one takes more.
///
/// The largest single one has 64 KiB of topic, 4 KiB of key and 64 KiB of meta, so every message is below 256 KiB.
pub(crate) const CHUNK_BYTES: usize = 128 * 1024;

/// Parts of a state that are sent before the first is taken. Keeps a large state from filling the link's queue.
const PARTS_IN_FLIGHT: u32 = 4;

/// After so many vector periods without a word a peer is asked for one: its own may be longer.
pub(crate) const ASKED_PERIODS: u32 = 3;

/// After so many its tracker is taken for closed.
pub(crate) const SILENT_PERIODS: u32 = 6;

/// How many times smaller than the others the first part of a state is.
const FIRST_PART: usize = 16;

/// After so long without any part of an answer a question is taken for lost, the first time.
pub(crate) const RETRY_PERIOD: Duration = Duration::from_secs(1);

/// The same when it was taken for lost again and again.
pub(crate) const LONGEST_PATIENCE: Duration = Duration::from_secs(8);
